"""Commands on exemplars, the pictures that anchors come from: list and forget what is recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands import keeping, scoring
from commands.app import App, pass_app
from commands.options import as_json, dry_run, reason_required, yes
from commands.parameters import SLUG, Instant
from commands.table import Table
from commands.text import plural
from concepts.errors import NotFoundError

if TYPE_CHECKING:
    from registry.registry import Registry
    from registry.versions.exemplars import Exemplar
    from uvr.sample import Sample


@click.group()
def exemplars() -> None:
    """List and forget the pictures that anchors came from; keep some on purpose.

    They are known by their hashes alone, unless `keep` keeps them until a time.

    \b
    Examples:
      uvr-registry exemplars list
      uvr-registry exemplars kept red-kite
    """


for _command in (
    keeping.keep, keeping.kept, keeping.mask_picture, keeping.exclude, keeping.include,
    scoring.score,
):  # fmt: skip
    exemplars.add_command(_command)


@exemplars.command("list")
@click.argument("slug", type=SLUG, required=False)
@click.option("--due", type=Instant(), metavar="WHEN", help="Only those to be forgotten by then.")
@as_json
@pass_app
def exemplars_list(app: App, slug: str | None, due: str | None) -> None:
    """List the pictures that anchors came from, by hash.

    \b
    Examples:
      uvr-registry exemplars list mickey-mouse
      uvr-registry exemplars list --due 30d --json
    """
    rows = [_exemplar_json(item) for item in app.open().exemplars.list(slug, due)]
    columns = ("id", "versions", "origin", "legal_basis", "retain_until", "sha256")
    app.show(rows, [Table(columns, rows, "No exemplars.")])


@exemplars.command("forget")
@click.argument("sha256")
@reason_required
@yes
@dry_run
@as_json
@pass_app
def exemplars_forget(app: App, sha256: str, reason: str) -> None:
    """Forget a picture: remove its hash, origin and legal basis; versions stay as they are.

    One that is kept is deleted. `exemplars list --json` and `kept --json` give the whole hash.

    \b
    Example:
      uvr-registry exemplars forget 9f86d0…0a08 --reason "request of the owner" --yes
    """
    app.confirm("Forget every reference to this picture for good, and the picture if it is kept?")
    found = app.open().exemplars.forget(sha256, actor=app.actor, reason=reason)
    app.show({"forgotten": list(found)}, [f"Forgot {plural(len(found), 'reference')}."])


def references_to(
    pictures: Mapping[str, Any],
    origin: str | None,
    legal_basis: str | None,
    retain_until: str | None,
) -> list[Exemplar]:
    """References to the pictures of --images and --benign, where they are to be recorded."""
    if not (origin or legal_basis or retain_until):
        return []
    if not (origin and legal_basis and pictures["images"]):
        raise click.UsageError("--origin and --legal-basis go together, and with --images.")
    from registry.versions.exemplars import Exemplar

    folders = [pictures[name] for name in ("images", "benign") if pictures[name]]
    hashes = sorted({digest for folder in folders for digest in _picture_hashes(folder)})
    return [Exemplar(digest, origin, legal_basis, retain_until) for digest in hashes]


def require_kept_alone(
    slugs: Sequence[str], ground: Sequence[str | None], pictures: Mapping[str, Any]
) -> None:
    """Refuse what says again, or otherwise, what is known of kept pictures.

    Args:
        slugs: The concepts to collect.
        ground: Origin, legal basis and time that were said; None for each that was not.
        pictures: Folders that were given, as "images" and "benign".
    """
    if len(slugs) > 1 or any(ground) or pictures["images"] or pictures["benign"]:
        raise click.UsageError(
            "--kept goes with one concept, and without --images, --benign and their ground."
        )


def kept_to_collect(
    app: App, registry: Registry, slug: str
) -> tuple[tuple[Sequence[Sample], Sequence[Sample]], list[Exemplar]]:
    """Read the kept pictures of a concept, those that show it and those that do not."""
    from console.evidence.given_pictures import kept_samples
    from registry.versions.exemplars import Exemplar

    found = kept_samples(registry, slug)
    if found.left_out:
        numbers = ", ".join(map(str, found.left_out))
        app.warn(
            f"Nothing is collected from pictures without a mask, which do not say where they show "
            f"{slug}: {numbers}."
        )
    ground = [Exemplar(p.sha256, p.origin, p.legal_basis, p.retain_until) for p in found.used]
    return (found.shown, found.benign), ground


def _picture_hashes(folder: Path) -> list[str]:
    from concepts.digest import sha256
    from concepts.files import read_bytes
    from uvr.anchors.pictures import picture_files

    if not folder.is_dir():
        raise NotFoundError(f"No folder of pictures at '{folder}'.")
    return [sha256(read_bytes(path)) for path, _ in picture_files(folder)]


def _exemplar_json(item: Any) -> dict[str, Any]:
    data = asdict(item)
    return {**data.pop("ref"), **data}
