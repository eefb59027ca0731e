"""Commands that show and measure what regulation does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.options import seed_option
from commands.output import progress_bar
from commands.parameters import OUT_FOLDER
from concepts.files import check_writable, write_file

if TYPE_CHECKING:
    from concepts.bundle import Bundle


@click.command()
@click.option("--out", type=OUT_FOLDER, default=Path("demo"), show_default=True)
@seed_option
def demo(out: Path, seed: int) -> None:
    """Show everything on the testbed, in a temporary registry; writes OUT/sheet.png.

    \b
    Example:
      uvr-registry demo --out demo
    """
    check_writable(out / "demo.uvr")
    import tempfile

    from concepts.bundle import write_bundle
    from uvr.evaluation.demo import run_demo

    with tempfile.TemporaryDirectory(prefix="uvr-demo-") as home:
        released = _demo_bundle(Path(home), seed)
    write_file(out / "demo.uvr", write_bundle(released))
    with progress_bar("Generate and edit") as progress:
        result = run_demo(released, out, progress)
    click.echo(result.table())
    click.echo(f"Pictures: {out / 'sheet.png'}")


def _demo_bundle(home: Path, seed: int) -> Bundle:
    from concepts.definition import load_shipped
    from concepts.words import TASKS
    from registry.registry import Registry
    from uvr.anchors.collection import Exemplars, collect_all
    from uvr.testbed.samples import CONCEPTS

    actor = "demo"
    registry = Registry.create(home, f"sqlite:///{home / 'registry.db'}")
    definitions = [load_shipped(slug) for slug in CONCEPTS]
    collected = collect_all(definitions, Exemplars(seed=seed), tasks=TASKS, progress=progress_bar)
    for definition in definitions:
        outcome = collected[definition.slug]
        if outcome.problem is not None:
            raise outcome.problem
        registry.concepts.add(definition, actor=actor)
        registry.versions.add(
            definition.slug, outcome.collections, actor=actor, definition_digest=definition.digest
        )
    info = registry.releases.add("demo", actor=actor)
    return registry.releases.bundle("demo", info.sequence)
