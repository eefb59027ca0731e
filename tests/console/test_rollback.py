"""Going back, a pause, and what is left to do after a release, in the browser."""

from __future__ import annotations

import html
import re

from tests.console.conftest import text_of
from tests.console.test_wizard import hidden

BACK = "/releases/policy/1/rollback"


def test_going_back_is_looked_at_and_then_done(solo, visit):
    solo.releases.add("policy", actor="ann", modes={"pistol": "log"}, allow_shrink=True,
                      enforce_nothing=True)  # fmt: skip
    visitor = visit(solo)
    assert f'<a href="{BACK}">Go back to this one</a>' in visitor.get("/releases/policy/1").text
    assert "so its members are released again, as policy@3" in visitor.page(BACK).lower()
    looked = visitor.post(BACK, {"reason": "fires on cups", "step": "look"})
    shown = text_of(looked.text)
    assert "policy@3 would Change pistol: regulated, was reported only" in shown
    assert "pistol: strictness set by hand, not measured, for pictures drawn from a text" in shown
    assert len(solo.releases.list()) == 2
    fields = {"reason": "fires on cups", "before": hidden(looked.text, "before"),
              "looked": html.unescape(hidden(looked.text, "looked"))}  # fmt: skip
    made = visitor.post(BACK, {**fields, "step": "release"})
    assert made.headers["location"] == "/releases/policy/3?done=released"
    newest = solo.releases.get("policy")
    assert (newest.rollback_of, newest.note) == (1, "fires on cups")
    again = visitor.post(BACK, {**fields, "step": "release"})
    assert (again.status_code, "fires on cups" in again.text) == (409, True)


def test_choices_that_changed_since_they_were_looked_at_are_looked_at_first(solo, visit):
    solo.releases.add("policy", actor="ann", modes={"pistol": "log"}, allow_shrink=True,
                      enforce_nothing=True)  # fmt: skip
    visitor = visit(solo)
    looked = visitor.post(BACK, {"reason": "fires on cups", "step": "look"}).text
    fields = {"reason": "fires on cups", "before": hidden(looked, "before"), "step": "release",
              "looked": html.unescape(hidden(looked, "looked"))}  # fmt: skip
    for change in ({"expires": "30"}, {"allow_shrink": "yes"}, {"drop": "pistol"}):
        found = visitor.post(BACK, {**fields, **change})
        assert (found.status_code, len(solo.releases.list())) == (200, 2)
    assert visitor.post(BACK, fields).status_code == 303


def test_what_the_earlier_release_lacks_is_taken_out_by_name(solo, visit):
    solo.releases.add("other", ["pistol"], actor="ann")
    solo.releases.add("other", ["nudity"], actor="ann")
    path = "/releases/other/1/rollback"
    visitor = visit(solo)
    refused = text_of(visitor.post(path, {"reason": "week 49", "step": "look"}).text)
    assert "If that is meant: choose “take it out” for nudity" in refused
    shown = text_of(visitor.post(path, {"reason": "a", "drop": "nudity", "step": "look"}).text)
    assert "nudity: no longer in it, was version 1" in shown


def test_going_back_needs_a_reason_and_keeps_the_form(solo, visit):
    solo.releases.add("policy", actor="ann", modes={"nudity": "log"})
    found = visit(solo).post(BACK, {"reason": "", "expires": "90", "step": "look"})
    assert (found.status_code, 'value="90"' in found.text) == (422, True)
    assert "Say why: the audit trail keeps it." in text_of(found.text)
    found = visit(solo).post(BACK, {"reason": "a <b>", "expires": "soon", "step": "look"})
    assert (found.status_code, "a &lt;b&gt;</textarea>" in found.text) == (422, True)
    assert "It expires: 'soon'" in text_of(found.text)
    assert "It is the newest of policy already." in visit(solo).page("/releases/policy/2/rollback")


def test_a_release_says_what_comes_next(solo, visit):
    visitor = visit(solo)
    assert "uvr-registry bundle export --channel prod --out prod.uvr" in visitor.page(
        "/releases/policy/1"
    )
    solo.team.set_policy(actor="ann", signatures=1)
    solo.releases.add("policy", actor="ann", modes={"nudity": "log"})
    shown = visitor.page("/releases/policy/2")
    assert (
        "What comes next 1 signature is missing, made where a key is: uvr-registry sign policy@2 "
        "--key FILE. Not live yet in prod at policy@1: point the channel to this release." in shown
    )
    assert "What comes next" not in visitor.page("/releases/policy/1")
    solo.releases.add("other", actor="ann")
    assert "Live in no channel: point one to this release" in visitor.page("/releases/other/1")


def test_a_pause_goes_from_the_concepts_page_to_the_channel(solo, visit):
    visitor = visit(solo)
    page = visitor.get("/concepts/pistol/1").text
    form = page.partition("Switch it off for some days in prod")[2].partition("</form>")[0]
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form))
    assert fields == {"bundle": "policy", "concept": "pistol", "way": "off", "until": "7"}
    begun = visitor.get("/new-release", params={**fields, "note": "fires on toys"}).text
    plan = {
        "bundle": "policy", "slug": "pistol", "way": "off", "until": hidden(begun, "until"),
        "note": "fires on toys", "enforce_nothing": "yes", "step": "look",
    }  # fmt: skip
    assert ">fires on toys</textarea>" in begun
    looked = visitor.post("/new-release", plan).text
    fixed = {name: hidden(looked, name) for name in ("until", "before", "lock")}
    made = visitor.post("/new-release", {**plan, **fixed, "step": "release"})
    assert made.headers["location"] == "/releases/policy/2?done=released"
    before = solo.channels.list()[0].bundle_digest
    move = {"channel": f"prod {before}", "reason": "fires on toys"}
    assert visitor.post("/releases/policy/2/move", move).status_code == 303
    assert "Pistol switched off until" in visitor.page("/")
    (event,) = solo.audit.events(1, action="release.add")
    assert event.details["note"] == "fires on toys"


def test_a_moved_line_keeps_why(solo, visit):
    version = solo.versions.get("pistol", 1)
    fields = {
        "content": version.content_digest, "space": version.spaces[0].digest, "line": "1.5",
        "reason": "misses small ones",
    }  # fmt: skip
    assert visit(solo).post("/concepts/pistol/1/strictness", fields).status_code == 303
    fields |= {"content": solo.versions.get("pistol", 2).content_digest, "line": "1.25"}
    assert visit(solo).post("/concepts/pistol/2/strictness", fields).status_code == 303
    added, edited = solo.audit.events(2)
    assert [item.details["reason"] for item in (added, edited)] == ["misses small ones"] * 2
