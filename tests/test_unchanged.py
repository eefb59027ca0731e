"""What other hosts hold and check stays byte for byte: bundles, digests, envelopes, the schema.

`tests/data/unchanged` was written by release 0.2.0, but for its events, which tell more since. Only
a new file format, a new migration or an event that tells more is a reason to write it anew, with
``UVR_TEST_STORE=1``.
"""

import json
import os
import re
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text

from concepts.anchors import AnchorSet, AnchorSpace
from concepts.bundle import read_bundle, write_bundle
from concepts.definition import ConceptDefinition, load_shipped, shipped_definitions
from concepts.digest import sha256
from concepts.scorer import Scorer
from concepts.signing.ed25519 import PrivateKey
from concepts.signing.keys import KeyList
from registry.operations.backup import backup
from registry.operations.transfer import export_concept
from registry.registry import Registry
from registry.store.db import transaction

STORED = Path(__file__).with_name("data") / "unchanged"
ANN, BOB = (PrivateKey(Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32)) for n in (1, 2))
SPACES = {
    "t2i": AnchorSpace("testbed", "r1", "t2i", ("blocks.0",), 6, 0.95),
    "edit": AnchorSpace("testbed", "r1", "edit", ("blocks.0", "blocks.1"), 8, 0.5),
}
FIRST_KEYS = KeyList(1, 1, (ANN.public,))
REGISTRY = "0123456789abcdef" * 2


class Stopped(datetime):
    """A clock that stands still."""

    @classmethod
    def now(cls, tz=None):
        return cls(2026, 11, 24, 10, 0, 0, 123456, tzinfo=tz)


def numbers(*shape, seed):
    """Return numbers that float16 holds exactly, and that no generator has to give again."""
    count = int(np.prod(shape))
    return ((np.arange(count) * (37 + 2 * seed) % 101 - 50) / 64).reshape(shape)


def define(slug, **changes):
    parts = {
        "name": slug.title(), "category": "object", "description": f"A {slug}: Grüße, 銃 𐍈.",
        "prompts": (f"a {slug}", f"a red {slug} on the left"), "near_misses": (f"a toy {slug}",),
    }  # fmt: skip
    return ConceptDefinition(slug=slug, **{**parts, **changes})


def collect(task, seed):
    space = SPACES[task]
    anchors = AnchorSet(
        space=space,
        anchors=numbers(7, space.dim, seed=seed),
        anchor_images=np.arange(7) // 2,
        counter_anchors=numbers(5, space.dim, seed=seed + 1),
        counter_images=np.arange(5),
        provenance={"method": "test", "seed": seed, "share": 0.1},
    )
    weights, offset = numbers(3, space.dim, seed=seed + 2), numbers(3, seed=seed + 3)
    return anchors, Scorer("whitened", weights, offset, 2.125, 1.1, {"seed": seed})


def fill(registry):
    """Do a bit of everything that leaves digests or signatures; return a signed checkpoint."""
    registry.team.set_policy(actor="ann", approvals=1)
    for name, key in (("ann", ANN), ("bob", BOB)):
        registry.keys.add(name, key.public, actor="ann")
    registry.keys.rotate(actor="ann", signers=[ANN], add=["ann"])
    add(registry, "bomb", collect("t2i", 1), collect("edit", 2))
    add(registry, "pistol", collect("t2i", 3))
    registry.releases.add("policy", actor="ann", keys=[ANN])
    registry.keys.rotate(actor="ann", signers=[ANN, BOB], add=["bob"], threshold=2)
    registry.versions.revoke("pistol", 1, actor="ann", reason="too much")
    add(registry, "knife", collect("t2i", 5))
    registry.releases.add(
        "policy", ["bomb", "knife"], actor="ann", drop=["pistol"], keys=[ANN, BOB],
        modes={"knife": "log"}, thresholds={"bomb": {"t2i": 2.5}},
        disabled={"bomb": "2027-01-01"}, expires="30d", allow_shrink=True, enforce_nothing=True,
        note="second",
    )  # fmt: skip
    registry.channels.move("prod", "policy", actor="ann")
    return registry.audit.checkpoint(actor="ann", key=ANN)


def add(registry, slug, *collections):
    registry.concepts.add(define(slug), actor="ann")
    registry.versions.add(slug, collections, actor="ann")
    registry.versions.submit(slug, actor="ann")
    registry.versions.approve(slug, actor="ann")


@pytest.fixture
def registry(engine, tmp_path, monkeypatch):
    """An empty registry whose clock and id are fixed."""
    monkeypatch.setattr("concepts.instant.datetime", Stopped)
    # The release of 0.2.0 has a threshold that no anchor reaches, which is refused since.
    monkeypatch.setattr("registry.releases.release.check_reachable", lambda *_: None)
    monkeypatch.setenv("UVR_ACCEPT_CLOCK", "1")  # The PostgreSQL server's clock goes on.
    url = engine.url.render_as_string(hide_password=False)
    made = Registry.create(tmp_path / "home", url)
    with transaction(engine, write=True) as connection:
        connection.execute(text(f"UPDATE policy SET registry_id = '{REGISTRY}'"))
    (made.home / "blobs" / "registry").write_text(REGISTRY)
    return made


