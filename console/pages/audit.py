"""The audit trail: filtered, verified, compared with a checkpoint, exported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from starlette.responses import Response, StreamingResponse

from concepts.errors import InputError, SignatureError, VerificationError
from concepts.instant import parse_instant
from console.call import Call
from console.words import KINDS
from registry.audit.checkpoint import Checkpoint, read_checkpoint
from registry.change.event import AuditEvent

SHOWN = 50


def trail(call: Call) -> Response:
    """Show the newest events of a choice, and a way to the older ones."""
    chosen = {name: call.query.get(name, "").strip() for name in ("subject", "actor", "kind")}
    since, before = call.query.get("since", "").strip(), call.query.get("before", "")
    try:
        instant = _instant(since)
    except InputError as error:
        return _page(call, [], chosen, since, refused=str(error))
    events = call.registry.audit.events(
        SHOWN + 1, chosen["subject"] or None, instant, actor=chosen["actor"] or None,
        action=chosen["kind"] or None, before=_number(before),
    )  # fmt: skip
    shown = events[-SHOWN:][::-1]
    older = None
    if len(events) > SHOWN:
        kept = {name: text for name, text in (chosen | {"since": since}).items() if text}
        older = urlencode({**kept, "before": str(shown[-1].number)})
    return _page(call, shown, chosen, since, older)


def _page(
    call: Call, events: Sequence[AuditEvent], chosen: Mapping[str, str], since: str,
    older: str | None = None, refused: str = "",
) -> Response:  # fmt: skip
    """Show events, or why what was chosen cannot be meant."""
    return call.page(
        "audit.html", 422 if refused else 200, events=events, chosen=chosen, since=since,
        older=older, kinds=KINDS, refused=refused,
        checkpoints=[] if call.partial else call.registry.audit.checkpoints(),
    )  # fmt: skip


def verify(call: Call) -> Response:
    """Check every event, and the registry's own checkpoints."""
    return _verified(call, None)


def compare(call: Call) -> Response:
    """Check every event, and one checkpoint that was kept elsewhere."""
    text = call.form.text("checkpoint")
    try:
        return _verified(call, read_checkpoint(text.encode()), text.encode())
    except VerificationError as error:
        raise InputError(
            f"That is no checkpoint, as `uvr-registry audit checkpoint` writes it. {error}"
        ) from error


def export(call: Call) -> Response:
    """Hand out every event as a line of JSON."""
    lines = (f"{line.rstrip()}\n" for line in call.registry.audit.export())
    name = {"content-disposition": 'attachment; filename="audit.jsonl"'}
    return StreamingResponse(lines, media_type="application/jsonl", headers=name)


def _verified(call: Call, kept: Checkpoint | None, against: bytes | None = None) -> Response:
    """Show whether the trail is whole; a broken one is what somebody asked to be told."""
    try:
        report = call.registry.audit.verify(against)
    except VerificationError as error:
        return call.page("verified.html", report=None, broken=str(error))
    signed = "" if kept is None else _signed(call, kept)
    return call.page("verified.html", report=report, broken=None, signed=signed)


def _signed(call: Call, kept: Checkpoint) -> str:
    """Say who signed a checkpoint, as far as the registry's own key list tells."""
    keys = call.registry.keys.current()
    if keys is None:
        return "Who signed it cannot be told: this registry has no key list."
    try:
        return f"It is signed by {len(kept.require(keys))} of the registry's keys."
    except SignatureError as error:
        return str(error)


def _instant(text: str) -> str | None:
    try:
        return parse_instant(text) if text else None
    except ValueError as error:
        raise InputError(f"Since: {error}.") from error


def _number(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InputError(f"'{text[:40]}' is not the number of an event.")
    return int(text)
