"""The team: who may act in which roles, and the policy that all of them are held to.

The first actor must be an admin; see ``registry.change.policy`` for what the roles decide.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.errors import ConflictError, InputError, NotFoundError, PolicyError, did_you_mean
from concepts.printable import is_printable
from concepts.words import ROLES
from registry.change.policy import Policy, policy_row, read_policy, require_role, write_policy
from registry.change.workspace import Workspace
from registry.store.models import Actor

MAX_NAME = 128


@dataclass(frozen=True)
class ActorInfo:
    """A person or program that acts, and in which roles."""

    name: str
    roles: tuple[str, ...]
    active: bool
    created_at: str
    created_by: str


class Team:
    """The actors of a registry, and its policy."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def list(self) -> builtins.list[ActorInfo]:
        """Return all actors, by name."""
        with self._workspace.read() as session:
            actors = [_info(row) for row in session.scalars(select(Actor)).all()]
        return sorted(actors, key=lambda item: item.name)

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
            InputError: The name of a new actor is empty, too long, or cannot be told from another.
            NotFoundError: An unknown role.
            ConflictError: Nothing would change.
            PolicyError: No active admin would be left, or ``actor`` is not an admin.
        """
        with self._workspace.work(actor, "admin") as unit:
            session = unit.session
            row = session.scalars(select(Actor).filter_by(name=name)).first()
            before = None if row is None else (row.roles, row.active)
            if row is None:
                row = Actor(name=_name(name), roles="", active=True)
                row.created_at, row.created_by = unit.at, actor
                session.add(row)
            if roles is not None:
                row.roles = " ".join(_roles(roles))
            if active is not None:
                row.active = active
            if (row.roles, row.active) == before:
                raise ConflictError(
                    f"Actor '{name}' already has exactly these roles and this state."
                )
            session.flush()
            _require_admin(session)
            unit.record("actor.set", name, roles=row.roles.split(), active=row.active)
            return _info(row)

    def require(self, name: str, role: str) -> None:
        """Check that an actor may act in a role; PolicyError says why not, and what to do."""
        with self._workspace.read() as session:
            require_role(session, name, role)

    def policy(self) -> Policy:
        """Return what the registry asks for."""
        with self._workspace.read() as session:
            return read_policy(policy_row(session))

    def set_policy(self, *, actor: str, **changes: Any) -> Policy:
        """Change fields of the policy; ValueError for a value out of range."""
        with self._workspace.work(actor, "admin") as unit:
            row = policy_row(unit.session)
            before = read_policy(row)
            after = replace(before, **changes)
            if after == before:
                raise ConflictError("The policy already has exactly these values.")
            write_policy(row, after)
            unit.record("policy.set", "policy", **after.to_dict())
            return after


def _info(row: Actor) -> ActorInfo:
    return ActorInfo(row.name, tuple(row.roles.split()), row.active, row.created_at, row.created_by)


def _name(name: str) -> str:
    if not name.strip() or len(name) > MAX_NAME:
        raise InputError(f"An actor's name has 1 to {MAX_NAME} characters, not {len(name)}.")
    if name != name.strip() or not (name.isprintable() and is_printable(name)):
        raise InputError(
            f"An actor's name must not look like another one's: '{name}' begins or ends with a "
            "space, or holds a character that nobody sees. Leave it out."
        )
    return name


def _roles(roles: Iterable[str]) -> list[str]:
    chosen = sorted(set(roles))
    for role in chosen:
        if role not in ROLES:
            raise NotFoundError(
                f"No role '{role}'.{did_you_mean(role, ROLES)} Roles: {', '.join(ROLES)}."
            )
    return chosen


def _require_admin(session: Session) -> None:
    rows = session.scalars(select(Actor)).all()
    if not any(row.active and "admin" in row.roles.split() for row in rows):
        raise PolicyError("A registry with actors needs an active admin: give that role first.")
