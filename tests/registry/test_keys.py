import pytest
from sqlalchemy import text

from concepts.bundle import read_bundle, write_bundle
from concepts.errors import (
    ConflictError,
    InputError,
    NotFoundError,
    PolicyError,
    SignatureError,
    VerificationError,
)
from concepts.signing.keys import KeyList, PrivateKey, read_key_list, sign_key_list
from registry import Registry
from registry.keys.lists import key_chain
from registry.operations import diagnose
from registry.store.db import transaction
from tests.registry.conftest import plain


def key_lists(registry):
    """Every signed key list, oldest first."""
    with registry.workspace.read() as session:
        return [*key_chain(session)]


@pytest.fixture
def pairs(registry):
    """Three key pairs by name, whose public halves the registry knows."""
    made = {name: PrivateKey.generate() for name in ("one", "three", "two")}
    for name, key in made.items():
        registry.keys.add(name, key.public, actor="ann")
    return made


@pytest.fixture
def release(registry, define, collect):
    """Release one concept, signed by some keys."""

    def make(*keys, **arguments):
        if not registry.concepts.list():
            registry.concepts.add(define(), actor="ann")
            registry.versions.add("pistol", [collect()], actor="ann")
        return registry.releases.add("policy", actor="bob", keys=keys, **arguments)

    return make


def exported(registry, sequence=None):
    return write_bundle(registry.releases.bundle("policy", sequence))


def ids(*keys):
    return tuple(sorted(key.public.key_id for key in keys))


def test_keys_are_added_by_name_and_listed(registry, pairs):
    assert [(key.name, key.key_id, key.state) for key in registry.keys.list()] == [
        (name, pairs[name].public.key_id, "unlisted") for name in ("one", "three", "two")
    ]
    assert registry.keys.list()[0].pem == pairs["one"].public.pem()
    assert (registry.keys.current(), key_lists(registry)) == (None, [])
    event = registry.audit.events()[0]
    assert (event.action, event.subject) == ("key.add", "one")
    assert event.details == {"key_id": pairs["one"].public.key_id}


def test_a_name_or_key_is_added_once(registry, pairs):
    with pytest.raises(ConflictError, match=r"Key 'one' .* exists"):
        registry.keys.add("one", PrivateKey.generate().public, actor="ann")
    with pytest.raises(ConflictError, match=r"Key 'two' .* exists"):
        registry.keys.add("four", pairs["two"].public, actor="ann")
    with pytest.raises(InputError, match="lower-case words"):
        registry.keys.add("My Key", PrivateKey.generate().public, actor="ann")


def test_the_first_list_is_signed_by_its_own_keys(registry, pairs):
    with pytest.raises(PolicyError, match="Key list 1 must be signed by 1 of its own keys"):
        registry.keys.rotate(actor="ann", signers=[], add=["one"])
    made = registry.keys.rotate(actor="ann", signers=[pairs["one"]], add=["one"])
    assert made == registry.keys.current() == KeyList(1, 1, (pairs["one"].public,))
    (envelope,) = key_lists(registry)
    assert (read_key_list(envelope), made.require(envelope)) == (made, [*ids(pairs["one"])])
    states = {key.name: key.state for key in registry.keys.list()}
    assert states == {"one": "listed", "three": "unlisted", "two": "unlisted"}
    event = registry.audit.events()[-1]
    assert (event.action, event.subject) == ("key.rotate", "keys@1")
    assert event.details == {
        "digest": made.digest, "threshold": 1, "signed_by": [*ids(pairs["one"])],
        "add": ["one"], "remove": [], "revoke": [],
    }  # fmt: skip


def test_a_later_list_is_signed_by_enough_of_the_list_before_and_of_its_own(registry, pairs):
    one, two, three = pairs["one"], pairs["two"], pairs["three"]
    first = registry.keys.rotate(actor="ann", signers=[one, two], add=["one", "two"], threshold=2)
    for signers in ([one], [one, three], [two, three]):
        with pytest.raises(PolicyError, match=r"signed by 2 of the keys of list 1 and by 2 of its"):
            registry.keys.rotate(actor="ann", signers=signers, add=["three"], remove=["one"])
    with pytest.raises(PolicyError, match="in neither key list"):
        registry.keys.rotate(actor="ann", signers=[one, two, PrivateKey.generate()], add=["three"])
    assert registry.keys.current() == first
    new = registry.keys.rotate(
        actor="ann", signers=[one, two, three], add=["three"], remove=["one"]
    )
    assert (new.version, new.threshold, new.revoked) == (2, 2, ())
    assert ids(two, three) == tuple(key.key_id for key in new.keys)
    assert first.follow(key_lists(registry)) == new == registry.keys.current()


