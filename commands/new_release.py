"""What commands say of a release that was made, and the file that it is written to."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from commands.app import App
from commands.changes import by_hand_lines, change_lines, coverage_lines, warn_of
from commands.output import save_bundle
from commands.text import plural
from concepts.errors import UVRError

if TYPE_CHECKING:
    from registry.answers import NewRelease, ReleaseInfo
    from registry.registry import Registry


def show_new_release(app: App, registry: Registry, made: NewRelease, out: Path | None) -> None:
    """Write a new release's bundle, show what it changes, and warn of what it leaves uncovered."""
    written = write_release(app, registry, made, out)
    enforced = sum(member.enforced_at(made.created_at) for member in made.members)
    some = "" if enforced == len(made.members) else f", {enforced} of them regulated"
    what = f"{'Would release' if app.dry_run else 'Released'} {made.bundle}@{made.sequence}"
    if made.rollback_of:
        verb = "Would roll back" if app.dry_run else "Rolled back"
        what = f"{verb} to {made.bundle}@{made.rollback_of}, as {made.bundle}@{made.sequence}"
    lines = [f"{what} with {plural(len(made.members), 'concept')}{some}"]
    if made.sequence > 1:
        since = f"since {made.bundle}@{made.sequence - 1}"
        anyway = "it would be made" if app.dry_run else "it was made"
        nothing = f"Nothing changed {since}; {anyway} all the same"
        lines.append(f"Changes {since}:" if made.changes else nothing)
    lines += [*change_lines(made.changes), *coverage_lines(made.coverage)]
    lines += [*by_hand_lines(made.members), *signed_by(made)]
    app.show(asdict(made), [*lines, *written])
    warn_of(app, made)
    _warn_of_missing(app, made, registry.team.policy().signatures)


def _warn_of_missing(app: App, made: NewRelease, needed: int) -> None:
    """Warn of signatures that the policy asks for and a release lacks."""
    missing = needed - len(made.signatures)
    if missing > 0:
        signed = "Not signed" if missing == needed else "Not signed by enough keys"
        name = f"{made.bundle}@{made.sequence}"
        app.warn(f"{signed}: {missing} of {needed} missing; `uvr-registry sign {name} --key FILE`.")


def signed_by(info: ReleaseInfo) -> list[str]:
    """Say which keys signed a release; nothing where none did."""
    return [f"Signed by {', '.join(info.signatures)}"] if info.signatures else []


def write_release(app: App, registry: Registry, info: ReleaseInfo, out: Path | None) -> list[str]:
    """Write the bundle of a release that was recorded, and say so; a dry run writes none."""
    if out is None:
        return []
    if app.dry_run:
        return [f"Nothing was written to {out}"]
    try:
        return [save_bundle(registry.releases.bundle(info.bundle, info.sequence), out)]
    except OSError as error:
        raise UVRError(
            f"{info.bundle}@{info.sequence} is recorded, but '{out}' cannot be "
            f"written: {error.strerror or error}. Write it with `uvr-registry bundle export "
            f"{info.bundle}@{info.sequence} --out FILE`."
        ) from error
