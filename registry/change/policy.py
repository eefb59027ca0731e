"""What the registry asks for, and whether an actor may act in a role.

While no actor is registered, everyone may do everything: a registry of one person needs no set-up.
From the first actor on only active actors with the right role may act.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.errors import InputError, PolicyError
from concepts.gate import Gate
from registry.store.models import Actor, PolicyRow


@dataclass(frozen=True)
class Policy:
    """What the registry asks for.

    Attributes:
        approvals: Approvals that a version needs; 0 for a registry of one person.
        self_approval: Whether an author's own approval counts.
        signatures: Signatures of listed keys that a release needs before a channel points to it.
        max_shrink: Share of the regulated concepts that a release may lose without being asked
            for explicitly, 0 to 1.
        gate: What an evaluation of a version must reach before it is approved; None for nothing.
    """

    approvals: int = 0
    self_approval: bool = True
    signatures: int = 0
    max_shrink: float = 0.0
    gate: Gate | None = None

    def __post_init__(self) -> None:
        if self.approvals < 0 or self.signatures < 0:
            raise InputError("Approvals and signatures must be 0 or more.")
        if not 0.0 <= self.max_shrink <= 1.0:
            raise InputError(f"The share max_shrink must lie in 0..1, not {self.max_shrink}.")

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {**vars(self), "gate": self.gate and self.gate.to_dict()}


def policy_row(session: Session) -> PolicyRow:
    """Return the registry's one policy row."""
    return session.scalars(select(PolicyRow)).one()


def read_policy(row: PolicyRow) -> Policy:
    """Return the policy that a row holds."""
    gate = None if row.gate is None else Gate.from_dict(json.loads(row.gate))
    return Policy(row.approvals, row.self_approval, row.signatures, row.max_shrink, gate)


def write_policy(row: PolicyRow, policy: Policy) -> None:
    """Write a policy into its row."""
    for name in ("approvals", "self_approval", "signatures", "max_shrink"):
        setattr(row, name, getattr(policy, name))
    row.gate = None if policy.gate is None else policy.gate.to_text()


def require_role(session: Session, name: str, role: str) -> None:
    """Check that an actor may act in a role.

    Raises:
        PolicyError: Says who, which role, and what to do.
    """
    if session.scalars(select(Actor).limit(1)).first() is None:
        return
    row = session.scalars(select(Actor).filter_by(name=name)).first()
    if row is None or not row.active:
        why = "is not an actor of this registry" if row is None else "is no longer active"
        raise PolicyError(f"'{name}' {why}. An admin can change that: `uvr-registry actor set`.")
    if role not in row.roles.split():
        raise PolicyError(
            f"'{name}' may act as {row.roles.replace(' ', ', ') or 'nothing'}; this needs the role "
            f"{role}. An admin can give it: `uvr-registry actor set {name} --role {role}`."
        )