def same(name, made):
    """Compare with what is stored, as a whole."""
    file = STORED / name
    if os.environ.get("UVR_TEST_STORE") == "1":
        file.write_bytes(made)
    return file.read_bytes() == made


def as_json(value):
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def test_bundles_are_the_same_bytes(registry):
    fill(registry)
    for sequence in (1, 2):
        file = f"policy-{sequence}.uvrb"
        assert same(file, write_bundle(registry.releases.bundle("policy", sequence)))
        assert read_bundle(STORED / file, FIRST_KEYS).sequence == sequence


def test_digests_and_files_are_the_same(registry, tmp_path):
    checkpoint = fill(registry)
    backup(registry.workspace, tmp_path / "backup")
    for slug in ("bomb", "pistol"):
        export_concept(registry.workspace, slug, tmp_path / slug)
    with transaction(registry.workspace.engine) as connection:
        key_lists = [*connection.scalars(text("SELECT envelope FROM key_list ORDER BY version"))]
    concepts = [registry.concepts.get(info.slug) for info in registry.concepts.list()]
    made = {
        "definitions": {c.slug: define(c.slug).digest for c in concepts},
        "shipped definitions": {s: load_shipped(s).digest for s in sorted(shipped_definitions())},
        "spaces": {task: space.digest for task, space in SPACES.items()},
        "anchor sets": {task: collect(task, 1)[0].digest for task in SPACES},
        "anchor set bytes": {
            f"{task} {dtype}": sha256(collect(task, 1)[0].to_bytes(dtype))
            for task in SPACES
            for dtype in ("float16", "float32")
        },
        "scorers": {task: collect(task, 1)[1].digest for task in SPACES},
        "scorer payloads": {task: collect(task, 1)[1].payload_digest for task in SPACES},
        "versions": {
            f"{c.slug}@{v.number}": v.content_digest for c in concepts for v in c.versions
        },
        "locks": {f"policy#{r.sequence}": r.lock_digest for r in registry.releases.list("policy")},
        "bundles": {
            f"policy#{r.sequence}": r.bundle_digest for r in registry.releases.list("policy")
        },
        "key lists": [sha256(item.encode()) for item in key_lists],
        "key list": registry.keys.current().digest,
        "blobs": sorted(registry.workspace.store.digests()),
        "events": [event.digest for event in registry.audit.events()],
        "checkpoint": json.loads(checkpoint),
        "exports": {slug: sha256((tmp_path / slug).read_bytes()) for slug in ("bomb", "pistol")},
        "backup": sha256((tmp_path / "backup").read_bytes()),
    }
    assert same("digests.json", as_json(made))


# Each line of the schema, in an order that no server chooses; PostgreSQL's without its schema.
SCHEMA = {
    "sqlite": ["SELECT type || ' ' || name, sql FROM sqlite_master WHERE sql IS NOT NULL"],
    "postgresql": [
        """SELECT table_name || '.' || column_name, concat_ws(' ', ordinal_position, data_type,
        character_maximum_length, is_nullable, column_default)
        FROM information_schema.columns WHERE table_schema = current_schema()""",
        """SELECT conrelid::regclass::text || ' ' || conname, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = current_schema()::regnamespace""",
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()",
        """SELECT tgrelid::regclass::text || ' ' || tgname, pg_get_triggerdef(oid) FROM pg_trigger
        WHERE NOT tgisinternal AND tgrelid::regclass::text NOT LIKE '%.%'""",
        """SELECT proname, concat_ws(' ', prosrc, proconfig) FROM pg_proc
        WHERE pronamespace = current_schema()::regnamespace""",
    ],
}


def in_order(what):
    """Sort a statement's constraints: Alembic copies a table's in the order of a set."""
    start, *constraints = re.split(r", (?=CONSTRAINT )", " ".join(what.split()))
    if constraints:
        constraints[-1] = constraints[-1].removesuffix(" )")
    return ", ".join([start, *sorted(constraints)])


def test_the_schema_is_the_same(registry):
    dialect = registry.workspace.engine.dialect.name
    with transaction(registry.workspace.engine) as connection:
        rows = [row for query in SCHEMA[dialect] for row in connection.execute(text(query))]
        if dialect == "postgresql":
            own = connection.scalar(text("SELECT current_schema()"))
            rows = [(name, what.replace(f"{own}.", "")) for name, what in rows]
    lines = sorted(f"{name}: {in_order(what)}\n" for name, what in rows)
    assert same(f"{dialect}.txt", "".join(lines).encode())
