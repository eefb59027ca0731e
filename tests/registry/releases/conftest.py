"""What the tests of releases share: concepts with drafts, and a clock that is moved."""

import pytest

from concepts.instant import parse_instant
from registry.change import clock


@pytest.fixture
def fill(registry, define, collect):
    """Give a registry concepts with one draft each."""

    def make(*slugs):
        for seed, slug in enumerate(slugs):
            registry.concepts.add(define(slug), actor="ann")
            registry.versions.add(slug, [collect(seed)], actor="ann")
        return registry

    return make


@pytest.fixture
def travel(monkeypatch):
    """Move the registry's clock."""

    def move(span):
        instant = parse_instant(span)
        monkeypatch.setenv(clock.ACCEPT, "1")
        monkeypatch.setattr(clock, "now", lambda: instant)
        return instant

    return move
