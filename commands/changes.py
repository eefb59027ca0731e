"""Words for what a release changes, what it leaves uncovered, and what it finds less of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from commands.app import App
from commands.text import cell, mode_name
from concepts.words import BY_HAND

if TYPE_CHECKING:
    from console.evidence.governance import Banned
    from registry.answers import Coverage, Difference, Gap, NewRelease, ReleasedMember


def change_lines(changes: Iterable[Difference]) -> list[str]:
    """Write what differs between two releases, a line for each concept."""
    return [
        f"  {slug}: {', '.join(map(_words, found))}"
        for slug, found in groupby(changes, key=lambda change: change.slug)
    ]


def coverage_lines(coverage: Iterable[Coverage]) -> list[str]:
    """Write what a release is for, a line for each model."""
    from uvr.pages.words import coverage_words

    return [
        f"Covers with {item.model}: {coverage_words(item.tasks, item.lacks)}" for item in coverage
    ]


def raised_lines(members: Iterable[ReleasedMember]) -> list[str]:
    """Write which thresholds of a release lie above their versions' own."""
    return [
        f"{member.slug} finds less than was approved: threshold {item}"
        for member in members
        for item in member.raised
    ]


def by_hand_lines(members: Iterable[ReleasedMember | Banned]) -> list[str]:
    """Write whose thresholds were set by hand, so that nothing was measured at them."""
    found = [f"{item.slug} ({', '.join(item.by_hand)})" for item in members if item.by_hand]
    return [f"{BY_HAND.capitalize()}: {', '.join(found)}"] if found else []


def warn_of(app: App, made: NewRelease) -> None:
    """Warn of what a new release finds less of, and of what it does not hold or cover.

    The same content is warned of in the same words, whichever options it came by.
    """
    from uvr.pages.words import gap_words

    for line in raised_lines(made.members):
        slug = line.split()[0]
        app.warn(f"{line}. Take it back with --threshold {slug}=none.")
    for gap in made.left_out:
        if gap.nowhere and not gap.takes:
            app.warn(f"{gap.slug} is not in this release: {gap_words(gap.why)}.")
        elif gap.older and not gap.takes:
            app.warn(f"This release holds an older version: {gap.slug} ({gap_words(gap.why)}).")
        elif not gap.takes:
            app.warn(f"{gap.slug} is not covered everywhere by this release: {gap_words(gap.why)}.")
    ready = [gap for gap in made.left_out if gap.takes]
    _warn_of_ready(app, "Not in this release", [gap for gap in ready if gap.nowhere])
    newer = [gap for gap in ready if not gap.nowhere]
    _warn_of_ready(app, "This release holds an older version", newer)


def _warn_of_ready(app: App, what: str, gaps: Sequence[Gap]) -> None:
    if not gaps:
        return
    from uvr.pages.words import gap_words

    every = "--all-approved" if all(gap.why.endswith("approved") for gap in gaps) else "--all"
    names = ", ".join(f"{gap.slug} ({gap_words(gap.why)})" for gap in gaps)
    app.warn(f"{what}: {names}. A release takes one in with --concept SLUG, all with {every}.")


def _words(change: Difference) -> str:
    before, after = change.before, change.after
    match change.what:
        case "added":
            return f"added, version {after}"
        case "removed":
            return f"removed, was version {before}"
        case "approved":
            return "newly approved"
        case "threshold":
            return f"threshold for {change.place} {before:g} -> {after:g}"
        case "scoring":
            return f"scored in another way for {change.place}"
        case "coverage":
            from uvr.pages.words import place_words

            place = place_words(str(after if before is None else before))
            return f"now covers {place}" if before is None else f"no longer covers {place}"
        case "disabled_until":
            was = "" if before is None else f" (was until {cell(before)})"
            return f"switched {'on again' if after is None else f'off until {cell(after)}'}{was}"
    if change.what == "mode":
        before, after = (name and mode_name(str(name)) for name in (before, after))
    return f"{change.what} {after}" if before is None else f"{change.what} {before} -> {after}"
