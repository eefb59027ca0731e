import pytest

from concepts.digest import sha256
from concepts.errors import NotFoundError, PolicyError
from registry.versions.exemplars import Exemplar

FIRST = Exemplar(sha256(b"one"), "archive://one", "licence", "2030-01-01T00:00:00.000000Z")
SECOND = Exemplar(sha256(b"two"), "archive://two", "consent")


@pytest.fixture
def filled(registry, define, collect):
    for slug, exemplars in (("bomb", [FIRST]), ("pistol", [FIRST, SECOND])):
        registry.concepts.add(define(slug), actor="ann")
        made = collect(len(slug)), collect(len(slug), "edit")
        registry.versions.add(slug, made, actor="ann", exemplars=exemplars)
    return registry


def test_exemplars_lie_beside_each_anchor_set(filled, collect):
    found = filled.exemplars.list("pistol")
    assert [(item.ref, item.versions, item.created_by) for item in found] == [
        (FIRST, ("pistol@1",), "ann"),
        (SECOND, ("pistol@1",), "ann"),
        (FIRST, ("pistol@1",), "ann"),
        (SECOND, ("pistol@1",), "ann"),
    ]
    assert [item.anchor_set for item in found] == [
        collect(6, task)[0].digest for task in ("t2i", "t2i", "edit", "edit")
    ]
    assert len(filled.exemplars.list()) == 6
    with pytest.raises(NotFoundError, match="Did you mean 'bomb'"):
        filled.exemplars.list("bom")


def test_anchors_that_are_carried_over_keep_their_exemplars(filled, collect):
    filled.versions.add("pistol", [collect(8)], actor="ann", exemplars=[SECOND])
    found = filled.exemplars.list("pistol")
    assert [item.versions for item in found] == [
        ("pistol@1",), ("pistol@1",), ("pistol@1", "pistol@2"), ("pistol@1", "pistol@2"),
        ("pistol@2",),
    ]  # fmt: skip


def test_an_exemplar_named_twice_is_kept_once(filled, collect):
    filled.versions.add("pistol", [collect(8)], actor="ann", exemplars=[SECOND, SECOND])
    assert len(filled.exemplars.list("pistol")) == 5


def test_what_is_due_is_listed(filled):
    assert filled.exemplars.list(due="2029-12-31T23:59:59.999999Z") == []
    due = filled.exemplars.list(due="2030-01-01T00:00:00.000000Z")
    assert [item.ref for item in due] == [FIRST] * 4
    assert len(filled.exemplars.list("bomb", due="2031-01-01T00:00:00.000000Z")) == 2


def test_forgetting_leaves_every_digest_and_no_trace(filled, collect):
    bundle = filled.releases.add("default", actor="ann")
    ids = [item.id for item in filled.exemplars.list() if item.ref == FIRST]
    before = [filled.concepts.get(slug).versions for slug in ("bomb", "pistol")]
    assert filled.exemplars.forget(FIRST.sha256, actor="ann", reason="withdrawn") == tuple(ids)
    assert [item.ref for item in filled.exemplars.list()] == [SECOND, SECOND]
    assert [filled.concepts.get(slug).versions for slug in ("bomb", "pistol")] == before
    assert filled.releases.bundle("default").digest == bundle.bundle_digest
    assert filled.versions.anchor_set("pistol", collect()[0].space).digest == collect(6)[0].digest
    event = filled.audit.events()[-1]
    assert (event.action, event.subject) == ("source.forget", "sources")
    assert event.details == {"ids": ids, "reason": "withdrawn"}
    assert filled.audit.verify().events == event.number


def test_the_trail_never_holds_hash_or_origin(filled):
    filled.exemplars.forget(FIRST.sha256, actor="ann", reason="withdrawn")
    text = "\n".join(filled.audit.export())
    for exemplar in (FIRST, SECOND):
        assert exemplar.sha256 not in text
        assert exemplar.origin not in text


# PostgreSQL overwrites when it vacuums.
@pytest.mark.parametrize("registry", ["sqlite"], indirect=True)
def test_what_is_forgotten_is_overwritten_in_the_file(filled):
    file = filled.home / "registry.db"
    assert FIRST.origin.encode() in file.read_bytes()
    filled.exemplars.forget(FIRST.sha256, actor="ann", reason="withdrawn")
    left = b"".join(path.read_bytes() for path in filled.home.glob("registry.db*"))
    assert FIRST.sha256.encode() not in left
    assert FIRST.origin.encode() not in left
    assert SECOND.origin.encode() in left


def test_forgetting_needs_a_reason_and_something_to_forget(filled):
    with pytest.raises(NotFoundError, match="No exemplar has the hash"):
        filled.exemplars.forget("0" * 64, actor="ann", reason="why")
    with pytest.raises(PolicyError, match="needs a reason"):
        filled.exemplars.forget(FIRST.sha256, actor="ann", reason=" ")
    for told in (FIRST.sha256, FIRST.sha256.upper(), FIRST.origin, FIRST.origin.title()):
        with pytest.raises(PolicyError, match="must name neither hash nor origin"):
            filled.exemplars.forget(FIRST.sha256, actor="ann", reason=f"{told} is withdrawn")
    filled.team.set("ann", actor="ann", roles=["admin"])
    filled.team.set("bob", actor="ann", roles=["curator"])
    with pytest.raises(PolicyError, match="this needs the role admin"):
        filled.exemplars.forget(FIRST.sha256, actor="bob", reason="why")
    assert len(filled.exemplars.list()) == 6


@pytest.mark.parametrize(
    "change",
    [{"sha256": "A" * 64}, {"origin": " "}, {"legal_basis": ""}, {"retain_until": "2030-01-01"}],
)
def test_an_exemplar_is_checked(change):
    parts = {"sha256": FIRST.sha256, "origin": "x", "legal_basis": "y", **change}
    with pytest.raises(ValueError, match=next(iter(change)).replace("_", ".")):
        Exemplar(**parts)
