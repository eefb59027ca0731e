"""What takes long is asked for in the browser, and done by a worker."""

from __future__ import annotations

import pytest

from commands.job_kinds import check_arguments
from console.job_words import job_words
from console.pages.jobs import MODELS
from tests.console.conftest import text_of
from uvr.profiles import PROFILES


def test_example_pictures_are_asked_for(team, visit):
    visitor = visit(team, "ann")
    fields = {"task": "edit", "model": "testbed", "seed": "3"}
    found = visitor.post("/concepts/pistol/collect", fields)
    assert found.headers["location"] == "/jobs/1?done=asked"
    (job,) = team.jobs.list()
    assert (job.kind, job.asked_by) == ("collect-anchors", "ann")
    assert job.arguments == ("pistol", "--model=testbed", "--task=edit", "--seed=3")
    check_arguments(job.kind, job.arguments)
    shown = visitor.page("/jobs/1?done=asked")
    assert "The job waits for a worker: uvr-registry worker." in shown
    title = "Collect a version of pistol: edited pictures (testbed)"
    assert title in visitor.page("/jobs")
    assert f"{title} job 1 Waiting for a worker" in shown
    assert "Command collect-anchors pistol --model=testbed --task=edit --seed=3" in shown
    assert "Waiting for a worker; asked" in shown


def test_the_models_and_suites_that_there_are_can_be_asked_for(team, visit):
    assert set(MODELS) == {profile.model for profile in PROFILES.values()}
    for name, place in MODELS.items():
        assert place.rpartition("/")[2].lower() == name
    fields = {"task": "t2i", "model": "flux.1-dev", "seed": "3"}
    visit(team, "ann").post("/concepts/pistol/collect", fields)
    (job,) = team.jobs.list()
    assert "--model=black-forest-labs/FLUX.1-dev" in job.arguments
    check_arguments(job.kind, job.arguments)


def test_a_measurement_is_asked_for(team, visit):
    visit(team, "ann").post("/concepts/pistol/2/measure", {"suite": "testbed-quick"})
    (job,) = team.jobs.list()
    assert (job.kind, job.arguments) == (
        "evaluate", ("testbed-quick", "--record=pistol@2", "--method=ours"),
    )  # fmt: skip
    check_arguments(job.kind, job.arguments)


def test_pictures_that_are_lacking_are_asked_for_where_they_would_be(team, visit):
    visitor = visit(team, "ann")
    assert "Have them drawn" not in visitor.page("/concepts/pistol/2")
    (team.home / "cache").unlink()
    for path in ("/concepts/pistol/2", "/reviews/pistol/2"):
        assert "Have them drawn" in visitor.page(path)
    visitor.post("/concepts/pistol/2/draw", {"model": "testbed"})
    (job,) = team.jobs.list()
    assert (job.kind, job.arguments) == ("draw-examples", ("pistol@2", "--model=testbed"))
    check_arguments(job.kind, job.arguments)


def test_how_far_a_job_is_and_how_it_ended_is_told(team, visit):
    visitor = visit(team, "ann")
    for number in range(2):
        team.jobs.add("collect-anchors", ["pistol", f"--seed={number}"], actor="ann")
    running = team.jobs.claim("w1")
    team.jobs.progress(running.id, "w1", 3, 8, "Draw the prompts")
    page = visitor.get("/jobs").text
    assert '<progress value="3" max="8"' in page
    assert "Draw the prompts" in page
    assert 'hx-trigger="every 3s"' in page
    team.jobs.fail(running.id, "w1", "No space left on device")
    team.jobs.cancel(2, actor="ann")
    shown = visitor.page("/jobs")
    assert "failed just now, asked by ann: No space left on device." in shown
    assert "It failed just now, asked by ann: No space left on device." in visitor.page("/jobs/1")
    assert "It was stopped just now, asked by ann." in visitor.page("/jobs/2")
    assert "Nothing waits and nothing runs." in shown
    assert "on a machine with the registry and its models: uvr-registry worker" in shown
    for link in ("/concepts", "/try", "/incident"):
        assert f'<a href="{link}">' in visitor.get("/jobs").text


def test_what_came_of_a_job_is_linked(team, visit):
    visitor = visit(team, "ann")
    asked = [
        ("collect-anchors", ["pistol"], {"pistol": {"slug": "pistol", "number": 2}}),
        ("evaluate", ["testbed-quick", "--record=pistol@2"], None),
        ("draw-examples", ["pistol@2"], {"slug": "pistol", "version": 2}),
        ("try", ["a cup", "--release=policy"], None),
    ]
    for kind, words, result in asked:
        team.jobs.add(kind, words, actor="ann")
        team.jobs.finish(team.jobs.claim("w").id, "w", result)
    listed = visitor.get("/jobs").text
    links = (
        "/concepts/pistol/2", "/concepts/pistol/2", "/jobs/3/report", "/try/4",
    )  # fmt: skip
    for number, link in enumerate(links, 1):
        for page in (listed, visitor.get(f"/jobs/{number}").text):
            assert f'<a href="{link}"' in page
    assert "It ended well just now, asked by ann: made pistol@2." in visitor.page("/jobs/1")
    assert "asked by ann: see what it shows." in visitor.page("/jobs/4")
    assert "recorded the measurement of pistol@2, wrote a report" in visitor.page("/jobs/2")
    assert "drew the example pictures of pistol@2, wrote a report" in visitor.page("/jobs/3")
    assert visitor.get("/jobs/9").status_code == 404


