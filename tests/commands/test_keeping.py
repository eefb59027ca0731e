"""Commands on pictures that are kept on purpose; tiny random weights stand in for the testbed's."""

import pytest
from PIL import Image

from commands.job_kinds import check_arguments, words
from concepts.digest import sha256

GROUND = ("--origin", "archive 12", "--legal-basis", "licence 7", "--retain-until", "30d")


def shown(pictures):
    return sorted(path for path in (pictures / "with").glob("*.png") if "mask" not in path.name)


def benign(pictures):
    return sorted((pictures / "without").glob("*.png"))


@pytest.fixture
def kept(run, filled, pictures):
    """Four pictures that show the concept, with masks, and four that do not."""
    names = sorted((pictures / "with").glob("*.png"))  # Masks among them, as a shell would.
    assert run("exemplars", "keep", "knife", *names, *GROUND).out == "Kept 4 pictures of knife\n"
    assert run("exemplars", "keep", "knife", *benign(pictures), *GROUND, "--benign").code == 0
    return filled


def test_pictures_are_kept_and_listed(run, kept, pictures):
    found = run("exemplars", "kept", "knife", "--json").json()
    assert [(p["id"], p["shows"], p["mask"], p["left_out"]) for p in found["pictures"]] == [
        *((number, True, True, "") for number in range(1, 5)),
        *((number, False, False, "") for number in range(5, 9)),
    ]
    assert found["pictures"][0]["sha256"] == sha256(shown(pictures)[0].read_bytes())
    coverage = found["coverage"]
    assert (coverage["shown"], coverage["benign"], coverage["sizes"]["medium"]) == (4, 4, 0)
    assert coverage["sizes"]["large"] == 4
    told = run("exemplars", "kept", "knife").out
    assert "Collected from: 4 show it (4 large), 4 do not" in told
    assert "None shows it in: top right" in told
    assert len(run("exemplars", "kept", "--json").json()) == 8
    assert run("exemplars", "kept", "pistol").out.startswith("No pictures are kept.")


def test_a_dry_run_keeps_nothing(run, filled, pictures):
    told = run("exemplars", "keep", "knife", *benign(pictures), *GROUND, "--benign", "--dry-run")
    assert (told.code, told.out) == (0, "Would keep 4 pictures of knife\n")
    assert filled.exemplars.kept() == []
    assert [path for path in filled.home.rglob("exemplars/*/*/*") if path.is_file()] == []


def test_ground_and_time_must_be_said(run, filled, pictures):
    for missing in (0, 2, 4):
        words = [*GROUND[:missing], *GROUND[missing + 2 :]]
        assert run("exemplars", "keep", "knife", shown(pictures)[0], *words).code == 2
    assert filled.exemplars.kept() == []


@pytest.mark.usefixtures("kept")
def test_a_picture_is_masked_left_out_and_taken_in_again(run, tmp_path):
    Image.new("L", (64, 64), 255).save(tmp_path / "all.png")
    assert run("exemplars", "mask", 1, tmp_path / "all.png").out == "Picture 1 of knife is masked\n"
    assert run("exemplars", "mask", 2, "--box", 10, 10, 20, 20).code == 0
    assert run("exemplars", "mask", 3, "--none").code == 0
    assert run("exemplars", "exclude", 4, "--reason", "blurred").code == 0
    data = run("exemplars", "kept", "knife", "--json").json()
    sizes = {name: count for name, count in data["coverage"]["sizes"].items() if count}
    assert sizes == {"small": 1, "large": 1, "unmasked": 1}
    assert data["pictures"][3]["left_out"] == "blurred"
    assert run("exemplars", "include", 4).code == 0
    for wrong in (
        (1,), (1, "--none", "--box", 1, 1, 1, 1), (99, "--none"), (1, "--box", 90, 90, 20, 20),
        (5, "--box", 1, 1, 9, 9),
    ):  # fmt: skip
        assert run("exemplars", "mask", *wrong).code in (2, 3, 4), wrong
    Image.new("L", (8, 8), 255).save(tmp_path / "small.png")
    assert (
        "needs the size of its picture" in run("exemplars", "mask", 1, tmp_path / "small.png").err
    )


def test_kept_pictures_are_collected_from_with_their_ground(run, kept, models):
    run("exemplars", "mask", 1, "--none")
    run("exemplars", "exclude", 8, "--reason", "shows one")
    collect = ("collect-anchors", "knife", "--kept", "--model", models["t2i"], "--prototypes", 2)
    found = run(*collect, "--json")
    assert found.code == 0
    assert "which do not say where they show knife: 1." in found.err
    used = {item.ref.sha256 for item in kept.exemplars.list("knife")}
    assert used == {item.sha256 for item in kept.exemplars.kept() if item.id not in (1, 8)}
    assert {item.ref.origin for item in kept.exemplars.list("knife")} == {"archive 12"}
    scored = run("exemplars", "score", "knife", "--model", models["t2i"], "--json")
    (place,) = scored.json()
    assert (len(place["scores"]), place["lacking"], place["learned"]) == (8, 0, 6)
    line = kept.versions.get("knife").spaces[0].seed_threshold
    assert place["wrongly_caught"] == [
        int(number)
        for number, score in place["scores"].items()
        if int(number) > 4 and score >= line
    ]
    # Nothing that anybody could look at lies in the cache.
    names = [path.name for path in (kept.home / "cache").rglob("*") if path.is_file()]
    assert not [name for name in names if name.endswith(".png")]
    first = kept.exemplars.kept()[0]
    assert [name for name in names if name.startswith(first.picture)]
    assert run("exemplars", "forget", first.sha256, "--reason", "asked", "--yes").code == 0
    assert not list(kept.home.rglob(f"*{first.picture}*"))


def test_what_is_not_enough_or_said_twice_is_refused(run, filled, pictures):
    for wrong in (
        ("--images", pictures / "with"), ("--origin", "x"), ("--benign", pictures / "without"),
        ("--retain-until", "30d"), ("pistol",),
    ):  # fmt: skip
        found = run("collect-anchors", "knife", "--kept", *wrong)
        assert (found.code, "--kept goes with one concept" in found.err) == (2, True)
    assert run("exemplars", "keep", "knife", *benign(pictures), *GROUND, "--benign").code == 0
    found = run("collect-anchors", "knife", "--kept", "--task", "t2i")
    assert (found.code, "0 kept pictures with a mask show the concept" in found.err) == (2, True)


def test_a_worker_collects_and_scores_and_names_no_file(tmp_path):
    check_arguments("collect-anchors", ["knife", "--kept", "--model=testbed", "--task=t2i"])
    check_arguments("score-exemplars", ["knife@2", "--model=testbed"])
    assert words("score-exemplars", ["knife@2"], tmp_path, 7) == [
        "exemplars", "score", "--json", "--progress", "json", "knife@2"
    ]  # fmt: skip
