"""Checkpoints: signed statements of which digest an event of the audit trail had."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.canonical import canonical_json, strict_json
from concepts.digest import is_digest
from concepts.errors import SignatureError, VerificationError
from concepts.instant import is_instant
from concepts.signing.envelope import CHECKPOINT_TYPE, Envelope, pae, read_envelope
from registry.store.models import AuditCheckpoint, SigningKey

if TYPE_CHECKING:  # It brings cryptography, which only signatures need.
    from concepts.signing.keys import KeyList

FORMAT = "uvr-checkpoint/1"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint says.

    Attributes:
        registry: Id of the registry.
        event: Number of the newest event that it covers.
        digest: That event's digest, which covers all before it.
        at: When it was made.
        envelope: Its signed form, None before it is signed.
    """

    registry: str
    event: int
    digest: str
    at: str
    envelope: Envelope | None = field(default=None, compare=False, repr=False)

    def payload(self) -> bytes:
        """Return the exact bytes that are signed."""
        return canonical_json(
            {
                "format": FORMAT,
                "registry": self.registry,
                "event": self.event,
                "digest": self.digest,
                "at": self.at,
            }
        )

    def require(self, keys: KeyList) -> tuple[str, ...]:
        """Return the ids of the trusted keys that signed it; one is enough.

        Raises:
            SignatureError: If none did, or a signature is wrong.
        """
        found = tuple(keys.signers(self.envelope)) if self.envelope else ()
        if not found:
            raise SignatureError(
                f"The checkpoint of event {self.event} is not signed by any of the "
                f"{len(keys.keys)} trusted keys. Trust the auditor's key first."
            )
        return found


def read_checkpoint(data: bytes) -> Checkpoint:
    """Decode a checkpoint, strictly; its signatures are not checked.

    Raises:
        VerificationError: If it is anything else.
    """
    envelope = read_envelope(data, CHECKPOINT_TYPE)
    found = strict_json(envelope.payload, "checkpoint")
    names = {"format", "registry", "event", "digest", "at"}
    if not isinstance(found, dict) or set(found) != names or found["format"] != FORMAT:
        raise VerificationError(f"This is not a checkpoint of format '{FORMAT}'.")
    number = found["event"]
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise VerificationError(f"The checkpoint names event {number!r}, a number is expected.")
    if not is_digest(found["digest"]) or not is_instant(found["at"]):
        raise VerificationError("The checkpoint's digest or time is not one.")
    made = Checkpoint(str(found["registry"]), number, found["digest"], found["at"], envelope)
    if made.payload() != envelope.payload:
        raise VerificationError("The checkpoint is not written as this project writes it.")
    return made


def stored_checkpoints(opened: Session) -> list[Checkpoint]:
    """Return the registry's own checkpoints by event, each checked as far as its key is known.

    Raises:
        VerificationError: If one is damaged.
    """
    found = []
    for row in opened.scalars(select(AuditCheckpoint).order_by(AuditCheckpoint.event_number)):
        made = read_checkpoint(row.envelope.encode())
        if (made.event, made.digest) != (row.event_number, row.event_digest):
            raise VerificationError(
                f"The stored checkpoint of event {row.event_number} does not say what its row says."
            )
        _check_known_keys(opened, made)
        found.append(made)
    return found


def _check_known_keys(opened: Session, made: Checkpoint) -> None:
    # A checkpoint's key need not be one of the registry's: an auditor may keep it to himself.
    envelope = made.envelope
    for item in envelope.signatures if envelope else ():
        pem = opened.scalar(select(SigningKey.pem).where(SigningKey.key_id == item.key_id))
        if envelope is None or pem is None:
            continue
        from concepts.signing.ed25519 import PublicKey  # noqa: PLC0415 (cryptography)

        text = pae(envelope.payload_type, envelope.payload)
        if not PublicKey.from_pem(pem).verify(text, item.value):
            raise SignatureError(
                f"The stored checkpoint of event {made.event} has a wrong signature."
            )
