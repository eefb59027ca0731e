"""What each page tells, of a registry of one and of a team's."""

from __future__ import annotations

import json
import re

import pytest
from sqlalchemy import text

from concepts.definition import ConceptDefinition
from concepts.signing.ed25519 import PrivateKey
from registry.store import guards
from registry.store.db import transaction
from tests.conftest import toy_collection
from tests.console.conftest import digest_of, text_of
from uvr.anchors.calibration import fit_scorer
from uvr.pages.words import day


def test_live_tells_what_each_channel_bans_now(solo, visit):
    solo.releases.add("policy", actor="ann", disabled={"pistol": "7d"}, enforce_nothing=True)
    solo.channels.move("prod", "policy", actor="ann", reason="try it")
    shown = visit(solo).page("/")
    assert "prod policy@2, since" in shown
    assert "by ann: “try it”. 0 of 2 concepts regulated as approved." in shown
    assert "Nudity tried silently strictness set by hand, not measured 1 released without" in shown
    assert "Pistol switched off until" in shown
    until = day(solo.releases.get("policy").members[1].disabled_until)
    assert f"pistol switched off until {until}" in visit(solo).page("/releases")
    assert shown.endswith("Banned in no channel Knife as a weapon nothing collected yet")


def test_live_tells_of_what_was_revoked(solo, visit):
    solo.versions.revoke("pistol", 1, actor="ann", reason="fires on hands")
    assert "Revoked since: pistol. Release again, then move the channel." in visit(solo).page("/")


def test_an_empty_registry_says_what_to_do(new_registry, tmp_path, visit):
    visitor = visit(new_registry(tmp_path / "home"))
    assert "No channel points to a release yet" in visitor.page("/")
    assert "uvr-registry add-concept FILE" in visitor.page("/concepts")
    for path in ("/reviews", "/releases", "/new-release", "/audit", "/audit/verify"):
        visitor.page(path)


def test_concepts_are_found_by_a_word(solo, visit):
    shown = visit(solo).page("/concepts?q=PIST")
    assert "1 concept " in shown
    assert "Pistol object 1 approved prod: version 1, regulated" in shown
    assert "No concept's name holds “nix”" in visit(solo).page("/concepts?q=nix")


def test_the_page_of_concepts_says_how_one_is_added_and_its_words_changed(solo, visit):
    shown = visit(solo).page("/concepts")
    assert "uvr-registry add-concept FILE" in shown
    assert "uvr-registry edit-version SLUG --definition FILE" in shown


def test_what_can_be_done_with_a_version_comes_before_its_pictures(team, visit):
    shown = visit(team, "ann").page("/concepts/pistol/2")
    heads = ("Where it is live", "What can be done", "In pictures", "How well it is found",
             "In words", "Versions", "What happened")  # fmt: skip
    places = [shown.index(f" {head} ") for head in heads]
    assert places == sorted(places)


def test_a_version_is_told_in_words_and_its_address_stays(team, visit):
    found = visit(team, "bob").get("/concepts/pistol")
    assert (found.status_code, found.headers["location"]) == (303, "/concepts/pistol/2")
    shown = visit(team, "bob").page("/concepts/pistol/1")
    assert "Pistol version 1 approved object · by ann" in shown
    assert "Look-alikes that are allowed" in shown
    assert "of 20 that asked for it, 1 still show it (1% - 24%), 19 unregulated" in shown
    assert "not measured: its strictness was set by hand" in shown
    assert re.search(
        r"2 waiting for review ann \d+ \w+ \d+ what differs from version 2 1, this", shown
    )


def test_a_version_of_a_weak_promise_is_warned_of(solo, visit):
    anchors, _ = toy_collection()
    scorer = fit_scorer(anchors, image_false_positive_rate=0.2)
    solo.versions.add("knife", [(anchors, scorer)], actor="ann")
    shown = visit(solo).page("/concepts/knife/1")
    assert "As many as 20% of other pictures may match: 6 were looked at" in shown


