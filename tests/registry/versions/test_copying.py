from dataclasses import replace

import pytest

from concepts.digest import sha256
from concepts.errors import ConflictError, NotFoundError, PolicyError
from registry.versions.exemplars import Exemplar


@pytest.fixture
def approved(registry, define, collect):
    """A registry with an approved version, by ann, of both tasks and with an exemplar."""
    registry.concepts.add(define(), actor="ann")
    collections = [collect(1), collect(2, "edit")]
    exemplar = Exemplar(sha256(b"picture"), "archive 12", "licence 7")
    registry.versions.add("pistol", collections, actor="ann", exemplars=[exemplar])
    registry.versions.submit("pistol", actor="ann")
    return registry


def test_a_copy_is_a_draft_with_the_anchors_and_exemplars_of_an_approved_version(approved):
    source = approved.versions.get("pistol")
    copied = approved.versions.copy("pistol", actor="bob", thresholds={"t2i": (2.5, 1.5)})
    moved = replace(source.spaces[0], seed_threshold=2.5, grow_threshold=1.5)
    assert copied == replace(
        source, number=2, state="draft", content_digest=copied.content_digest,
        created_at=copied.created_at, created_by="bob", authors=("ann", "bob"),
        spaces=(moved, source.spaces[1]),
    )  # fmt: skip
    assert approved.versions.get("pistol", 1) == source
    assert {item.versions for item in approved.exemplars.list()} == {("pistol@1", "pistol@2")}
    event = approved.audit.events()[-1]
    assert (event.action, event.subject, event.details) == (
        "version.add", "pistol@2",
        {
            "content_digest": copied.content_digest, "copied": 1,
            "thresholds": {"testbed t2i": {"before": [2.0, 1.0], "after": [2.5, 1.5]}},
        },
    )  # fmt: skip


def test_a_copy_goes_its_way_to_a_release(approved):
    approved.versions.copy("pistol", actor="bob", thresholds={"t2i": (2.5, 1.5)})
    approved.versions.submit("pistol", actor="bob")
    released = approved.releases.add("policy", actor="ann")
    (member,) = released.members
    assert member.version == 2
    variants = approved.releases.bundle("policy").variants
    assert {item.space.task: item.members[0].scorer.seed_threshold for item in variants} == {
        "t2i": 2.5, "edit": 2.0,
    }  # fmt: skip


def test_a_copy_with_another_definition_becomes_the_concepts_own(approved, define):
    changed = define(description="Another.")
    approved.versions.copy("pistol", actor="bob", definition=changed)
    assert approved.versions.detail("pistol", 2).definition == changed
    assert approved.versions.detail("pistol", 1).definition == define()
    assert approved.concepts.get("pistol").definition == changed


def test_a_copy_must_differ_from_every_version(approved):
    (t2i, _) = approved.versions.get("pistol").spaces
    same = {"t2i": (t2i.seed_threshold, t2i.grow_threshold)}
    with pytest.raises(ConflictError, match="Version 1 of 'pistol' already has exactly this"):
        approved.versions.copy("pistol", actor="bob", thresholds=same)
    with pytest.raises(NotFoundError, match="no anchors for 'video'"):
        approved.versions.copy("pistol", actor="bob", thresholds={"video": (2.5, 1.5)})
    with pytest.raises(ConflictError, match="changed meanwhile"):
        approved.versions.copy(
            "pistol", actor="bob", thresholds={"t2i": (2.5, 1.5)}, expect_digest="0" * 64
        )
    assert len(approved.concepts.get("pistol").versions) == 1


def test_what_is_revoked_or_a_draft_is_not_copied(approved, collect):
    thresholds = {"t2i": (2.5, 1.5)}
    approved.versions.add("pistol", [collect(3)], actor="ann")
    with pytest.raises(PolicyError, match="Version 2 of 'pistol' is draft, not approved"):
        approved.versions.copy("pistol", 2, actor="bob", thresholds=thresholds)
    approved.versions.revoke("pistol", 1, actor="ann", reason="wrong pictures")
    with pytest.raises(PolicyError, match=r"is revoked, .* `uvr-registry collect-anchors`"):
        approved.versions.copy("pistol", 1, actor="bob", thresholds=thresholds)


@pytest.mark.parametrize("change", ["copy", "edit"])
def test_a_threshold_by_hand_that_no_anchor_reaches_is_refused(approved, change):
    if change == "edit":
        approved.versions.copy("pistol", actor="ann", thresholds={"t2i": (1.5, 1.0)})
    before = approved.concepts.get("pistol")
    with pytest.raises(PolicyError) as refused:
        getattr(approved.versions, change)("pistol", actor="ann", thresholds={"t2i": (9999, 1.0)})
    number = {"copy": 1, "edit": 2}[change]
    assert str(refused.value) == (
        f"The threshold for testbed t2i would be 9999, and no anchor of version {number} reaches "
        "it: the highest scores 2.5482. It would find nothing. Choose a lower one."
    )
    assert approved.concepts.get("pistol") == before
