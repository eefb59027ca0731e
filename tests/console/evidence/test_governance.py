"""What was banned at an instant."""

import pytest
from sqlalchemy import text

from concepts.errors import VerificationError
from concepts.instant import now
from console.evidence.governance import governance, governance_page
from registry.store.db import transaction
from registry.versions.exemplars import Exemplar
from tests.conftest import toy_collection, toy_evaluation
from tests.console.evidence.conftest import Loads


def test_an_instant_is_told_as_it_was_and_not_what_came_later(filled):
    art = Exemplar("a" * 64, "art archive 12", "licence 7")
    filled.versions.add("knife", [toy_collection(1)], actor="tester", exemplars=[art])
    before = now()
    filled.releases.add("policy", actor="tester", include="all", modes={"pistol": "log"})
    filled.channels.move("prod", "policy", actor="tester", reason="week 48")
    first = now()
    version = filled.versions.get("knife")
    filled.versions.evaluate(
        "knife", actor="tester", evaluation=toy_evaluation(), expect_digest=version.content_digest
    )
    filled.releases.add("policy", actor="tester", drop=["pistol"], allow_shrink=True)
    filled.channels.move("prod", "policy", actor="tester")

    assert governance(filled, before).channels == ()
    then = governance(filled, first)
    (channel,) = then.channels
    assert (channel.channel, channel.sequence, channel.reason) == ("prod", 1, "week 48")
    assert [(item.slug, item.mode, item.enforced) for item in channel.banned] == [
        ("knife", "enforce", True), ("pistol", "log", False),
    ]  # fmt: skip
    knife = channel.banned[0]
    assert (knife.approval, knife.approved_by, knife.evaluations) == ("policy", ("tester",), ())
    assert [(g.origin, g.legal_basis, g.pictures) for g in knife.grounds] == [
        ("art archive 12", "licence 7", 1),
    ]  # fmt: skip
    events = filled.audit.events()
    assert (then.events, then.verified) == (len(events) - 3, len(events))
    assert then.digest == events[then.events - 1].digest

    (later,) = governance(filled, now()).channels
    assert [item.slug for item in later.banned] == ["knife"]
    assert [item.figures["suite"] for item in later.banned[0].evaluations] == ["mugs"]


def test_the_page_of_an_instant_speaks_to_people(filled):
    filled.releases.add("policy", actor="tester", modes={"pistol": "shadow"}, include="all")
    filled.channels.move("prod", "policy", actor="tester")
    page = governance_page(governance(filled, now()))
    assert set(Loads(page).loads) == {"data:,", "#main"}
    assert "tried silently" in page
    assert "Strictness set by hand, not measured: testbed t2i." in page
    assert "released without review by tester" in page


def test_a_changed_trail_gives_no_report(filled):
    with transaction(filled.workspace.engine, write=True) as connection:
        connection.execute(text("DROP TRIGGER uvr_audit_event_update"))
        connection.execute(text("UPDATE audit_event SET actor = 'nobody' WHERE number = 1"))
    with pytest.raises(VerificationError):
        governance(filled, now())
