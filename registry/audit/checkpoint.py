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
        signers = tuple(keys.signers(self.envelope)) if self.envelope else ()
        if not signers:
            raise SignatureError(
                f"The checkpoint of event {self.event} is not signed by any of the "
                f"{len(keys.keys)} trusted keys. Trust the auditor's key first."
            )
        return signers


def read_checkpoint(data: bytes) -> Checkpoint:
    """Decode a checkpoint, strictly; its signatures are not checked.

    Raises:
        VerificationError: If it is anything else.
    """
    envelope = read_envelope(data, CHECKPOINT_TYPE)
    content = strict_json(envelope.payload, "checkpoint")
    names = {"format", "registry", "event", "digest", "at"}
    if not isinstance(content, dict) or set(content) != names or content["format"] != FORMAT:
        raise VerificationError(f"This is not a checkpoint of format '{FORMAT}'.")
    number = content["event"]
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise VerificationError(
            f"The checkpoint names event {number!r}; a number from 1 is expected."
        )
    if not is_digest(content["digest"]) or not is_instant(content["at"]):
        raise VerificationError("The checkpoint's digest or time is not valid.")
    registry = str(content["registry"])
    checkpoint = Checkpoint(registry, number, content["digest"], content["at"], envelope)
    if checkpoint.payload() != envelope.payload:
        raise VerificationError("The checkpoint is not written as this project writes it.")
    return checkpoint


def stored_checkpoints(session: Session) -> list[Checkpoint]:
    """Return the registry's own checkpoints by event, each checked as far as its key is known.

    Raises:
        VerificationError: If one is damaged.
    """
    checkpoints = []
    for row in session.scalars(select(AuditCheckpoint).order_by(AuditCheckpoint.event_number)):
        checkpoint = read_checkpoint(row.envelope.encode())
        if (checkpoint.event, checkpoint.digest) != (row.event_number, row.event_digest):
            raise VerificationError(
                f"The stored checkpoint of event {row.event_number} differs from its row."
            )
        _check_known_keys(session, checkpoint)
        checkpoints.append(checkpoint)
    return checkpoints


def _check_known_keys(session: Session, checkpoint: Checkpoint) -> None:
    # A checkpoint's key need not be one of the registry's: an auditor may keep it to himself.
    envelope = checkpoint.envelope
    for item in envelope.signatures if envelope else ():
        pem = session.scalar(select(SigningKey.pem).where(SigningKey.key_id == item.key_id))
        if envelope is None or pem is None:
            continue
        from concepts.signing.ed25519 import PublicKey  # noqa: PLC0415 (cryptography)

        text = pae(envelope.payload_type, envelope.payload)
        if not PublicKey.from_pem(pem).verify(text, item.value):
            raise SignatureError(
                f"The stored checkpoint of event {checkpoint.event} has an invalid signature."
            )