def test_a_concept_without_versions_has_a_page(solo, visit):
    assert "uvr-registry collect-anchors knife" in visit(solo).page("/concepts/knife")


def test_a_version_that_was_not_measured_says_how(solo, visit):
    found = solo.concepts.get("nudity").versions[-1]
    shown = visit(solo).page(f"/concepts/nudity/{found.number}")
    assert f"uvr-registry evaluate SUITE --record nudity@{found.number}" in shown


def test_a_draft_is_put_up_for_review(team, visit):
    team.versions.reject("pistol", actor="bob", reason="why?")
    visitor = visit(team, "ann")
    fields = {"content": digest_of(team, "pistol", 2), "note": "so that small ones are found"}
    found = visitor.post("/concepts/pistol/2/submit", fields)
    assert found.headers["location"] == "/concepts/pistol/2?done=submitted"
    assert "The version waits for review." in visitor.page("/concepts/pistol/2?done=submitted")
    (request,) = team.versions.requests()
    assert (request.note, request.opened_by) == ("so that small ones are found", "ann")


def test_a_draft_is_approved_at_once_where_nobody_is_to_review_and_the_page_says_so(solo, visit):
    solo.versions.copy("pistol", actor="ann", thresholds={"t2i": (1.5, 0.75)})
    visitor = visit(solo)
    shown = visitor.page("/concepts/pistol/2")
    assert "Approve it The policy of this registry asks for no review." in shown
    assert "Ask for review" not in shown
    found = visitor.post("/concepts/pistol/2/submit", {"content": digest_of(solo, "pistol", 2)})
    shown = visitor.page(found.headers["location"])
    assert "The version is approved: the policy asks for no review." in shown
    assert "Pistol version 2 approved object" in shown


def test_a_line_that_was_set_by_hand_names_the_way_back(solo, visit):
    solo.versions.copy("pistol", actor="ann", thresholds={"t2i": (1.5, 0.75)})
    visitor = visit(solo)
    assert "comes back by uvr-registry calibrate pistol@2." in visitor.page("/concepts/pistol/2")
    solo.versions.submit("pistol", 2, actor="ann")
    shown = visitor.page("/concepts/pistol/2")
    assert "uvr-registry copy-version pistol@2 makes one" in shown
    assert "comes back by" not in shown


def test_every_reason_says_whether_it_is_needed(team, visit):
    visitor = visit(team, "ann")
    for path in (
        "/concepts/pistol/1", "/concepts/pistol/1/strictness", "/reviews/pistol/2",
    ):  # fmt: skip
        page = visitor.get(path).text
        found = re.findall(r'<label for="([^"]+)">([^<]+)</label>\n<textarea id="\1"([^>]*)>', page)
        assert found
        for _, label, field in found:
            assert label.endswith("(needed)" if " required" in field else "(if you like)")
    assert "Why you approve it" not in visitor.page("/reviews/pistol/2")  # ann wrote it.


def test_a_version_goes_out_of_use_and_is_revoked(team, visit):
    visitor = visit(team, "ann")
    fields = {"content": digest_of(team, "pistol", 1), "reason": "fires on hands"}
    visitor.post("/concepts/pistol/1/deprecate", fields)
    assert team.versions.get("pistol", 1).state == "deprecated"
    found = visitor.post("/concepts/pistol/1/revoke", fields)
    assert found.headers["location"] == "/concepts/pistol/1?done=revoked"
    assert "Nothing: it was revoked for good." in visitor.page("/concepts/pistol/1")


def test_the_queue_tells_what_waits_and_what_was_decided(team, visit):
    assert "pistol, version 2 By ann, asked" in (shown := visit(team, "bob").page("/reviews"))
    assert "Approved by nobody so far (0 of 1). “catches small ones”" in shown
    team.versions.reject("pistol", actor="bob", reason="also toys")
    shown = visit(team, "bob").page("/reviews")
    assert "pistol, version 2: sent back just now, by bob also toys" in shown


