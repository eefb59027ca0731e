"""What takes long is asked for in the browser, and done by a worker."""

from __future__ import annotations

import pytest

from commands.job_kinds import check_arguments
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
    assert "Collect a version: pistol --model=testbed" in visitor.page("/jobs")
    assert "pistol --model=testbed --task=edit --seed=3 Waiting for a worker" in shown
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
    assert "failed just now, asked by ann: No space left on device" in shown
    assert "Nothing waits and nothing runs." in shown


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
    assert "made pistol@2" in visitor.page("/jobs/1")
    assert "recorded the measurement of pistol@2, wrote a report" in visitor.page("/jobs/2")
    assert "drew the example pictures of pistol@2, wrote a report" in visitor.page("/jobs/3")
    assert visitor.get("/jobs/9").status_code == 404


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
