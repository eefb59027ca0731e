"""What the events of a trail leave behind: the rows that a registry must have after them.

A replay knows no database. It goes through events and keeps, for each kind of row, the fields that
they tell. What an event does not tell is left out, and nothing is compared with it: releases before
0.3 did not write who the authors were, nor what an edit did to a concept's definition, and 0.1 not
even what a release held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from registry.audit.told import (
    AtLeast,
    Fields,
    Told,
    evaluation_name,
    made,
    request_name,
    review_name,
)
from registry.change.event import AuditEvent
from registry.change.policy import Policy


def replay(events: Iterable[AuditEvent]) -> Told:
    """Return what events, from the first on, leave behind."""
    told = Told()
    told.rows["policy"]["policy"] = Policy().to_dict()
    for event in events:
        try:
            _STEPS[event.action](told, event)
        except KeyError as error:
            why = f"it is of no kind that this program knows: {event.action}"
            if event.action in _STEPS:
                why = f"{event.action} of '{event.subject}' does not tell its {error}"
            told.problems.append(f"Event {event.number} cannot be followed: {why}.")
        except (AttributeError, TypeError, ValueError) as error:
            told.problems.append(
                f"Event {event.number} does not follow from those before it, "
                f"{event.action} of '{event.subject}': {error}."
            )
    return told


def _nothing(_told: Told, _event: AuditEvent) -> None:
    """Follow an event that changes no row that is compared."""


def _names(fields: Fields, name: str, value: Iterable[str] | None, least: Iterable[str]) -> None:
    """Take names as an event tells them; an old one tells only who acted."""
    fields[name] = AtLeast(frozenset(least)) if value is None else tuple(value)


def _known(names: Any) -> frozenset[str]:
    return names.names if isinstance(names, AtLeast) else frozenset(names)


def _actor(told: Told, event: AuditEvent) -> None:
    told.make(event, "actor", event.subject)
    told.get(event, "actor", event.subject).update(
        roles=tuple(event.details["roles"]), active=event.details["active"]
    )


def _policy(told: Told, event: AuditEvent) -> None:
    policy = told.get(event, "policy", "policy")
    known = {name: event.details[name] for name in policy if name != "gate"}
    policy.update(known, gate=event.details.get("gate"))  # An old event tells of none.


def _add_concept(told: Told, event: AuditEvent) -> None:
    concept = told.add(event, "concept", event.subject, **made(event))
    _define(event, concept)


def _define_concept(told: Told, event: AuditEvent) -> None:
    _define(event, told.get(event, "concept", event.subject))


def _define(event: AuditEvent, concept: Fields) -> None:
    concept["definition_digest"] = event.details["definition_digest"]
    least = _known(concept.get("defined_by", (event.actor,)))
    _names(concept, "defined_by", event.details.get("defined_by"), least)


def _import(told: Told, event: AuditEvent) -> None:
    concept = told.make(event, "concept", event.subject, defined_by=AtLeast(frozenset()))
    if "definition_digest" in event.details:
        _define(event, concept)
    numbers, digests = event.details["added"], event.details["digests"]
    authors = event.details.get("authors", [None] * len(numbers))
    for number, digest, names in zip(numbers, digests, authors, strict=True):
        _insert_version(told, event, f"{event.subject}@{number}", digest, names)


def _add_version(told: Told, event: AuditEvent) -> None:
    details = event.details
    _insert_version(told, event, event.subject, details["content_digest"], details.get("authors"))


def _insert_version(
    told: Told, event: AuditEvent, name: str, digest: str, authors: list[str] | None
) -> None:
    told.get(event, "concept", name.rpartition("@")[0])
    version = told.add(event, "version", name, state="draft", content_digest=digest, **made(event))
    _names(version, "authors", authors, (event.actor,))


def _edit(told: Told, event: AuditEvent) -> None:
    version = told.get(event, "version", event.subject)
    if _is_open(told, event.subject):
        _close(told, event, event.subject, "withdrawn", "draft")
    version["content_digest"] = event.details["content_digest"]
    least = _known(version["authors"]) | {event.actor}
    _names(version, "authors", event.details.get("authors"), least)
    concept = told.get(event, "concept", event.subject.rpartition("@")[0])
    if "definition_digest" in event.details:
        _define(event, concept)
    else:  # An old event: the edit may have changed the concept's definition, too.
        concept.pop("definition_digest", None)
        concept["defined_by"] = AtLeast(_known(concept["defined_by"]))


def _calibrate(told: Told, event: AuditEvent) -> None:
    version = told.get(event, "version", event.subject)
    version["content_digest"] = event.details["content_digest"]
    version["authors"] = tuple(event.details["authors"])


def _submit(told: Told, event: AuditEvent) -> None:
    _open(told, event, event.subject, event.details["note"])
    if event.details["approved"]:
        _close(told, event, event.subject, "approved", "approved")


def _approve(told: Told, event: AuditEvent) -> None:
    _decide(told, event, "approve")
    if event.details["approved"]:
        _close(told, event, event.subject, "approved", "approved")


def _reject(told: Told, event: AuditEvent) -> None:
    # Who approved first and rejects then has a review already.
    request = _request(told, event.subject)
    if review_name(request, event.actor, break_glass=False) not in told.rows["review"]:
        _decide(told, event, "reject")
    _close(told, event, event.subject, "rejected", "draft")


def _decide(told: Told, event: AuditEvent, decision: str) -> None:
    name = review_name(
        _request(told, event.subject), event.actor,
        break_glass=event.action == "version.break_glass",
    )  # fmt: skip
    told.add(
        event, "review", name, decision=decision, reason=event.details["reason"],
        content_digest=event.details["content_digest"], at=event.at,
        evaluation=event.details.get("evaluation"),
    )  # fmt: skip


def _evaluate(told: Told, event: AuditEvent) -> None:
    details = event.details
    version = told.get(event, "version", event.subject)
    if version["content_digest"] != details["content_digest"]:
        raise ValueError("it is of other content than the version had")
    slug, digest = event.subject.rpartition("@")[0], details["evaluation"]
    name = evaluation_name(slug, details["content_digest"], digest)
    told.add(event, "evaluation", name, digest=digest, **made(event))


def _deprecate(told: Told, event: AuditEvent) -> None:
    told.get(event, "version", event.subject)["state"] = "deprecated"


def _revoke(told: Told, event: AuditEvent) -> None:
    if _is_open(told, event.subject):
        _close(told, event, event.subject, "withdrawn", "revoked")
    told.get(event, "version", event.subject)["state"] = "revoked"


def _open(told: Told, event: AuditEvent, version: str, note: str) -> None:
    row = told.get(event, "version", version)
    requests = told.requests.setdefault(version, [])
    requests.append(request_name(version, len(requests) + 1))
    told.add(
        event, "request", requests[-1], content_digest=row["content_digest"], state="open",
        note=note, opened_at=event.at, opened_by=event.actor, closed_at=None, closed_by=None,
    )  # fmt: skip
    row["state"] = "in_review"


def _is_open(told: Told, version: str) -> bool:
    newest = told.requests.get(version, [])[-1:]
    return any(told.rows["request"][name]["state"] == "open" for name in newest)


def _request(told: Told, version: str) -> str:
    """Return the name of a version's open request, which is its newest."""
    if not _is_open(told, version):
        raise ValueError(f"version '{version}' was not in review")
    return told.requests[version][-1]