def test_a_review_shows_what_differs(team, visit):
    shown = visit(team, "bob").page("/reviews/pistol/2")
    assert "What differs from version 1, approved before Words The same." in shown
    assert "In pictures drawn from a text (testbed): from the same pictures, stricter" in shown
    assert "no measurement, and for nothing that comes later" in shown


def test_a_review_shows_words_that_were_changed(team, visit):
    team.versions.reject("pistol", actor="bob", reason="also toys")
    words = team.concepts.get("pistol").definition.to_dict()
    words["near_misses"] = [*words["near_misses"][1:], "a toy pistol of wood"]
    words["description"] = "Another sentence."
    team.versions.edit("pistol", actor="ann", definition=ConceptDefinition.from_dict(words))
    team.versions.submit("pistol", actor="ann")
    page = visit(team, "bob").get("/reviews/pistol/2").text
    assert "<ins>a toy pistol of wood</ins>" in page
    assert "<ins>Another sentence.</ins>" in page
    assert page.count("<del>") == 2


def test_an_approval_binds_what_was_shown(team, visit):
    visitor = visit(team, "bob")
    fields = {"content": digest_of(team, "pistol", 2), "evaluation": "none", "reason": "good"}
    found = visitor.post("/reviews/pistol/2/approve", fields)
    assert found.headers["location"] == "/concepts/pistol/2?done=approved"
    assert team.versions.get("pistol", 2).state == "approved"
    event = team.audit.events()[-1]
    assert (event.action, event.actor, event.details["reason"]) == (
        "version.approve", "bob", "good",
    )  # fmt: skip


@pytest.mark.parametrize("stale", ["content", "evaluation"])
def test_an_approval_of_anything_else_is_refused(team, visit, stale):
    fields = {"content": digest_of(team, "pistol", 2), "evaluation": "none", stale: "0" * 64}
    found = visit(team, "bob").post("/reviews/pistol/2/approve", fields)
    assert found.status_code == 409
    assert "It changed meanwhile: look at it again." in text_of(found.text)
    assert team.versions.get("pistol", 2).state == "in_review"


def test_an_author_is_told_beforehand_that_the_approval_would_not_count(team, visit):
    team.team.set("ann", actor="ann", roles=["admin", "curator", "reviewer"])
    shown = visit(team, "ann").page("/reviews/pistol/2")
    assert "You cannot approve it: 'ann' wrote a part of version 2 of 'pistol'" in shown
    assert team.versions.requests()[0].approvals == ()


def test_breaking_the_glass_needs_an_admin_and_a_reason(team, visit):
    fields = {"content": digest_of(team, "pistol", 2), "evaluation": "none", "break_glass": "yes"}
    assert visit(team, "bob").post("/reviews/pistol/2/approve", fields).status_code == 403
    assert visit(team, "ann").post("/reviews/pistol/2/approve", fields).status_code == 403
    fields["reason"] = "incident 12"
    assert visit(team, "ann").post("/reviews/pistol/2/approve", fields).status_code == 303
    assert team.audit.events()[-1].action == "version.break_glass"


def test_a_version_is_sent_back_with_a_reason(team, visit):
    fields = {"content": digest_of(team, "pistol", 2)}
    visitor = visit(team, "bob")
    assert visitor.post("/reviews/pistol/2/send-back", fields).status_code == 403
    found = visitor.post("/reviews/pistol/2/send-back", {**fields, "reason": "also toys"})
    assert found.headers["location"] == "/concepts/pistol/2?done=returned"
    assert team.versions.get("pistol", 2).state == "draft"
    gone = visitor.get("/reviews/pistol/2")
    assert (gone.status_code, "it is draft." in gone.text) == (404, True)


