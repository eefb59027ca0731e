"""Commands on drafts: change one, or make one of an approved version."""

from __future__ import annotations

import click

from commands.app import App, pass_app
from commands.options import as_json, dry_run, expect_digest, reason_option, version_argument
from commands.output import version_json, version_lines
from commands.reading import read_definition
from commands.text import version_name

definition_option = click.option(
    "--definition", metavar="SOURCE", help="YAML file, or a shipped name."
)
thresholds_option = click.option(
    "--threshold",
    "thresholds",
    type=(str, float, float),
    multiple=True,
    metavar="TASK SEED GROW",
    help="Thresholds for t2i, edit or one anchor space's digest; repeat it.",
)


@click.command("edit-version")
@version_argument
@definition_option
@thresholds_option
@reason_option
@expect_digest
@dry_run
@as_json
@pass_app
def edit_version(
    app: App,
    version: tuple[str, int | None],
    definition: str | None,
    thresholds: tuple[tuple[str, float, float], ...],
    reason: str,
    expect_digest: str | None,
) -> None:
    """Change a draft's definition or thresholds; one in review becomes a draft again.

    A patch with score >= SEED starts a region, one with score >= GROW beside it joins. What was
    approved before no longer counts.

    \b
    Example:
      uvr-registry edit-version testbed-pistol --threshold t2i 3.5 2.0
    """
    if definition is None and not thresholds:
        raise click.UsageError("Nothing to change: give --definition or --threshold.")
    registry = app.open()
    reviewed = {item.version for item in registry.versions.requests() if item.slug == version[0]}
    changed = registry.versions.edit(
        *version,
        actor=app.actor,
        definition=None if definition is None else read_definition(definition),
        thresholds={task: (seed, grow) for task, seed, grow in thresholds},
        reason=reason,
        expect_digest=expect_digest,
    )
    app.show(version_json(changed), version_lines(changed))
    if changed.number in reviewed:
        app.warn("It was in review, and its approvals no longer count. Submit it again.")


@click.command("copy-version")
@version_argument
@definition_option
@thresholds_option
@reason_option
@expect_digest
@dry_run
@as_json
@pass_app
def copy_version(
    app: App,
    version: tuple[str, int | None],
    definition: str | None,
    thresholds: tuple[tuple[str, float, float], ...],
    reason: str,
    expect_digest: str | None,
) -> None:
    """Make a draft of an approved version, with other thresholds or another definition.

    Nothing is drawn: the draft has the same anchors, and whoever wrote the version stays an author.
    By default the newest approved version is copied. A copy of everything would be refused, since
    two versions never have the same content.

    \b
    Example:
      uvr-registry copy-version testbed-pistol@1 --threshold t2i 3.5 2.0
    """
    if definition is None and not thresholds:
        raise click.UsageError("A copy needs a change: give --threshold or --definition.")
    copied = app.open().versions.copy(
        *version,
        actor=app.actor,
        definition=None if definition is None else read_definition(definition),
        thresholds={task: (seed, grow) for task, seed, grow in thresholds},
        reason=reason,
        expect_digest=expect_digest,
    )
    app.show(version_json(copied), version_lines(copied))
    app.hint(f"Next: uvr-registry submit {version_name(copied.slug, copied.number)}")
