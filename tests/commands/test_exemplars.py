"""Commands on exemplars; tiny random weights stand in for the testbed's."""

import os

import pytest


def test_pictures_are_recorded_by_hash_and_forgotten(run, models, pictures):
    run("init")
    run("add-concept", "pistol")
    collected = run(
        "collect-anchors", "pistol", "--model", models["t2i"], "--images", pictures / "with",
        "--benign", pictures / "without", "--origin", "archive 12", "--legal-basis", "licence 7",
        "--retain-until", "30d", "--prototypes", 2, "--json",
    )  # fmt: skip
    digest = collected.json()["pistol"]["content_digest"]
    listed = run("exemplars", "list", "pistol", "--json").json()
    assert len(listed) == 8
    assert {(item["origin"], item["legal_basis"]) for item in listed} == {
        ("archive 12", "licence 7")
    }
    assert run("exemplars", "list", "--due", "1d", "--json").json() == []
    forget = ("exemplars", "forget", listed[0]["sha256"], "--reason", "asked")
    assert run(*forget).code == 2
    assert run(*forget, "--yes").out == "Forgot 1 reference.\n"
    left = run("exemplars", "list", "--json").json()
    assert len(left) == 7
    assert run("sources", "list", "--json").json() == left  # its name in 0.2.0
    assert run("show", "pistol", "--json").json()["versions"][0]["content_digest"] == digest


@pytest.mark.usefixtures("impatient", "filled")
def test_a_pipe_among_the_pictures_is_refused(run, pictures):
    os.mkfifo(pictures / "with" / "9.png")
    images = ("--images", pictures / "with", "--benign", pictures / "without", "--yes")
    result = run("collect-anchors", "pistol", *images, "--origin", "x", "--legal-basis", "y")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert "it is a pipe or a device, not a regular file" in result.err
