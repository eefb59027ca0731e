"""A team's walk through the commands."""

from tests.commands.conftest import on_both


@on_both
def test_a_team_takes_a_version_from_draft_to_live(run, filled):
    assert run("actor", "set", "ann", "--role", "admin", "--role", "curator",
               "--role", "publisher").out == "ann: admin, curator, publisher\n"  # fmt: skip
    ann, bob = ("--actor", "ann"), ("--actor", "bob")
    run(*ann, "actor", "set", "bob", "--role", "reviewer", "--role", "auditor")
    policy = run(*ann, "policy", "set", "--approvals", 1, "--no-self-approval", "--signatures", 1)
    assert policy.out.splitlines() == [
        "approvals: 1", "self-approval: no", "signatures: 1", "max-shrink: 0.0", "gate: -",
    ]  # fmt: skip

    submitted = run(*ann, "submit", "pistol", "--note", "new", "--json").json()
    (waiting,) = run("reviews", "--json").json()
    assert (waiting["slug"], waiting["approvals"], waiting["needed"]) == ("pistol", [], 1)
    assert run(*ann, "approve", "pistol", "--yes").code == 5
    approved = run(*bob, "approve", "pistol@1", "--expect-digest", submitted["content_digest"])
    assert approved.out == f"pistol@1 is approved ({submitted['content_digest']})\n"
    assert run("reviews").out == "Nothing waits for review.\n"

    run(*ann, "key", "generate", "ann")
    run(*ann, "key", "add", "ann", "ann.pem.pub")
    run(*ann, "key", "rotate", "--add", "ann", "--key", "ann.pem")
    assert run("key", "export", "--out", "keys.json").code == 0
    run(*ann, "release", "policy", "--expires", "90d")
    unsigned = run(*ann, "channel", "move", "prod", "policy")
    assert (unsigned.code, "signed by 0 of the 1" in unsigned.err) == (5, True)
    run(*ann, "sign", "policy", "--key", "ann.pem", "--out", "policy.uvr")
    moved = run(*ann, "channel", "move", "prod", "policy", "--reason", "go")
    assert moved.out == "prod is at policy@1\n"

    live = run("live", "prod", "--json").json()
    (member,) = live["release"]["members"]
    assert (live["sequence"], live["moved_by"], live["reason"]) == (1, "ann", "go")
    assert (member["slug"], member["approval"], member["approved_by"]) == (
        "pistol", "review", ["bob"],
    )  # fmt: skip
    assert run("live", "prod", "--at", "2000-01-01").code == 3

    verified = run("bundle", "verify", "policy.uvr", "--keys", "keys.json", "--json")
    assert (len(verified.json()["signed_by"]), verified.err) == (1, "")
    late = run("bundle", "verify", "policy.uvr", "--keys", "keys.json", "--at", "2999-01-01")
    assert late.code == 6
    pulled = run("pull", "policy.uvr", "--keys", "keys.json", "--state", "state", "--json")
    assert (pulled.json()["state"], pulled.json()["sequence"]) == ("ok", 1)

    assert run(*bob, "audit", "checkpoint", "--key", "ann.pem", "--out", "c.json").code == 0
    agreed = run("audit", "verify", "--against", "c.json", "--keys", "keys.json", "--json").json()
    events = run("audit", "log", "--limit", 99, "--json").json()
    assert (agreed["events"], agreed["against"]) == (len(events), len(events) - 1)
    assert events[-1]["action"] == "audit.checkpoint"
    assert len(run("audit", "export").out.splitlines()) == len(events)


@on_both
def test_two_actors_never_look_alike(run, filled):
    assert run("actor", "set", "ann", "--role", "admin").code == 0
    before = filled.audit.events()
    for name in ("ann\u200b", "a\u00adnn", "ann ", "\u00a0ann", "ann\ufe0f", "an\x1bn"):
        result = run("--actor", "ann", "actor", "set", name, "--role", "reviewer")
        assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
        assert "must not look like another one's" in result.err
    assert filled.audit.events() == before


def test_an_invisible_character_in_a_name_is_shown(run, filled):
    run("--actor", "tester\u200b", "submit", "pistol")
    assert "tester\\u200b" in run("audit", "log").out