def test_the_trail_is_filtered_page_by_page(solo, visit, monkeypatch):
    monkeypatch.setattr("console.pages.audit.SHOWN", 5)
    for number in range(8):
        solo.team.set_policy(actor="eve", max_shrink=number / 100 + 0.01)
    visitor = visit(solo)
    page = visitor.get("/audit?actor=eve").text
    assert page.count("<b>eve</b>") == 5
    older = page.split('href="/audit?')[1].split('"')[0].replace("&amp;", "&")
    assert visitor.get(f"/audit?{older}").text.count("<b>eve</b>") == 3
    assert "ann moved the channel prod" in visitor.page("/audit?kind=channel")
    assert "Nothing yet." in visitor.page("/audit?subject=nix&since=2020-01-01")
    found = visitor.get("/audit?since=tomorrow&actor=eve")
    assert (found.status_code, 'value="tomorrow"' in found.text) == (422, True)
    assert '<span id="why-since" role="alert" class="refusal">Since: ' in found.text
    assert "Nothing is shown until it is known since when." in text_of(found.text)
    assert visitor.get("/audit?before=-1").status_code == 422


def test_the_trail_is_verified_and_compared(solo, visit):
    visitor = visit(solo)
    assert "The trail is whole" in visitor.page("/audit/verify")
    checkpoint = solo.audit.checkpoint(actor="ann", key=PrivateKey.generate()).decode()
    assert "Of event" in visitor.page("/audit")
    found = visitor.post("/audit/compare", {"checkpoint": checkpoint})
    assert "It holds what the checkpoint of event" in text_of(found.text)
    found = visitor.post("/audit/compare", {"checkpoint": "{}"})
    assert (found.status_code, "That is no checkpoint" in found.text) == (422, True)


def test_a_trail_that_was_rewritten_is_told(solo, visit):
    checkpoint = solo.audit.checkpoint(actor="ann", key=PrivateKey.generate()).decode()
    with transaction(solo.workspace.engine, write=True) as connection:
        guards.drop(connection)
        connection.execute(text("UPDATE audit_event SET actor = 'eve' WHERE number = 3"))
    visitor = visit(solo)
    broken = "The trail is not what it was The audit trail is broken: event 3 was edited."
    assert broken in visitor.page("/audit/verify")
    found = visitor.post("/audit/compare", {"checkpoint": checkpoint})
    assert broken in text_of(found.text)


def test_the_whole_trail_is_handed_out(solo, visit):
    found = visit(solo).get("/audit/export")
    assert found.headers["content-disposition"] == 'attachment; filename="audit.jsonl"'
    lines = [json.loads(line) for line in found.text.splitlines()]
    assert lines == [event.to_dict() for event in solo.audit.events()]


def test_unknown_pages_lead_on(solo, visit):
    visitor = visit(solo)
    found = visitor.get("/concepts/pistl")
    assert found.status_code == 404
    assert "No concept 'pistl'. Did you mean 'pistol'?" in text_of(found.text)
    assert visitor.get("/nix").status_code == 404


def test_forms_that_a_role_may_not_send_are_left_out_and_the_page_says_why(team, visit):
    visitor = visit(team, "dia")
    for path, role, button in (
        ("/new-release", "publisher", "Days, or until"),
        ("/releases/policy/1", "publisher", "Point it here"),
        ("/try", "curator", "Drawn from seed"),
        ("/concepts/pistol/words", "curator", "Add it"),
        ("/concepts/pistol/1/strictness", "curator", "Save as a draft"),
        ("/concepts/pistol/exemplars", "curator", "Keep them"),
        ("/reviews/pistol/2", "reviewer", "Send it back"),
    ):
        shown = visitor.page(path)
        assert f"'dia' may act as auditor; this needs the role {role}." in shown, path
        assert button not in shown, path
    assert "Days, or until" in visit(team, "cem").page("/new-release")
    assert "Save as a draft" in visit(team, "ann").page("/concepts/pistol/1/strictness")


def test_models_of_the_registry_are_offered_before_any_other(team, visit):
    page = visit(team, "ann").get("/concepts/pistol/words").text
    (select,) = re.findall(r'(?s)<select id="model" name="model">(.*?)</select>', page)
    first, others = select.split('<optgroup label="On a machine with that model">')
    assert text_of(first) == "testbed"
    assert text_of(others).startswith("flux.1-dev flux.1-schnell")
    assert "testbed" not in others
