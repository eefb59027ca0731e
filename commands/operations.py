"""Commands on a whole registry: make, check, clean, back up, move, index."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import get_completion_class

from commands.app import App, pass_app
from commands.options import as_json, dry_run, yes
from commands.output import progress_bar, show_fields, show_ready
from commands.parameters import FILE, OUT_FILE, SLUG
from commands.table import Table
from commands.text import plural
from concepts.errors import NotFoundError, VerificationError
from concepts.words import INDEX_KINDS

if TYPE_CHECKING:
    pass


@click.command()
@as_json
@pass_app
def init(app: App) -> None:
    """Make a registry, or bring one to the newest schema.

    \b
    Examples:
      uvr-registry init
      UVR_DATABASE_URL=postgresql+psycopg://uvr@db/uvr uvr-registry --home /srv/uvr init
    """
    from registry.registry import Registry

    home = app.folder()
    show_ready(app, Registry.create(home).workspace)
    app.hint("Next: uvr-registry add-concept; `concepts --shipped` lists those to begin with.")


@click.command()
@click.option("--repair", is_flag=True, help="Also remove temporaries and stale index files.")
@click.option("--quick", is_flag=True, help="Do not read the blobs.")
@dry_run
@as_json
@pass_app
def doctor(app: App, repair: bool, quick: bool) -> None:
    """Check database, blobs, digests, approvals, signatures and trail; exit code 6 if one is wrong.

    \b
    Examples:
      uvr-registry doctor
      uvr-registry doctor --repair
    """
    from registry import operations

    workspace = app.open().workspace
    repaired = operations.repair(workspace, app.actor).to_dict() if repair else {}
    found = operations.diagnose(workspace, quick=quick)
    verb = "Would remove" if app.dry_run else "Removed"
    lines = [f"{verb} {name}" for names in repaired.values() for name in names]
    for check in found.checks:
        state = "WRONG" if not check.ok else "note" if check.notes else "ok"
        lines.append(f"{state:5} {check.name}")
        lines += [f"        {line}" for line in (*check.problems, *check.notes)]
    app.show({"repaired": repaired, **found.to_dict()}, lines)
    wrong = [check.name for check in found.checks if not check.ok]
    if wrong:
        raise VerificationError(f"The registry is not in order: {', '.join(wrong)}.")


@click.command()
@click.option("--grace", default="24h", show_default=True, help="Keep what is younger.")
@yes
@dry_run
@as_json
@pass_app
def gc(app: App, grace: str) -> None:
    """Delete blobs that no version uses any more, what stopped collections left, and old tries.

    Kept pictures whose time is over (`exemplars keep --retain-until`) go too, at once.

    \b
    Examples:
      uvr-registry gc --dry-run
      uvr-registry gc --grace 7d --yes
    """
    from registry import operations

    workspace = app.open().workspace
    app.confirm(
        "Delete every blob that no version uses, what stopped collections left, old tries, and "
        "kept pictures whose time is over?"
    )
    found = operations.collect_garbage(workspace, actor=app.actor, grace=grace)
    what = f"{plural(len(found.blobs), 'blob')} ({found.bytes:,} bytes)"
    verb = "Would delete" if app.dry_run else "Deleted"
    lines = [f"{verb} {what} and {plural(found.temporaries, 'unfinished file')}"]
    if found.features:
        files = plural(found.features, "file")
        lines.append(f"{verb} {files} of stopped collections ({found.feature_bytes:,} bytes)")
    if found.tried:
        files = plural(found.tried, "file")
        lines.append(f"{verb} {files} of what was tried ({found.tried_bytes:,} bytes)")
    if found.exemplars:
        lines.append(f"{verb} {plural(found.exemplars, 'kept picture')} whose time is over")
    if found.exemplar_files:
        files = plural(found.exemplar_files, "file")
        lines.append(f"{verb} {files} of pictures that were no longer kept")
    app.show(found.to_dict(), lines)


@click.command()
@click.argument("file", type=OUT_FILE)
@as_json
@pass_app
def backup(app: App, file: Path) -> None:
    """Write the whole registry to one file, while others go on working.

    \b
    Example:
      uvr-registry backup registry.zip
    """
    from registry import operations

    workspace = app.open().workspace
    with progress_bar("Back up") as progress:
        info = operations.backup(workspace, file, progress)
    what = f"{plural(info.blobs, 'blob')}, {plural(info.events, 'event')}"
    app.show(info.to_dict(), [f"Wrote {file} ({what})"])
    if info.problems:
        count = plural(len(info.problems), "problem")
        app.warn(
            f"The doctor found {count}; a restore needs --accept-problems. "
            "See `uvr-registry doctor`."
        )


@click.command()
@click.argument("file", type=FILE)
@click.option(
    "--accept-problems", is_flag=True, help="Restore even a backup that says it has problems."
)
@yes
@as_json
@pass_app
def restore(app: App, file: Path, accept_problems: bool) -> None:
    """Make a registry from a backup, in an empty place; --home and UVR_DATABASE_URL say where.

    \b
    Example:
      uvr-registry --home /srv/uvr restore registry.zip --yes
    """
    home = app.folder()
    if not file.exists():
        raise NotFoundError(f"No backup at '{file}'.")
    app.confirm(f"Restore '{file}' into '{home}'?")
    from registry import operations

    with progress_bar("Restore") as progress:
        made = operations.restore(
            file, home, actor=app.actor, accept_problems=accept_problems, progress=progress
        )
    show_ready(app, made)


@click.command("export-concept")
@click.argument("slug", type=SLUG)
@click.option("--out", type=OUT_FILE, required=True)
@as_json
@pass_app
def export_concept(app: App, slug: str, out: Path) -> None:
    """Write a concept with all of its versions to one file, for another registry.

    \b
    Example:
      uvr-registry export-concept testbed-pistol --out pistol.zip
    """
    from registry import operations

    operations.export_concept(app.open().workspace, slug, out)
    app.show({"slug": slug, "file": str(out)}, [f"Wrote {out}"])


@click.command("import-concept")
@click.argument("file", type=FILE)
@dry_run
@as_json
@pass_app
def import_concept(app: App, file: Path) -> None:
    """Read a concept from another registry; its versions arrive as drafts, digests intact.

    \b
    Example:
      uvr-registry import-concept pistol.zip
    """
    from registry import operations

    info = operations.import_concept(app.open().workspace, file, actor=app.actor)
    show_fields(app, asdict(info))


@click.command()
@click.option("--kind", type=click.Choice(INDEX_KINDS), help="[default: by the number of anchors]")
@as_json
@pass_app
def index(app: App, kind: str | None) -> None:
    """Build the search indexes that are missing or stale; exit code 9 if one misses too much.

    They hold what is live or approved. A search builds what it needs by itself; this does it
    beforehand, and says how well it finds.

    \b
    Examples:
      uvr-registry index
      uvr-registry index --kind fp16
    """
    rows = [{**asdict(found), **asdict(found.build)} for found in app.open().index.build(kind)]
    columns = ("model", "task", "kind", "vectors", "dim", "recall", "queries", "seconds", "space")
    empty = "Nothing to index: no version with anchors is live or approved."
    app.show(rows, [Table(columns, rows, empty)])


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes commands, options and slugs in a shell.

    \b
    Examples:
      uvr-registry completion bash >> ~/.bashrc
      uvr-registry completion fish > ~/.config/fish/completions/uvr-registry.fish
    """
    found = get_completion_class(shell)
    if found is None:
        raise NotFoundError(f"No completion for '{shell}'.")
    root = context.find_root().command
    click.echo(found(root, {}, "uvr-registry", "_UVR_REGISTRY_COMPLETE").source())