def test_a_revoked_key_never_comes_back(registry, pairs):
    one, two = pairs["one"], pairs["two"]
    registry.keys.rotate(actor="ann", signers=[one], add=["one", "two"])
    new = registry.keys.rotate(actor="ann", signers=[two], revoke=["one"])
    assert (new.version, new.revoked) == (2, ids(one))
    assert {key.name: key.state for key in registry.keys.list()}["one"] == "revoked"
    with pytest.raises(PolicyError, match="both listed and revoked"):
        registry.keys.rotate(actor="ann", signers=[two], add=["one"])
    with pytest.raises(ConflictError, match="'one' is revoked already"):
        registry.keys.rotate(actor="ann", signers=[two], revoke=["one"])
    third = registry.keys.rotate(actor="ann", signers=[two], add=["three"])
    assert third.revoked == ids(one)


def test_rotations_that_cannot_be_are_refused(registry, pairs):
    one = pairs["one"]
    registry.keys.rotate(actor="ann", signers=[one], add=["one"])
    for changes, error, message in (
        ({}, ConflictError, "already has exactly these keys"),
        ({"add": ["one"]}, ConflictError, "'one' is listed already"),
        ({"remove": ["two"]}, ConflictError, "'two' is not listed"),
        ({"add": ["tow"]}, NotFoundError, "No key 'tow'. Did you mean 'two'"),
        ({"remove": ["one"]}, PolicyError, "only 0 are listed"),
        ({"threshold": 2}, PolicyError, "only 1 are listed"),
        ({"threshold": 0}, PolicyError, "from 1 to 64"),
    ):
        with pytest.raises(error, match=message):
            registry.keys.rotate(actor="ann", signers=[one], **changes)
    assert registry.keys.current().version == 1


def test_only_admins_touch_the_key_list(registry, pairs):
    registry.team.set("ann", actor="ann", roles=["admin"])
    registry.team.set("bob", actor="ann", roles=["publisher"])
    with pytest.raises(PolicyError, match="needs the role admin"):
        registry.keys.rotate(actor="bob", signers=[pairs["one"]], add=["one"])
    with pytest.raises(PolicyError, match="needs the role admin"):
        registry.keys.add("four", PrivateKey.generate().public, actor="bob")


def test_a_release_is_signed_when_it_is_made_or_later(registry, pairs, release):
    one, two = pairs["one"], pairs["two"]
    keys = registry.keys.rotate(actor="ann", signers=[one, two], add=["one", "two"], threshold=2)
    made = release(one)
    assert (made.signatures, made.key_list) == (ids(one), 1)
    with pytest.raises(SignatureError, match="Signed by 1 of the 2 trusted keys required"):
        read_bundle(exported(registry), keys)
    signed = registry.releases.sign("policy", actor="bob", keys=[two])
    assert (signed.signatures, signed.bundle_digest) == (ids(one, two), made.bundle_digest)
    assert read_bundle(exported(registry), keys).digest == made.bundle_digest
    event = registry.audit.events()[-1]
    assert (event.action, event.subject) == ("release.sign", "policy#1")
    assert event.details == {"bundle_digest": made.bundle_digest, "signed_by": [*ids(two)]}


def test_signatures_are_only_of_listed_keys_and_once_each(registry, pairs, release):
    with pytest.raises(PolicyError, match="There is no key list yet"):
        release(pairs["one"])
    assert registry.releases.list() == []
    registry.keys.rotate(actor="ann", signers=[pairs["one"]], add=["one", "two"])
    release(pairs["one"], pairs["one"])
    with pytest.raises(ConflictError, match="Key 'one' has signed policy@1 already"):
        registry.releases.sign("policy", actor="bob", keys=[pairs["one"]])
    with pytest.raises(PolicyError, match="Key 'three' is not in the key list"):
        registry.releases.sign("policy", actor="bob", keys=[pairs["three"]])
    registry.keys.rotate(actor="ann", signers=[pairs["one"]], revoke=["two"])
    with pytest.raises(PolicyError, match="Key 'two' is revoked"):
        registry.releases.sign("policy", 1, actor="bob", keys=[pairs["two"]])
    with pytest.raises(ValueError, match="one or more private keys"):
        registry.releases.sign("policy", actor="bob", keys=[])
    assert registry.releases.list()[0].signatures == ids(pairs["one"])


def test_a_host_that_trusts_the_first_list_follows_a_release_to_the_newest(
    registry, pairs, release
):
    one, two = pairs["one"], pairs["two"]
    first = registry.keys.rotate(actor="ann", signers=[one], add=["one"])
    old = release(one)
    before = exported(registry)
    registry.keys.rotate(actor="ann", signers=[one, two], add=["two"])
    newest = registry.keys.rotate(actor="ann", signers=[two], revoke=["one"])
    release(two)
    bundle = read_bundle(exported(registry), first)
    assert (len(bundle.key_lists), first.follow(bundle.key_lists)) == (3, newest)
    # The old release is as it was, and whoever knows of the revocation refuses it.
    assert (exported(registry, 1), registry.releases.list()[0]) == (before, plain(old))
    with pytest.raises(SignatureError, match="revoked"):
        read_bundle(before, newest)


