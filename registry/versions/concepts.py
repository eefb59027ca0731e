"""The concepts of a registry: what is banned, and the definition that a next version takes."""

from __future__ import annotations

import builtins

from sqlalchemy import select

from concepts.definition import ConceptDefinition
from registry.answers import ConceptDetail, ConceptInfo, ConceptStanding
from registry.change.workspace import Workspace
from registry.store.models import AnchorSpaceRow
from registry.versions import adding, reading
from registry.versions.live import standings


class Concepts:
    """The concepts of a registry."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def add(
        self, definition: ConceptDefinition, *, actor: str, expect_digest: str | None = None
    ) -> ConceptInfo:
        """Add a concept, or give an existing one the definition for its next version.

        Args:
            definition: The definition.
            actor: Who does it.
            expect_digest: Digest that the current definition must have.

        Raises:
            ContentError: If it names minors where it must not; see ``concepts.content_rules``.
            ConflictError: If it exists with another category or with this very definition, or
                the current definition is not the one expected.
        """
        with self._workspace.work(actor, "curator") as unit:
            adding.add_concept(unit, definition, expect_digest)
            concepts = reading.list_concepts(unit.session)
            return next(info for info in concepts if info.slug == definition.slug)

    def list(self) -> builtins.list[ConceptInfo]:
        """Return all concepts, sorted by slug."""
        with self._workspace.read() as session:
            return reading.list_concepts(session)

    def standings(self) -> builtins.list[ConceptStanding]:
        """Return all concepts, sorted by slug, with the newest version's state and what is live."""
        with self._workspace.read() as session:
            return standings(session)

    def get(self, slug: str) -> ConceptDetail:
        """Return a concept and its versions; NotFoundError names the closest slug."""
        with self._workspace.read() as session:
            return reading.concept_detail(session, reading.find_concept(session, slug))

    def models(self) -> builtins.list[str]:
        """Return the names of the models that anchors are of, sorted."""
        with self._workspace.read() as session:
            return sorted(session.scalars(select(AnchorSpaceRow.model).distinct()))
