"""The versions of a registry's concepts: added, read, compared, and led through their life."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from concepts.anchors import AnchorSet, AnchorSpace
from concepts.definition import ConceptDefinition
from concepts.errors import NotFoundError
from concepts.evaluation import Evaluation
from concepts.scorer import Scorer
from registry.answers import VersionDetail, VersionInfo
from registry.versions import adding, reading
from registry.versions.copying import copy_version
from registry.versions.diff import VersionDiff, diff_versions
from registry.versions.editing import NO_THRESHOLDS, replace_scorers
from registry.versions.evaluations import add_evaluation, gate_missed
from registry.versions.exemplars import Exemplar
from registry.versions.lifecycle import find, record
from registry.versions.live import live_places
from registry.versions.quorum import authors_of
from registry.versions.review import Reviews


class Versions(Reviews):
    """The versions of a registry's concepts; ``Reviews`` leads them through their life."""

    def add(
        self,
        slug: str,
        collections: Sequence[tuple[AnchorSet, Scorer]],
        *,
        actor: str,
        definition_digest: str | None = None,
        exemplars: Sequence[Exemplar] = (),
    ) -> VersionInfo:
        """Add the next version of a concept, with its current definition, as a draft.

        Anchors that the latest version, revoked ones aside, has of other models and tasks are
        carried over.

        Args:
            slug: The concept.
            collections: Anchors and scorer, one pair for each anchor space.
            actor: Who does it.
            definition_digest: Digest of the definition that the anchors were collected with;
                None where they do not come from its texts.
            exemplars: The pictures that the anchors came from, by hash.

        Raises:
            NotFoundError: If there is no such concept.
            ConflictError: If a version with the same content exists, or the definition is not,
                or no longer, the one collected with.
            UVRError: If the disk is full.
        """
        adding.check_collections(collections)
        with self._workspace.work(actor, "curator") as unit:
            concept = reading.find_concept(unit.session, slug)
            added = adding.add_version(
                unit, concept, collections, definition_digest=definition_digest, exemplars=exemplars
            )
            return reading.version_info(unit.session, concept, added)

    def copy(
        self,
        slug: str,
        number: int | None = None,
        *,
        actor: str,
        definition: ConceptDefinition | None = None,
        thresholds: Mapping[str, tuple[float, float]] = NO_THRESHOLDS,
        reason: str = "",
        expect_digest: str | None = None,
    ) -> VersionInfo:
        """Add the next version of a concept as a draft: an approved one's content, but for a part.

        Two versions of a concept never have the same content, so something must change at once.

        Args:
            slug: The concept.
            number: The version to copy, by default the newest approved or deprecated one.
            actor: Who does it; the copied version's authors stay authors.
            definition: Takes the place of its definition, and of the concept's current one where
                that was the same.
            thresholds: Seed and grow threshold by the digest, or the task, of an anchor space.
            reason: Why, for the audit trail.
            expect_digest: The content digest that the copied version must have.

        Raises:
            NotFoundError: If there is no such version or space.
            ContentError: If the definition names minors where it must not.
            PolicyError: If it is neither approved nor deprecated, or no anchor reaches a threshold.
            ConflictError: If its content is not the expected one, or a version with the content
                of the copy exists.
        """
        with self._workspace.work(actor, "curator") as unit:
            states = ("approved", "deprecated")
            concept, source = find(unit.session, slug, number, states, expect_digest)
            copied = copy_version(
                unit, self._workspace.store, concept, source,
                definition=definition, thresholds=thresholds, reason=reason,
            )  # fmt: skip
            return reading.version_info(unit.session, concept, copied)

    def calibrate(
        self,
        slug: str,
        number: int | None = None,
        *,
        actor: str,
        scorers: Mapping[str, Scorer],
        expect_digest: str | None = None,
    ) -> VersionInfo:
        """Give a draft other scorers of the anchors that it has.

        Args:
            slug: The concept.
            number: The version, by default the newest draft.
            actor: A curator; becomes one of the version's authors.
            scorers: The new ones, by the digest of their anchor space.
            expect_digest: The content digest of the draft that they were fitted to.

        Raises:
            NotFoundError: If there is no such version.
            PolicyError: If it is no draft.
            ConflictError: If its content is not the expected one.
            SameContentError: If its content would not change, or exists as another version.
        """
        with self._workspace.work(actor, "curator") as unit:
            concept, version = find(unit.session, slug, number, ("draft",), expect_digest)
            before = version.content_digest
            told = replace_scorers(unit, concept, version, scorers)
            record(
                unit, "calibrate", concept, version, before=before, authors=authors_of(version),
                spaces=sorted(scorers), **told,
            )  # fmt: skip
            return reading.version_info(unit.session, concept, version)

    def evaluate(
        self,
        slug: str,
        number: int | None = None,
        *,
        actor: str,
        evaluation: Evaluation,
        expect_digest: str,
    ) -> VersionInfo:
        """Record what was measured of a version's content.

        Args:
            slug: The concept.
            number: The version, by default the newest that is not revoked.
            actor: A curator.
            evaluation: What was measured.
            expect_digest: The content digest that it was measured with.

        Raises:
            NotFoundError: If there is no such version.
            PolicyError: If it is revoked.
            ConflictError: If its content is another by now, or has this very evaluation already.
        """
        states = ("draft", "in_review", "approved", "deprecated")
        with self._workspace.work(actor, "curator") as unit:
            concept, version = find(unit.session, slug, number, states, expect_digest)
            row = add_evaluation(unit, concept, version, evaluation)
            record(
                unit, "evaluate", concept, version, evaluation=row.digest, suite=evaluation.suite,
                suite_digest=evaluation.suite_digest, method=evaluation.method,
                judge=evaluation.judge, report_digest=evaluation.report_digest,
            )  # fmt: skip
            return reading.version_info(unit.session, concept, version)

    def draft(
        self, slug: str, number: int | None = None, *, expect_digest: str | None = None
    ) -> VersionInfo:
        """Return a draft, the newest by default.

        Raises:
            NotFoundError, PolicyError, ConflictError: See ``calibrate``.
        """
        with self._workspace.read() as session:
            return reading.version_info(
                session, *find(session, slug, number, ("draft",), expect_digest)
            )

    def get(self, slug: str, number: int | None = None) -> VersionInfo:
        """Return a version, the newest by default; NotFoundError if there is none."""
        with self._workspace.read() as session:
            concept = reading.find_concept(session, slug)
            row = reading.find_version(session, concept, number)
            return reading.version_info(session, concept, row)

    def detail(self, slug: str, number: int | None = None) -> VersionDetail:
        """Return a version with its definition, the newest by default.

        Raises:
            NotFoundError: If the concept or the version does not exist.
        """
        with self._workspace.read() as session:
            concept = reading.find_concept(session, slug)
            row = reading.find_version(session, concept, number)
            others = reading.versions_of(session, concept)
            approved = [
                other.number
                for other in others
                if other.id != row.id and other.state in ("approved", "deprecated")
            ]
            return VersionDetail(
                version=reading.version_info(session, concept, row),
                definition=reading.read_definition(row.definition),
                live=tuple(live_places(session, concept).get(concept.id, ())),
                approved=max(approved, default=None),
                gate=gate_missed(session, concept, row),
            )

    def diff(self, slug: str, before: int, after: int) -> VersionDiff:
        """Compare two versions of a concept.

        Raises:
            NotFoundError: If the concept or a version does not exist.
            VerificationError: If stored anchors are damaged.
        """
        return diff_versions(self._workspace, slug, before, after)

    def anchor_set(
        self, slug: str, space: str | AnchorSpace, number: int | None = None
    ) -> AnchorSet:
        """Return the anchors of a version, the latest by default, in one space.

        Raises:
            NotFoundError: If the concept, the version or its anchors there do not exist.
            VerificationError: If the stored bytes are damaged.
        """
        with self._workspace.read() as session:
            entry = _stored(session, slug, space, number)
            return reading.read_anchor_set(self._workspace.store, entry.anchor_set)

    def provenance(
        self, slug: str, space: str | AnchorSpace, number: int | None = None
    ) -> dict[str, Any]:
        """Return how the anchors of a version, the latest by default, were collected in one space.

        Raises:
            NotFoundError, VerificationError: See ``anchor_set``.
        """
        with self._workspace.read() as session:
            entry = _stored(session, slug, space, number)
            return reading.read_provenance(self._workspace.store, entry.anchor_set)

    def scorer(self, slug: str, space: str | AnchorSpace, number: int | None = None) -> Scorer:
        """Return what scores a patch by a version, the latest by default, in one space.

        Raises:
            NotFoundError, VerificationError: See ``anchor_set``.
        """
        with self._workspace.read() as session:
            entry = _stored(session, slug, space, number)
            return reading.read_scorer(self._workspace.store, entry.row)


def _stored(
    session: Session, slug: str, space: str | AnchorSpace, number: int | None
) -> reading.StoredAnchors:
    digest = space.digest if isinstance(space, AnchorSpace) else space
    concept = reading.find_concept(session, slug)
    row = reading.find_version(session, concept, number)
    for entry in reading.stored_anchors(session, row):
        if entry.space.digest == digest:
            return entry
    raise NotFoundError(f"Version {row.number} of '{slug}' has no anchors in space {digest[:12]}.")
