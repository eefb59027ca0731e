"""Words for people: states, modes, instants and events as somebody would say them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from concepts.instant import now
from concepts.words import MODE_WORDS
from uvr.pages.events import changed_words
from uvr.pages.words import day, place_words, state_words

CATEGORIES = {"nudity": "nudity", "ip-character": "protected character", "object": "object"}
FIELDS = {
    "near_misses": "look-alikes that are allowed",
    "prompts": "what shows it",
    "benign": "ordinary prompts",
    "edits": "edit instructions",
    "parameters": "settings of collecting",
}
EVENTS = {
    "actor.set": "set the roles of",
    "audit.checkpoint": "signed a checkpoint of",
    "channel.move": "moved the channel",
    "concept.add": "added the concept",
    "concept.define": "gave other words to",
    "concept.import": "imported the concept",
    "doctor.repair": "repaired",
    "exemplar.exclude": "left out a given picture of",
    "exemplar.include": "takes a given picture in again of",
    "exemplar.keep": "kept given pictures of",
    "exemplar.mask": "masked a given picture of",
    "gc.collect": "deleted what nothing uses in",
    "key.add": "added the key",
    "key.rotate": "changed who may sign:",
    "policy.set": "changed the",
    "registry.restore": "restored",
    "release.add": "released",
    "release.rollback": "released earlier members again as",
    "release.sign": "signed",
    "schema.migrate": "brought up to date",
    "source.forget": "forgot a given picture of",
    "version.add": "added",
    "version.approve": "approved",
    "version.break_glass": "approved alone, in an emergency,",
    "version.calibrate": "fitted anew",
    "version.deprecate": "took out of use",
    "version.edit": "changed",
    "version.evaluate": "recorded a measurement of",
    "version.reject": "sent back",
    "version.revoke": "revoked",
    "version.submit": "asked for review of",
}
KINDS = {
    "actor": "who may do what",
    "audit": "checkpoints of this trail",
    "channel": "what went live",
    "concept": "concepts and their words",
    "doctor": "repairs",
    "exemplar": "given pictures that are kept",
    "gc": "what was cleared away",
    "key": "keys",
    "policy": "rules of the registry",
    "registry": "registries that were restored",
    "release": "releases",
    "schema": "changes of the database",
    "source": "given pictures that were forgotten",
    "version": "versions and their reviews",
}
# What the library advises to whoever types, as the page of a new release has it.
OPTIONS = (
    (r"--drop ([a-z0-9-]+)", r"choose “take it out” for \1"),
    (r"--allow-shrink", "tick “Less may be regulated”"),
    (r"--enforce-nothing", "tick “Nothing at all may be regulated”"),
    (r'--note "WHY"', "say why"),
)
_SPANS = ((86400 * 365, "year"), (86400 * 30, "month"), (86400, "day"), (3600, "hour"),
          (60, "minute"))  # fmt: skip


def ago(instant: str | None, at: str | None = None) -> str:
    """Write how long ago an instant was: "3 days ago", "in 2 hours", "just now"."""
    if instant is None:
        return ""
    seconds = (
        datetime.fromisoformat(at or now()) - datetime.fromisoformat(instant)
    ).total_seconds()
    for length, name in _SPANS:
        if abs(seconds) >= length:
            count = int(abs(seconds) // length)
            span = f"{count} {name}{'' if count == 1 else 's'}"
            return f"{span} ago" if seconds > 0 else f"in {span}"
    return "just now"


def standing_words(state: str | None) -> str:
    """Write the state of a concept's newest version; None is a concept without versions."""
    return "nothing collected yet" if state is None else state_words(state)


def field_words(name: str) -> str:
    """Write the name of a definition's field."""
    return FIELDS.get(name, name)


def event_words(action: str, details: Mapping[str, Any]) -> str:
    """Write what an event did to its subject."""
    if action == "version.submit" and details.get("approved"):
        return "approved, as the policy asks for no review,"
    return EVENTS.get(action, action.replace(".", " "))


def changed_part(action: str, details: Mapping[str, Any]) -> str:
    """Write what goes on after an event's subject: " from policy@1 to policy@2"; "" if nothing."""
    said = changed_words(action, details)
    return said and f"{' ' if action == 'channel.move' else ': '}{said}"


def kind_of_event(kind: str) -> str:
    """Write a kind of events, the first part of an action, for a choice of them."""
    return KINDS[kind]


def told_details(details: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what an event tells beside its subject, reasons first, as names with texts."""
    first = ("reason", "note")
    names = sorted(details, key=lambda name: (name not in first, name))
    return [
        (name.replace("_", " "), _text(details[name]))
        for name in names
        if details[name] not in (None, "", [], {}, False)
    ]


def each_once(examples: Iterable[Any]) -> list[Any]:
    """Return examples, ``registry.operations.NearExample``, each prompt or picture once."""
    return list({one.prompt or one.picture: one for one in reversed([*examples])}.values())[::-1]


def change_words(change: Any) -> str:
    """Write a difference between two releases, ``registry.answers.Difference``."""
    before, after = change.before, change.after
    match change.what:
        case "added":
            return f"new, version {after}"
        case "removed":
            return f"no longer in it, was version {before}"
        case "version":
            return f"version {after} instead of {before}"
        case "approved":
            return "approved by this release"
        case "mode":
            was = "" if before is None else f", was {MODE_WORDS[before]}"
            return f"{MODE_WORDS[after]}{was}"
        case "threshold":
            looser = "less" if after > before else "more"
            return f"strictness changed, catches {looser}: {place_words(change.place)}"
        case "scoring":
            return f"scored in another way: {place_words(change.place)}"
        case "disabled_until":
            return "switched on again" if after is None else f"switched off until {day(after)}"
    if before is None:
        return f"now also for {place_words(after)}"
    return f"no longer for {place_words(before)}"


def advice_words(text: str) -> str:
    """Write a refusal of a release for whoever fills in its form."""
    for option, words in OPTIONS:
        text = re.sub(option, words, text)
    return text.replace("If that is meant, add ", "If that is meant: ")


def subject_address(action: str, subject: str) -> str:
    """Return the page of what an event is about; "" where it has none."""
    kind = action.partition(".")[0]
    if kind == "exemplar":
        return f"/concepts/{subject}/exemplars"
    if kind in ("concept", "version"):
        return f"/concepts/{subject.replace('@', '/')}"
    return f"/releases/{subject.replace('#', '/')}" if kind == "release" else ""


def subject_words(subject: str) -> str:
    """Write what an event is about: its "policy#2" as "policy@2", like versions."""
    return subject.replace("#", "@")


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_text(item)}" for name, item in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
