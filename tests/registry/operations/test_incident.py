"""What the registry knows of a concept that was found in a picture."""

from dataclasses import replace

import numpy as np
import pytest

from registry.operations import Caught, explain, incident
from registry.operations.incident import LiveThen
from registry.releases.assemble import read_bundle_of


@pytest.fixture
def released(registry, define, collect):
    """Two concepts whose anchors are the same, released by ann, and live in prod since bob."""
    for slug in ("knife", "pistol"):
        registry.concepts.add(define(slug), actor="ann")
        anchors, scorer = collect(1)
        about = {"prompts": [f"a {slug}", f"two {slug}s"], "seeds_per_prompt": 3}
        anchors = replace(anchors, provenance=about)
        low = replace(scorer, seed_threshold=-100.0, grow_threshold=-100.0)
        registry.versions.add(slug, [(anchors, low)], actor="ann")
        registry.versions.submit(slug, actor="ann")
    registry.releases.add("policy", actor="ann", modes={"knife": "shadow"})
    registry.channels.move("prod", "policy", actor="bob")
    return registry


def caught(registry, **changes) -> Caught:
    (variant,) = registry.releases.bundle("policy", 1).variants
    feature = registry.versions.anchor_set("pistol", variant.space).anchors[4]
    (release,) = registry.releases.list("policy")[:1]
    since = registry.channels.history("prod")[0].at
    made = Caught("pistol", 1, "enforce", 3.5, 2.0, release.bundle_digest, since,
                  variant.space.digest, feature.astype(np.float16))  # fmt: skip
    return replace(made, **changes)


def test_it_names_release_version_channels_examples_and_what_else_matches(released):
    item = caught(released)
    (found,) = explain(released.workspace, [item], count=2)
    assert (found.release.bundle, found.release.sequence) == ("policy", 1)
    assert (found.member.version, found.member.approval) == (1, "policy")
    assert found.then == (LiveThen("prod", item.at, "bob"),)
    assert [(place.channel, place.version) for place in found.now] == [("prod", 1)]
    near = found.nearest[0]
    assert (near.anchor, near.picture, near.prompt) == (4, 4, "two pistols")
    assert near.score == pytest.approx(1, abs=1e-3)
    assert [(other.slug, other.mode) for other in found.also] == [("knife", "shadow")]
    assert "feature" not in found.to_dict()["caught"]


def test_what_was_live_then_is_told_apart_from_what_is_live_now(released):
    before = caught(released, at="2020-01-01T00:00:00.000000Z")
    now = caught(released)
    released.releases.add("policy", actor="ann", drop=["pistol"], enforce_nothing=True)
    released.channels.move("prod", "policy", actor="cem")
    early, found = explain(released.workspace, [before, now])
    assert early.then == ()
    assert [item.channel for item in found.then] == ["prod"]
    assert found.now == ()


def test_a_bundle_is_put_together_once_however_much_was_found(released, monkeypatch):
    read = []

    def reading(session, store, row, release):
        read.append(release.bundle_digest)
        return read_bundle_of(session, store, row, release)

    monkeypatch.setattr(incident, "read_bundle_of", reading)
    found = explain(released.workspace, [caught(released) for _ in range(3)])
    assert [len(item.also) for item in found] == [1, 1, 1]
    assert read == [caught(released).bundle_digest]


def test_what_this_registry_does_not_know_is_left_out(released):
    unknown = caught(released, bundle_digest="0" * 64)
    judged = caught(released, slug="bare-feet", version=None, feature=None)
    other = caught(released, version=9)
    first, second, third = explain(released.workspace, [unknown, judged, other])
    assert (first.release, first.member, first.also) == (None, None, None)
    assert first.nearest
    assert (second.member, second.now, second.nearest, second.also) == (None, (), (), None)
    assert third.nearest == ()