@pytest.mark.parametrize(
    ("kind", "words", "told"),
    [
        ("collect-anchors", ["a", "b"], "Collect a version of a and b: testbed"),
        ("collect-anchors", ["a", "--kept", "--model=o/FLUX.1-dev", "--task", "t2i"],
         "Collect a version of a from the given pictures: pictures drawn from a text (FLUX.1-dev)"),
        ("calibrate", ["a@2", "--rate", "0.1"], "Fit a@2 anew"),
        ("draw-examples", ["a@2", "--learned"], "Draw example pictures of a@2 on the testbed"),
        ("score-exemplars", ["--model=testbed", "a@2"],
         "Score the given pictures by a@2 on the testbed"),
        ("evaluate", ["testbed-quick", "--record=a@2"], "Measure a@2 by testbed-quick"),
        ("try", ["--release=policy@3", "--seed=0", "--", "--a mushroom"],
         "Try '--a mushroom' under policy@3 on the testbed"),
        ("try", ["a hat", "--version", "a@2", "--model", "o/FLUX.1-dev", "--picture=/x/a.png"],
         "Try 'a hat' to a given picture under a@2 on FLUX.1-dev"),
        ("try", ["--release=policy@3", "--picture=/x/a.png", "--"],
         "Check a picture under policy@3 on the testbed"),
    ],
)  # fmt: skip
def test_a_job_is_told_in_words(team, kind, words, told):
    assert job_words(team.jobs.add(kind, words, actor="ann")) == told


def test_a_job_is_told_without_paths_of_the_registrys_folder(team, visit):
    words = ["--release=p@3", f"--picture={team.home}/cache/a.png", "--"]
    team.jobs.add("try", words, actor="ann")
    team.jobs.fail(team.jobs.claim("w").id, "w", f"No picture at '{team.home}/cache/a.png'.")
    shown = visit(team, "ann").page("/jobs/1")
    assert "Command try --release=p@3 --picture=cache/a.png --" in shown
    assert "No picture at 'cache/a.png'." in shown
    assert str(team.home) not in shown + visit(team, "ann").page("/jobs")


def test_what_a_collection_warned_of_is_told(team, visit):
    team.jobs.add("collect-anchors", ["pistol"], actor="ann")
    made = {"slug": "pistol", "number": 2, "warnings": ["The testbed does not draw 'a dragon'."]}
    team.jobs.finish(team.jobs.claim("w").id, "w", {"pistol": made})
    assert "The testbed does not draw 'a dragon'." in visit(team, "ann").page("/jobs/1")


def test_the_report_of_a_job_is_handed_out_as_a_file(team, visit):
    visitor = visit(team, "dia")
    team.jobs.add("draw-examples", ["pistol@2"], actor="ann")
    team.jobs.finish(team.jobs.claim("w").id, "w")
    assert visitor.get("/jobs/1/report").status_code == 404
    (team.home / "reports").mkdir()
    (team.home / "reports/job-1.html").write_text("<p>all of it")
    found = visitor.get("/jobs/1/report")
    assert (found.status_code, found.text) == (200, "<p>all of it")
    assert found.headers["content-disposition"] == 'attachment; filename="job-1.html"'


def test_a_job_is_stopped_by_whoever_may(team, visit):
    team.jobs.add("collect-anchors", ["pistol"], actor="ann")
    assert visit(team, "bob").post("/jobs/1/cancel", {}).status_code == 403
    found = visit(team, "ann").post("/jobs/1/cancel", {})
    assert found.headers["location"] == "/jobs?done=stopped"
    assert team.jobs.show(1).state == "cancelled"
    assert visit(team, "ann").post("/jobs/1/cancel", {}).status_code == 409
    assert visit(team, "ann").post("/jobs/9/cancel", {}).status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"task": "--yes"}, {"task": ""}, {"model": "--out=/etc/x"}, {"model": "-x"}, {"model": ""},
        {"model": "a b"}, {"model": "../../etc"}, {"model": "/etc"}, {"model": "a/../../etc"},
        {"model": "a\n--yes"},
        {"model": "evil/huge"}, {"model": "black-forest-labs/FLUX.2-"},
        {"seed": "-1"}, {"seed": "x"}, {"seed": "1e99"},
    ],
    ids=repr,
)  # fmt: skip
def test_no_option_is_smuggled_into_a_job(team, visit, wrong):
    fields = {"task": "t2i", "model": "testbed", "seed": "0", **wrong}
    assert visit(team, "ann").post("/concepts/pistol/collect", fields).status_code == 422
    for suite in (fields["model"], "--record=x", "../x.yaml", "x.yaml", "/x.yaml"):
        found = visit(team, "ann").post("/concepts/pistol/1/measure", {"suite": suite})
        assert found.status_code == 422, suite
    if "model" in wrong:
        assert visit(team, "ann").post("/concepts/pistol/1/draw", wrong).status_code == 422
    assert team.jobs.list() == []


def test_only_curators_ask(team, visit):
    for name in ("bob", "cem", "dia"):
        fields = {"task": "t2i", "model": "testbed", "seed": "0"}
        found = visit(team, name).post("/concepts/pistol/collect", fields)
        assert "this needs the role curator" in text_of(found.text)