def test_a_key_signs_only_releases_that_lead_engines_to_it(registry, pairs, release):
    one, two = pairs["one"], pairs["two"]
    first = registry.keys.rotate(actor="ann", signers=[one], add=["one"])
    release()
    newest = registry.keys.rotate(actor="ann", signers=[one, two], add=["two"])
    with pytest.raises(PolicyError, match=r"before key 'two' was listed.*Release again"):
        registry.releases.sign("policy", actor="bob", keys=[two])
    registry.releases.sign("policy", actor="bob", keys=[one])
    release(two)
    for sequence in (1, 2):  # Both are good for engines of either list.
        for keys in (first, newest):
            assert read_bundle(exported(registry, sequence), keys).sequence == sequence


def test_signatures_do_not_change_the_lock_or_the_digest(registry, pairs, release):
    registry.keys.rotate(actor="ann", signers=[pairs["one"]], add=["one"])
    made = release()
    before = exported(registry)
    registry.releases.sign("policy", actor="bob", keys=[pairs["one"]])
    assert exported(registry) != before
    assert read_bundle(exported(registry)).digest == made.bundle_digest
    assert exported(registry) == exported(registry, 1)


def test_a_key_list_that_another_program_changed_is_noticed(tmp_path):
    registry = Registry.create(tmp_path)
    key, other = PrivateKey.generate(), PrivateKey.generate()
    registry.keys.add("one", key.public, actor="ann")
    registry.keys.rotate(actor="ann", signers=[key], add=["one"])
    (envelope,) = key_lists(registry)
    forged = KeyList(1, 1, (other.public,)).to_bytes()
    changed = type(envelope)(envelope.payload_type, forged, envelope.signatures)
    with transaction(registry.workspace.engine, write=True) as connection:
        connection.execute(text("DROP TRIGGER uvr_key_list_update"))
        connection.execute(
            text("UPDATE key_list SET envelope = :text"), {"text": changed.to_bytes().decode()}
        )
    with pytest.raises(VerificationError, match="Signed by 0 of the 1"):
        registry.keys.current()


def test_a_stored_key_that_another_program_changed_is_noticed(tmp_path):
    registry = Registry.create(tmp_path)
    key, other = PrivateKey.generate(), PrivateKey.generate()
    registry.keys.add("one", key.public, actor="ann")
    with transaction(registry.workspace.engine, write=True) as connection:
        connection.execute(text("DROP TRIGGER uvr_signing_key_update"))
        connection.execute(text("UPDATE signing_key SET pem = :pem"), {"pem": other.public.pem()})
    with pytest.raises(VerificationError, match="'one' does not match its id"):
        registry.keys.rotate(actor="ann", signers=[other], add=["one"])


@pytest.mark.parametrize(
    ("number", "held", "why"),
    [
        (2, 0, "it holds list 1"),
        (9, 0, "it holds list 1"),
        (-3, 0, "it holds list 1"),
        (0, 0, "it holds list 1"),
        (4, 3, "list 2 comes next"),
        (2, None, "what it holds cannot be read: The envelope"),
    ],
)
def test_a_key_list_under_a_wrong_number_is_named_with_the_way_back(
    registry, pairs, release, number, held, why
):
    one, two, three = pairs["one"], pairs["two"], pairs["three"]
    registry.keys.rotate(actor="ann", signers=[one], add=["one"])
    release(one)
    before = exported(registry)
    lists = [key_lists(registry)[0].to_bytes(), *(_lists_after(one, two, three))]
    insert(registry, number, "{}" if held is None else lists[held].decode())
    for change in (
        lambda: release(one),
        lambda: registry.keys.rotate(actor="ann", signers=[one, two], add=["two"]),
        registry.keys.current,
    ):
        with pytest.raises(VerificationError, match=f"Row {number} .*{why}") as refused:
            change()
    if number > 1:
        assert exported(registry, 1) == before
    (told,) = (check for check in diagnose(registry.workspace).checks if check.name == "keys")
    named = [problem.split(" was ")[0] for problem in told.problems]
    assert named == [f"Row {number} of the table 'key_list'"]
    follow_the_message(registry, str(refused.value))
    made = registry.keys.rotate(actor="ann", signers=[one, two], add=["two"])
    assert (made.version, release(two).key_list) == (2, 2)


def _lists_after(*keys):
    """Key lists 2 to 4, each signed by the first key alone."""
    public = tuple(key.public for key in keys)
    for number in (2, 3, 4):
        yield sign_key_list(KeyList(number, 1, public), [keys[0]]).to_bytes()


def insert(registry, number, envelope):
    """Write a key list as another program would."""
    with transaction(registry.workspace.engine, write=True) as connection:
        connection.execute(
            text("INSERT INTO key_list VALUES (:number, :envelope, :at, 'eve')"),
            {"number": number, "envelope": envelope, "at": "2020-01-01T00:00:00.000000Z"},
        )


def follow_the_message(registry, message):
    """Run the SQL that an error names, then what `init` does."""
    workspace = registry.workspace
    for statement in message.split("`")[1].rstrip(";").split("; "):
        with transaction(workspace.engine, write=True) as connection:
            connection.execute(text(statement))
    Registry.create(workspace.home, workspace.engine.url.render_as_string(hide_password=False))
    assert diagnose(workspace).ok