def _close(told: Told, event: AuditEvent, version: str, how: str, state: str) -> None:
    """End a version's request, and move the version to a state."""
    request = told.get(event, "request", _request(told, version))
    request.update(state=how, closed_at=event.at, closed_by=event.actor)
    told.get(event, "version", version)["state"] = state


def _release(told: Told, event: AuditEvent) -> None:
    details = event.details
    for version in details.get("approved") or ():
        if not _is_open(told, version):
            _open(told, event, version, "")
        _close(told, event, version, "approved", "approved")
    bundle, _, sequence = event.subject.rpartition("#")
    told.make(event, "bundle", bundle)
    release = told.add(
        event, "release", event.subject, lock_digest=details["lock_digest"],
        bundle_digest=details["bundle_digest"], **made(event),
    )  # fmt: skip
    if "members" in details:  # 0.1 did not tell more.
        before = told.rows["release"].get(f"{bundle}#{int(sequence) - 1}", {})
        release.update(
            members=tuple(sorted(details["members"])),
            previous_digest=before.get("bundle_digest"),
            expires_at=details["expires"],
            key_list=len(told.rows["key list"]),
            rollback_of=details.get("rollback_of"),
            note=details["note" if event.action == "release.add" else "reason"],
        )
        _sign(told, event)


def _sign(told: Told, event: AuditEvent) -> None:
    told.get(event, "release", event.subject)
    for key_id in event.details["signed_by"]:
        name = f"{event.subject}, key {key_id}"
        told.add(event, "signature", name, at=event.at, by=event.actor)


def _move(told: Told, event: AuditEvent) -> None:
    details = event.details
    release = f"{details['bundle']}#{details['sequence']}"
    told.make(event, "channel", event.subject, bundle=details["bundle"])
    told.add(
        event, "channel move", f"{event.subject}, move {details['number']}", release=release,
        reason=details["reason"], at=event.at, by=event.actor,
    )  # fmt: skip


def _add_key(told: Told, event: AuditEvent) -> None:
    told.add(event, "key", event.subject, key_id=event.details["key_id"], **made(event))


def _rotate(told: Told, event: AuditEvent) -> None:
    told.add(event, "key list", event.subject, digest=event.details["digest"], **made(event))


def _checkpoint(told: Told, event: AuditEvent) -> None:
    told.add(event, "checkpoint", event.subject, digest=event.details["digest"], **made(event))


def _migrate(told: Told, _event: AuditEvent) -> None:
    # What had been released by then counts as approved, and 0.1 did not tell what that was.
    for version in told.rows["version"].values():
        version.pop("state", None)


_STEPS: Mapping[str, Callable[[Told, AuditEvent], None]] = {
    "actor.set": _actor,
    "audit.checkpoint": _checkpoint,
    "channel.move": _move,
    "concept.add": _add_concept,
    "concept.define": _define_concept,
    "concept.import": _import,
    "doctor.repair": _nothing,
    "exemplar.exclude": _nothing,
    "exemplar.include": _nothing,
    "exemplar.keep": _nothing,
    "exemplar.mask": _nothing,
    "gc.collect": _nothing,
    "key.add": _add_key,
    "key.rotate": _rotate,
    "policy.set": _policy,
    "registry.restore": _nothing,
    "release.add": _release,
    "release.rollback": _release,
    "release.sign": _sign,
    "schema.migrate": _migrate,
    "source.forget": _nothing,
    "version.add": _add_version,
    "version.approve": _approve,
    "version.break_glass": _approve,
    "version.calibrate": _calibrate,
    "version.deprecate": _deprecate,
    "version.edit": _edit,
    "version.evaluate": _evaluate,
    "version.reject": _reject,
    "version.revoke": _revoke,
    "version.submit": _submit,
}
