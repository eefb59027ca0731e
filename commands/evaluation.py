"""Commands that show and measure what regulation does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.app import App, pass_app
from commands.measurement import Measurement, table_lines
from commands.options import (
    as_json,
    dry_run,
    engine_option,
    keys_option,
    progress_option,
    seed_option,
)
from commands.output import progress_bar
from commands.parameters import FILE, OUT_FOLDER, PATH, VERSION
from commands.reading import check_model, read_bundle_file, read_key_list, require_ray
from commands.recording import Recording, check_method, gated, read_gate_of, refuse_missed
from concepts.files import check_writable, write_file
from concepts.instant import now

if TYPE_CHECKING:
    from concepts.bundle import Bundle
    from uvr.evaluation.suites.suite import Suite


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


@click.command()
@click.argument("suite")
@click.option("--bundle", "bundle_file", type=FILE, help="Bundle for the methods that use one.")
@keys_option
@click.option("--out", type=OUT_FOLDER, default=Path("evaluation"), show_default=True)
@click.option("--method", "methods", multiple=True, help="Instead of the suite's; repeat it.")
@click.option("--attack", "attacks", multiple=True, help="Instead of the suite's; repeat it.")
@click.option("--count", type=click.IntRange(1), help="Cases a row.  [default: the suite's]")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="[default: the suite's]")
@click.option("--data", type=PATH, help="File or folder of data that the suite's cases come from.")
@click.option("--model", help="'testbed', a folder or a repository.  [default: the suite's]")
@click.option(
    "--pictures",
    type=click.IntRange(0),
    help="Cases that each section of report.html shows, at most.  [default: 36]",
)
@click.option(
    "--record",
    type=VERSION,
    metavar="SLUG[@NUMBER]",
    help="Measure this version alone, in place of a bundle, and record what it reaches.",
)
@click.option(
    "--gate",
    "gate_file",
    type=FILE,
    help="Bars to reach, else exit code 9.  [default with --record: the policy's gate]",
)
@engine_option
@progress_option
@dry_run
@as_json
@pass_app
def evaluate(
    app: App,
    /,
    suite: str,
    bundle_file: Path | None,
    keys_file: Path | None,
    out: Path,
    methods: tuple[str, ...],
    attacks: tuple[str, ...],
    count: int | None,
    seed: int | None,
    data: Path | None,
    model: str | None,
    pictures: int | None,
    record: tuple[str, int | None] | None,
    gate_file: Path | None,
    engine: tuple[str, str | None],
    progress_form: str,
) -> None:
    """Measure methods on a suite: what they erase, what they leave alone, who gets around them.

    SUITE is the name of a shipped one or a YAML file. Pictures and raw scores stay in OUT, and a
    run that was stopped goes on there; OUT/report.json has every count, and OUT/report.html shows
    them with pictures.

    A suite of a published data set, such as i2p, reads it from --data: its file, or the folder
    with it.

    With --engine ray a cluster draws the pictures, the same to the bit where it has the same
    devices and versions; one is started on this machine where no address is given. This process
    loads the model too, and judges.

    With --record a version, a draft too, is measured alone, and its counts are kept with its
    content's digest: `show`, `diff` and `approve` tell them, and an edit loses them. With --dry-run
    nothing is recorded.

    \b
    Examples:
      uvr-registry evaluate testbed-quick --bundle demo/demo.uvr --out evaluation
      uvr-registry evaluate testbed-attacks --bundle policy.uvr --engine ray=10.0.0.7:6379
      uvr-registry evaluate testbed-quick --record testbed-pistol@2 --method ours --gate gate.yaml
      uvr-registry evaluate i2p --data i2p_benchmark.csv --bundle policy.uvr --out evaluation-i2p
    """
    check_writable(out / "report.json")
    if model is not None:
        check_model(model)
    if engine[0] == "ray":
        require_ray()
    if record is not None and bundle_file is not None:
        raise click.UsageError("--record measures a version alone: leave --bundle out.")
    gate = read_gate_of(gate_file)
    recording = None if record is None else Recording.begin(app, *record, gate)
    released = None if recording is None else recording.bundle()
    if bundle_file is not None:
        released = read_bundle_file(bundle_file, read_key_list(keys_file), now())
    asked_suite = _suite(suite, methods, attacks, bundle=released)
    definitions = asked_suite.definitions
    if recording is not None:
        recording.check(asked_suite)
        definitions = tuple(d for d in definitions if d.slug == recording.version.slug)
    elif gate is not None:
        check_method(asked_suite, gate.method)
    from uvr.evaluation.suites.source import Asked

    asked = Asked(definitions, asked_suite.seed if seed is None else seed, count, data)
    report, digest = Measurement(model, engine, out, pictures, progress_form).run(
        asked_suite, asked, released
    )
    lines = table_lines(report, out)
    missed: list[str] = []
    if recording is not None:
        report["recorded"], said, missed = recording.keep(app, report, digest)
        lines += said
    elif gate is not None:
        missed = gated(gate, report, digest, released)
    app.show(report, lines)
    refuse_missed(missed)


def _suite(
    name: str, methods: tuple[str, ...], attacks: tuple[str, ...], *, bundle: Bundle | None
) -> Suite:
    """The suite, with other methods and attacks where they were named."""
    from uvr.evaluation.suites.suite import load_suite

    suite = load_suite(name).narrowed(methods, attacks)
    needing = [method.name for method in suite.methods if method.uses_bundle]
    if bundle is None and needing:
        raise click.UsageError(
            f"{', '.join(needing)} needs a bundle: give --bundle, or --method without one."
        )
    return suite


def _demo_bundle(home: Path, seed: int) -> Bundle:
    from concepts.definition import load_shipped
    from concepts.words import TASKS
    from registry.registry import Registry
    from uvr.anchors.collection import collect_all
    from uvr.anchors.exemplars import Exemplars
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
