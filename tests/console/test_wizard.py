"""A release in the browser: looked at first, then made as it was shown, signed elsewhere."""

from __future__ import annotations

import re

from concepts.signing.ed25519 import PrivateKey
from tests.conftest import toy_collection
from tests.console.conftest import read, text_of


def hidden(page: str, name: str) -> str:
    return re.findall(rf'name="{name}" value="([^"]*)"', page)[0]


def test_a_release_is_looked_at_and_then_made(solo, visit):
    solo.versions.add("pistol", [toy_collection(5)], actor="ann")
    visitor = visit(solo)
    assert "pistol@2 newer; version 2 is draft" in visitor.page("/new-release")
    plan = {
        "bundle": "policy", "member": "pistol@2", "slug": ["nudity", ""],
        "way": ["off", ""], "until": ["7", ""], "note": "week 49", "step": "look",
    }  # fmt: skip
    looked = visitor.post("/new-release", plan)
    shown = text_of(looked.text)
    assert "policy@2 would Change nudity: switched off until" in shown
    assert "Cover With testbed: pictures drawn from a text. Not: edited pictures, fin" in shown
    assert "pistol: version 2 instead of 1" in shown
    assert len(solo.releases.list()) == 1
    fields = {name: hidden(looked.text, name) for name in ("before", "lock")}
    until = re.findall(r'name="until" value="([^"]+)"', looked.text)
    made = visitor.post(
        "/new-release", {**plan, "until": [*until, ""], **fields, "step": "release"}
    )
    assert made.headers["location"] == "/releases/policy/2?done=released"
    assert solo.releases.get("policy").lock_digest == fields["lock"]
    shown = visitor.page("/releases/policy/2?done=released")
    assert "The release was made." in shown
    assert "“week 49”" in shown


def test_a_release_that_is_no_longer_what_was_shown_is_not_made(solo, visit):
    visitor = visit(solo)
    plan = {"bundle": "policy", "include": "all", "step": "look"}
    looked = visitor.post("/new-release", plan).text
    fields = {name: hidden(looked, name) for name in ("before", "lock")}
    solo.versions.add("pistol", [toy_collection(5)], actor="ann")
    found = visitor.post("/new-release", {**plan, **fields, "step": "release"})
    assert found.status_code == 409
    assert len(solo.releases.list()) == 1


def test_what_is_banned_less_must_be_asked_for(solo, visit):
    plan = {"bundle": "policy", "slug": "pistol", "way": "shadow", "until": "", "step": "look"}
    visitor = visit(solo)
    shown = text_of(visitor.post("/new-release", plan).text)
    assert "would refuse this: 1 of 1 regulated concepts would be regulated less" in shown
    assert "If that is meant: tick “Less may be regulated” tick “Nothing at all" in shown
    asked = {**plan, "allow_shrink": "yes", "enforce_nothing": "yes"}
    shown = text_of(visitor.post("/new-release", asked).text)
    assert "pistol: tried silently, was regulated" in shown
    told = "pistol: strictness set by hand, not measured, for pictures drawn from a text (testbed)"
    assert told in shown


def test_a_member_is_taken_out_and_a_first_release_begins(solo, visit):
    plan = {"bundle": "other", "slug": "nudity", "way": "drop", "until": "", "step": "look"}
    shown = text_of(visit(solo).post("/new-release", plan).text)
    assert "other@1 would Change pistol: new, version 1" in shown
    assert "nudity: not in this release, version 1 is approved" in shown


def test_a_plan_that_cannot_be_meant_is_refused(solo, visit):
    visitor = visit(solo)
    for wrong in (
        {"slug": ["pistol", "pistol"], "way": ["log", "shadow"], "until": ["", ""]},
        {"slug": "pistol", "way": "eat", "until": ""},
        {"slug": "pistol", "way": "off", "until": ""},
        {"slug": "pistol", "way": "off", "until": "soon"},
        {"include": "everything"},
        {"expires": "never"},
    ):
        found = visitor.post("/new-release", {"bundle": "policy", "step": "look", **wrong})
        assert found.status_code == 422, wrong
        assert 'class="refusal" role="alert" id="why-' in found.text, wrong


def test_a_bad_date_keeps_the_form(solo, visit):
    fields = {
        "bundle": "policy", "slug": ["pistol", "nudity"], "way": ["off", "log"],
        "until": ["soon", ""], "include": "approved", "expires": "90", "allow_shrink": "yes",
        "note": "week 49", "step": "look",
    }  # fmt: skip
    found = visit(solo).post("/new-release", fields)
    assert found.status_code == 422
    page = read(found.text)
    fields = [given for tag, given in page.elements if given.get("name")]
    assert [item["value"] for item in fields if item["name"] == "until"] == ["soon", "", ""]
    assert [item["value"] for item in fields if item["name"] == "slug"] == ["pistol", "nudity", ""]
    assert [item["value"] for item in fields if item["name"] == "expires"] == ["90"]
    assert "checked" in next(item for item in fields if item["name"] == "allow_shrink")
    assert "week 49" in page.texts
    beside = found.text.partition('id="why-until-1">')[2].partition("</p>")[0]
    assert text_of(beside).startswith("Switched off until: 'soon' is no")


def test_keys_stay_away_and_a_channel_waits_for_signatures(solo, visit):
    visitor = visit(solo)
    unsigned = "Not signed; the policy asks for no signatures."
    assert unsigned in visitor.page("/releases/policy/1")
    key = PrivateKey.generate()
    solo.keys.add("ann", key.public, actor="ann")
    solo.keys.rotate(actor="ann", signers=[key], add=["ann"], threshold=1)
    solo.team.set_policy(actor="ann", signatures=1)
    solo.releases.add("policy", actor="ann", modes={"nudity": "enforce"})
    shown = visitor.page("/releases/policy/2")
    assert "Signed by 0 of the 1 key that the policy asks for." in shown
    assert "uvr-registry sign policy@2 --key FILE" in shown
    now = solo.channels.list()[0].bundle_digest
    fields = {"channel": f"prod {now}", "reason": "week 49"}
    refused = visitor.post("/releases/policy/2/move", fields)
    assert refused.status_code == 403
    assert "is signed by 0 of the 1 listed keys" in text_of(refused.text)
    solo.releases.sign("policy", actor="ann", keys=[key])
    assert "the policy asks for: ann." in visitor.page("/releases/policy/2")
    moved = visitor.post("/releases/policy/2/move", fields)
    assert moved.headers["location"] == "/releases/policy/2?done=moved"
    assert solo.channels.list()[0].sequence == 2
    assert visitor.post("/releases/policy/1/move", fields).status_code == 409


def test_a_new_channel_is_made_once(solo, visit):
    visitor = visit(solo)
    assert visitor.post("/releases/policy/1/move", {"new_channel": "canary"}).status_code == 303
    assert [item.name for item in solo.channels.list()] == ["canary", "prod"]
    assert visitor.post("/releases/policy/1/move", {"new_channel": "canary"}).status_code == 409
    assert "canary, prod" in visitor.page("/releases")


def test_a_newer_version_in_review_is_told_of(team, visit):
    shown = text_of(visit(team, "cem").page("/releases/policy/1"))
    assert "pistol: an older version is in it, version 2 is waiting for review" in shown
