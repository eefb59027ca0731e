"""Who may do what, and what the registry asks for.

While no actor is registered, everyone may do everything: a registry of one person needs no set-up.
The first actor must be an admin; from then on only active actors with the right role may act.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.errors import ConflictError, InputError, NotFoundError, PolicyError, did_you_mean
from concepts.words import ROLES
from registry.store.models import Actor, PolicyRow

if TYPE_CHECKING:
    from registry.registry import Registry

MAX_NAME = 128


@dataclass(frozen=True)
class ActorInfo:
    """A person or program that acts, and in which roles."""

    name: str
    roles: tuple[str, ...]
    active: bool
    created_at: str
    created_by: str


@dataclass(frozen=True)
class Policy:
    """What the registry asks for.

    Attributes:
        approvals: Approvals that a version needs; 0 for a registry of one person.
        self_approval: Whether an author's own approval counts.
        signatures: Signatures of listed keys that a release needs before a channel points to it.
        max_shrink: Share of the enforced concepts that a release may lose without being asked
            for explicitly, 0 to 1.
    """

    approvals: int = 0
    self_approval: bool = True
    signatures: int = 0
    max_shrink: float = 0.0

    def __post_init__(self) -> None:
        if self.approvals < 0 or self.signatures < 0:
            raise InputError("Approvals and signatures must be 0 or more.")
        if not 0.0 <= self.max_shrink <= 1.0:
            raise InputError(f"The share max_shrink must lie in 0..1, not {self.max_shrink}.")


def require(opened: Session, name: str, role: str) -> None:
    """Check that an actor may act in a role.

    Raises:
        PolicyError: Says who, which role, and what to do.
    """
    if opened.scalars(select(Actor).limit(1)).first() is None:
        return
    row = opened.scalars(select(Actor).filter_by(name=name)).first()
    if row is None or not row.active:
        why = "is not an actor of this registry" if row is None else "is no longer active"
        raise PolicyError(f"'{name}' {why}. An admin can change that: `uvr-registry actor set`.")
    if role not in row.roles.split():
        raise PolicyError(
            f"'{name}' may act as {row.roles.replace(' ', ', ') or 'nothing'}; this needs the role "
            f"{role}. An admin can give it: `uvr-registry actor set {name} --role {role}`."
        )


def policy_row(opened: Session) -> PolicyRow:
    """Return the registry's one policy row."""
    return opened.scalars(select(PolicyRow)).one()


class Actors:
    """Actors and policy of a registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def list(self) -> list[ActorInfo]:
        """Return all actors, by name."""
        with self._registry.read() as opened:
            found = [_info(row) for row in opened.scalars(select(Actor)).all()]
        return sorted(found, key=lambda item: item.name)

    def set(
        self,
        name: str,
        *,
        actor: str,
        roles: Iterable[str] | None = None,
        active: bool | None = None,
    ) -> ActorInfo:
        """Add an actor, or change one's roles or whether it is active.

        Raises:
            NotFoundError: An unknown role.
            ConflictError: Nothing would change.
            PolicyError: No active admin would be left, or ``actor`` is not an admin.
        """
        with self._registry.work(actor, "admin") as unit:
            opened = unit.session
            row = opened.scalars(select(Actor).filter_by(name=name)).first()
            before = None if row is None else (row.roles, row.active)
            if row is None:
                row = Actor(name=_name(name), roles="", active=True)
                row.created_at, row.created_by = unit.at, actor
                opened.add(row)
            if roles is not None:
                row.roles = " ".join(_roles(roles))
            if active is not None:
                row.active = active
            if (row.roles, row.active) == before:
                raise ConflictError(f"Actor '{name}' is already like that.")
            opened.flush()
            _require_admin(opened)
            unit.record("actor.set", name, roles=row.roles.split(), active=row.active)
            return _info(row)

    def policy(self) -> Policy:
        """Return what the registry asks for."""
        with self._registry.read() as opened:
            return _policy(policy_row(opened))

    def set_policy(self, *, actor: str, **changes: Any) -> Policy:
        """Change fields of the policy; ValueError for a value out of range."""
        with self._registry.work(actor, "admin") as unit:
            row = policy_row(unit.session)
            before = _policy(row)
            after = replace(before, **changes)
            if after == before:
                raise ConflictError("The policy is already like that.")
            for name, value in asdict(after).items():
                setattr(row, name, value)
            unit.record("policy.set", "policy", **asdict(after))
            return after


def _policy(row: PolicyRow) -> Policy:
    return Policy(row.approvals, row.self_approval, row.signatures, row.max_shrink)


def _info(row: Actor) -> ActorInfo:
    return ActorInfo(row.name, tuple(row.roles.split()), row.active, row.created_at, row.created_by)


def _name(name: str) -> str:
    if not name.strip() or len(name) > MAX_NAME:
        raise InputError(f"An actor's name has 1 to {MAX_NAME} characters, not {len(name)}.")
    return name


def _roles(roles: Iterable[str]) -> list[str]:
    chosen = sorted(set(roles))
    for role in chosen:
        if role not in ROLES:
            raise NotFoundError(
                f"No role '{role}'.{did_you_mean(role, ROLES)} Roles: {', '.join(ROLES)}."
            )
    return chosen


def _require_admin(opened: Session) -> None:
    rows = opened.scalars(select(Actor)).all()
    if not any(row.active and "admin" in row.roles.split() for row in rows):
        raise PolicyError("A registry with actors needs an active admin: give that role first.")
