"""Commands on versions, from a draft to what was live."""

from dataclasses import replace

from concepts.definition import load_shipped
from tests.commands.conftest import on_both
from tests.conftest import toy_collection


@on_both
def test_a_revoked_version_that_is_live_is_told(run, filled):
    run("release", "policy")
    run("channel", "move", "prod", "policy")
    revoked = run("revoke", "pistol", "--reason", "fires on hands", "--yes")
    assert "still live in channel 'prod', by policy@1" in revoked.err
    refused = run("release", "policy")
    assert (refused.code, "revoked" in refused.err) == (5, True)
    assert "note  live" in run("doctor").out
    assert "reason: fires on hands; content_digest: " in run("log", "pistol").out


def test_a_version_that_nobody_reviews_says_why_it_is_approved(run, filled):
    done = run("submit", "pistol")
    assert (done.code, done.out.splitlines()) == (0, [
        f"pistol@1 is approved ({filled.versions.get('pistol').content_digest})",
        "The policy asks for no approvals; `uvr-registry policy set --approvals 1` changes that.",
    ])  # fmt: skip


@on_both
def test_an_approval_is_for_what_was_shown(run, filled, monkeypatch):
    run("policy", "set", "--approvals", 1)
    run("submit", "pistol")

    def change(question: str) -> str:
        """Someone edits and submits again while the reviewer reads the question."""
        assert filled.concepts.get("pistol").versions[0].content_digest in question
        run("edit-version", "pistol", "--threshold", "t2i", 1.25, 1)
        run("submit", "pistol")
        return "y"

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.termui.visible_prompt_func", change)
    assert run("approve", "pistol").code == 4
    assert filled.concepts.get("pistol").versions[0].state == "in_review"
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "y")
    assert run("approve", "pistol").code == 0


@on_both
def test_a_reviewer_sees_what_is_to_be_approved(run, filled, monkeypatch):
    run("policy", "set", "--approvals", 1)
    run("submit", "pistol")
    seen = run("approve", "pistol", "--dry-run").err.splitlines()
    assert seen[:4] == [
        "pistol@1 is in review, by tester",
        f"content {filled.versions.get('pistol').content_digest}",
        "definition:",
        "  slug: pistol",
    ]
    assert seen[-6:-1] == [
        "model    task  anchors  counter anchors  rule      seed threshold  grow threshold",
        "testbed  t2i   5        6                whitened  2               1",
        "testbed t2i: what these thresholds promise and reach was not measured",
        "not measured by `uvr-registry evaluate`",
        "live nowhere; a release regulates it unless told otherwise",
    ]
    run("approve", "pistol", "--yes")
    run("release", "policy", "--mode", "pistol=shadow")
    run("channel", "move", "prod", "policy")
    changed = replace(load_shipped("pistol"), description="Another.")
    filled.concepts.add(changed, actor="tester")
    filled.versions.add("pistol", [toy_collection(seed=1)], actor="tester")
    run("submit", "pistol", "--note", "more drawings")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "n")
    refused = run("approve", "pistol")
    lines = refused.err.splitlines()
    assert (refused.code, refused.out) == (130, "")
    assert lines[2:4] == ["changes since version 1:", "  definition: description"]
    assert "    +Another." in lines
    assert "    anchors: 5 added, 0 kept, 5 removed" in lines
    live = "live in 'prod', by policy@1: version 1, mode shadow (tried silently)"
    assert f"{live}, threshold t2i 2" in lines
    assert filled.versions.get("pistol").state == "in_review"
    assert run("approve", "pistol", "--yes").err == ""


def test_without_a_terminal_an_approval_needs_a_word(run, filled):
    run("policy", "set", "--approvals", 1)
    run("submit", "pistol")
    asked = run("approve", "pistol")
    assert (asked.code, len(asked.err.splitlines())) == (2, 1)
    assert "give --expect-digest" in asked.err
    digest = filled.versions.get("pistol").content_digest
    assert run("approve", "pistol", "--expect-digest", digest).code == 0


@on_both
def test_editing_a_version_in_review_makes_it_a_draft(run, filled):
    run("policy", "set", "--approvals", 1)
    run("submit", "pistol")
    edited = run("edit-version", "pistol", "--threshold", "t2i", 1.25, 0.5, "--json").json()
    assert edited["state"] == "draft"
    assert edited["spaces"][0]["seed_threshold"] == 1.25
    assert run("reviews", "--all", "--json").json()[0]["state"] == "withdrawn"


def test_diff_tells_what_changed(run, filled):
    filled.versions.add("pistol", [toy_collection(seed=1)], actor="tester")
    lines = run("diff", "pistol", 1, 2).out.splitlines()
    assert lines[:3] == [
        "testbed t2i",
        "  anchors: 5 added, 0 kept, 5 removed",
        "  counter-anchors: 6 added, 0 kept, 6 removed",
    ]
    assert run("diff", "pistol", 1, 1).out.startswith("testbed t2i\n  anchors: 0 added, 5 kept")
    assert run("diff", "pistol", 1, 2, "--json").json()["spaces"][0]["anchors"]["added"] == 5


@on_both
def test_a_concepts_log_tells_its_versions_releases_and_channels(run, filled):
    run("release", "policy")
    run("channel", "move", "prod", "policy")
    told = [event["action"] for event in run("log", "pistol", "--json").json()]
    assert told == ["concept.add", "version.add", "release.add", "channel.move"]
    assert len(run("log", "pistol").out.splitlines()) == 5
    assert run("log", "pistl").code == 3
