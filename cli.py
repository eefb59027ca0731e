"""The command line ``uvr-registry``: parse, one library call, print.

Importing this module loads click alone; each command imports what it needs when it runs.

Exit codes: 0 done, 1 any other error, 2 wrong usage or a bad file, 3 not found, 4 conflict,
5 against the registry's rules, 6 corrupt or made for another model, 7 database schema, 8 busy,
9 a gate failed, 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import errno
import getpass
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from concepts.errors import NotFoundError, UVRError, VerificationError
from concepts.files import check_writable, write_file

if TYPE_CHECKING:
    from PIL import Image

    from concepts.bundle import Bundle
    from concepts.definition import ConceptDefinition
    from registry.info import VersionInfo
    from registry.registry import Registry
    from uvr.report import ConceptFinding

STOPPED = 130

as_json = click.option("--json", "json_output", is_flag=True, help="Print JSON.")
model_option = click.option(
    "--model",
    default="testbed",
    show_default=True,
    help="'testbed', a folder with a diffusers pipeline, or a repository of the hub.",
)
seed_option = click.option("--seed", type=int, default=0, show_default=True)
steps_option = click.option("--steps", type=click.IntRange(1), help="Inference steps.")
task_choice = click.Choice(["t2i", "edit"])


def _picture_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that `generate` and `edit` share."""
    options = (
        model_option,
        click.option("--bundle", "bundle_file", type=Path, help="Regulate with this bundle."),
        click.option("--out", type=Path, default=Path("picture.png"), show_default=True),
        click.option(
            "--report", type=Path, help="Where the report goes.  [default: OUT with .json]"
        ),
        click.option("--heat-map", type=Path, help="Also draw what matched, as a picture."),
        seed_option,
        steps_option,
        click.option("--height", type=click.IntRange(16), help="In pixels."),
        click.option("--width", type=click.IntRange(16), help="In pixels."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="uvr-registry")
@click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the registry.  [default: UVR_HOME or ~/.local/share/uvr]",
)
@click.option("--actor", envvar="UVR_ACTOR", help="Who acts, for the audit.  [default: you]")
@click.pass_context
def cli(context: click.Context, home: Path | None, actor: str | None) -> None:
    """Ban visual concepts from FLUX: define, collect, release, attach.

    \b
    Examples:
      uvr-registry init
      uvr-registry add-concept testbed-pistol
      uvr-registry collect-anchors testbed-pistol
      uvr-registry release policy --out policy.uvr
      uvr-registry generate "a pistol in the middle on a pink background" --bundle policy.uvr

    UVR_DATABASE_URL names a database other than the SQLite file in the registry's folder.
    """
    context.obj = {"home": home, "actor": actor}


@cli.command()
@click.pass_context
def init(context: click.Context) -> None:
    """Make a registry, or bring one to the newest schema.

    \b
    Examples:
      uvr-registry init
      UVR_DATABASE_URL=postgresql+psycopg://uvr@db/uvr uvr-registry --home /srv/uvr init
    """
    from registry.db import default_home
    from registry.registry import Registry

    home = context.obj["home"] or default_home()
    Registry.create(home)
    click.echo(f"Registry ready at {home}")


@cli.command("add-concept")
@click.argument("source", required=False)
@click.option("--slug", help="Define by flags instead of a file.")
@click.option("--name")
@click.option("--category", help="nudity, ip-character or object.")
@click.option("--description")
@click.option("--scope", help="What is covered and what is not.")
@click.option("--prompt", "prompts", multiple=True, help="Shows the concept; repeat it.")
@click.option("--near-miss", "near_misses", multiple=True, help="Looks alike; repeat it.")
@click.option("--benign", multiple=True, help="An ordinary prompt; repeat it.")
@click.option("--edit", "edits", multiple=True, help="An edit instruction; repeat it.")
@as_json
@click.pass_context
def add_concept(
    context: click.Context, /, source: str | None, json_output: bool, **fields: Any
) -> None:
    """Add a concept, or change the definition that its next version uses.

    SOURCE is a YAML file or the name of a definition that ships with the project.

    \b
    Examples:
      uvr-registry add-concept pistol
      uvr-registry add-concept my-character.yaml
      uvr-registry add-concept --slug red-kite --name "Red kite" --category object \\
        --description "A red kite" --prompt "a red kite" --near-miss "a blue kite"
    """
    given = {name: value for name, value in fields.items() if value}
    if (source is None) == (not given):
        raise click.UsageError("Give a YAML file or a shipped name, or flags such as --slug.")
    definition = _read_definition(source) if source else _definition_from_flags(given)
    info = _registry(context).add_concept(definition, actor=_actor(context))
    _print(asdict(info), json_output, [f"Added {info.slug} ({info.category}): {info.name}"])


@cli.command("concepts")
@click.option("--shipped", is_flag=True, help="Those that ship with the project, not added yet.")
@as_json
@click.pass_context
def list_concepts(context: click.Context, shipped: bool, json_output: bool) -> None:
    """List the registry's concepts.

    \b
    Examples:
      uvr-registry concepts
      uvr-registry concepts --shipped
    """
    if shipped:
        from concepts.definition import shipped_definitions

        slugs = shipped_definitions()
        _print(slugs, json_output, slugs)
        return
    found = [asdict(info) for info in _registry(context).concepts()]
    columns = ("slug", "category", "latest_version", "name")
    _print(found, json_output, _table(columns, found) if found else ["No concepts yet."])


@cli.command()
@click.argument("slug")
@as_json
@click.pass_context
def show(context: click.Context, slug: str, json_output: bool) -> None:
    """Show a concept's definition and versions.

    \b
    Example:
      uvr-registry show testbed-pistol --json
    """
    detail = _registry(context).concept(slug)
    definition, versions = detail.definition, [_version_json(v) for v in detail.versions]
    lines = [f"{definition.slug} ({definition.category}): {definition.name}"]
    lines += [text for text in (definition.description, definition.scope) if text]
    lines += [f"prompts: {len(definition.prompts)}, near-misses: {len(definition.near_misses)}"]
    columns = ("number", "state", "anchors", "counter_anchors", "created_by", "content_digest")
    lines += _table(columns, versions) if versions else ["No versions yet: collect anchors."]
    _print({"definition": definition.to_dict(), "versions": versions}, json_output, lines)


@cli.command("collect-anchors")
@click.argument("slugs", nargs=-1, required=True, metavar="SLUG...")
@model_option
@click.option(
    "--task",
    "tasks",
    multiple=True,
    type=task_choice,
    help="Repeat it for both.  [default: both on the testbed, else the model's own]",
)
@click.option("--images", type=Path, help="Folder of NAME.png with NAME.mask.png.")
@click.option("--benign", type=Path, help="Folder of pictures without the concept.")
@seed_option
@steps_option
@as_json
@click.pass_context
def collect_anchors(
    context: click.Context,
    /,
    slugs: tuple[str, ...],
    model: str,
    tasks: tuple[str, ...],
    json_output: bool,
    **source: Any,
) -> None:
    """Collect a concept's anchors and make a version of it.

    Without --images, the model draws the definition's prompts (text-to-image); for editing, the
    testbed brings labelled scenes of its own. Stopping half-way leaves the registry as it was; a
    concept whose version is refused does not hold up the others.

    \b
    Examples:
      uvr-registry collect-anchors testbed-pistol testbed-bomb
      uvr-registry collect-anchors mickey-mouse --model black-forest-labs/FLUX.1-Kontext-dev \\
        --images art/ --benign other-art/
    """
    from uvr.collection import Source, collect
    from uvr.pipelines import TESTBED, load_pipeline

    registry = _registry(context)
    definitions = {slug: registry.concept(slug).definition for slug in slugs}
    collections: dict[str, list[Any]] = {slug: [] for slug in definitions}
    for task in tasks or (("edit", "t2i") if model == TESTBED else (None,)):
        pipe, profile = load_pipeline(model, task)
        for slug, definition in definitions.items():
            with _progress(f"{slug} {profile.task}") as progress:
                found = collect(pipe, profile, definition, Source(**source), progress)
            collections[slug].append(found)
    versions: dict[str, VersionInfo] = {}
    refused: list[UVRError] = []
    for slug, collected in collections.items():
        digest = definitions[slug].digest
        try:
            versions[slug] = registry.add_version(
                slug, collected, actor=_actor(context), definition_digest=digest
            )
        except UVRError as error:  # collecting takes long: the other concepts' anchors are kept
            refused.append(error)
    if versions:
        lines = [
            f"{slug} version {version.number}: {version.anchors} anchors, "
            f"{version.counter_anchors} counter-anchors"
            for slug, version in versions.items()
        ]
        result = {slug: _version_json(version) for slug, version in versions.items()}
        _print(result, json_output, lines)
    if refused:
        raise type(refused[0])(" ".join(map(str, refused)))


@cli.command()
@click.argument("picture", type=Path)
@model_option
@click.option("--task", type=task_choice, help="[default: the model's own]")
@click.option("--prompt", default="", help="The picture's caption, or an edit instruction.")
@click.option("-k", "count", type=click.IntRange(1), default=10, show_default=True)
@seed_option
@as_json
@click.pass_context
def search(
    context: click.Context,
    picture: Path,
    model: str,
    task: str | None,
    prompt: str,
    count: int,
    seed: int,
    json_output: bool,
) -> None:
    """Find the anchors and concepts nearest to a picture.

    \b
    Example:
      uvr-registry search picture.png -k 5
    """
    from uvr.extract import Sample, anchor_space, capture_from_images
    from uvr.pictures import read_picture
    from uvr.pipelines import load_pipeline

    registry, sample = _registry(context), Sample(read_picture(picture), prompt=prompt)
    pipe, profile = load_pipeline(model, task)
    features = capture_from_images(pipe, profile, [sample], seed=seed)[0]
    hits = registry.search(anchor_space(pipe, profile, features.shape[1]), features, count)
    rows = sorted(
        ({"patch": patch, **asdict(hit)} for patch, found in enumerate(hits) for hit in found),
        key=lambda row: (-row["score"], row["slug"], row["anchor"], row["patch"]),
    )
    anchors = _first_of_each(rows, "slug", "version", "anchor")[:count]
    result = {"concepts": _first_of_each(rows, "slug"), "anchors": anchors}
    columns = ("slug", "version", "anchor", "patch", "score")
    lines = ["Concepts", *_table(columns, result["concepts"])]
    _print(result, json_output, [*lines, "Anchors", *_table(columns, result["anchors"])])


@cli.command()
@click.argument("bundle_name", metavar="BUNDLE")
@click.option("--concept", "slugs", multiple=True, help="Repeat it.  [default: all with anchors]")
@click.option("--out", type=Path, help="Also write the bundle to this file.")
@as_json
@click.pass_context
def release(
    context: click.Context,
    bundle_name: str,
    slugs: tuple[str, ...],
    out: Path | None,
    json_output: bool,
) -> None:
    """Release the latest versions of concepts as the next release of a bundle.

    \b
    Examples:
      uvr-registry release policy --out policy.uvr
      uvr-registry release weapons --concept pistol --concept knife --out weapons.uvr
    """
    if out is not None:
        check_writable(out)  # a release that is recorded stays
    registry = _registry(context)
    info = registry.release(bundle_name, list(slugs) or None, actor=_actor(context))
    lines = [f"Released {info.bundle} {info.sequence} with {len(info.members)} concepts"]
    if out is not None:
        try:
            lines.append(_write_bundle(registry.bundle(bundle_name, info.sequence), out))
        except OSError as error:
            raise UVRError(
                f"Release {info.sequence} of '{bundle_name}' is recorded, but '{out}' cannot be "
                f"written: {error.strerror or error}. Write it with `uvr-registry bundle export "
                f"{bundle_name} --sequence {info.sequence} --out FILE`."
            ) from error
    _print(asdict(info), json_output, lines)


@cli.group()
def bundle() -> None:
    """Look into bundle files, check them, write them again."""


@bundle.command("inspect")
@click.argument("file", type=Path)
@as_json
def bundle_inspect(file: Path, json_output: bool) -> None:
    """Show what a bundle holds, after checking it.

    \b
    Example:
      uvr-registry bundle inspect policy.uvr --json
    """
    from concepts.bundle import read_bundle
    from concepts.summary import bundle_summary

    found = read_bundle(file)
    summary = bundle_summary(found)
    lines = [f"{found.name} release {found.sequence}", f"digest {found.digest}"]
    for variant in summary["variants"]:
        space = variant["space"]
        lines.append(f"{space['model']} {space['task']} at {', '.join(space['taps'])}")
        columns = ("slug", "version", "mode", "rule", "seed_threshold", "grow_threshold")
        lines += _table(columns, variant["members"])
    _print(summary, json_output, lines)


@bundle.command("verify")
@click.argument("file", type=Path)
@click.option("--digest", help="Also require this digest.")
def bundle_verify(file: Path, digest: str | None) -> None:
    """Check every byte of a bundle; exit code 6 if anything is wrong.

    \b
    Example:
      uvr-registry bundle verify policy.uvr
    """
    from concepts.bundle import read_bundle

    found = read_bundle(file)
    if digest not in (None, found.digest):
        raise VerificationError(f"The digest of '{file}' is {found.digest}, expected {digest}.")
    click.echo(f"OK {found.name} release {found.sequence} {found.digest}")


@bundle.command("export")
@click.argument("bundle_name", metavar="BUNDLE")
@click.option("--sequence", type=click.IntRange(1), help="[default: the latest]")
@click.option("--out", type=Path, required=True)
@click.pass_context
def bundle_export(
    context: click.Context, bundle_name: str, sequence: int | None, out: Path
) -> None:
    """Write a release's bundle to a file; the same release always gives the same bytes.

    \b
    Example:
      uvr-registry bundle export policy --sequence 1 --out policy-1.uvr
    """
    click.echo(_write_bundle(_registry(context).bundle(bundle_name, sequence), out))


@cli.command()
@click.argument("prompt")
@_picture_options
def generate(prompt: str, **options: Any) -> None:
    """Generate a picture, with or without a bundle.

    \b
    Examples:
      uvr-registry generate "a bomb in the middle on a pink background" --out stock.png
      uvr-registry generate "a bomb in the middle on a pink background" \\
        --bundle policy.uvr --out regulated.png --heat-map heat.png
    """
    _draw("t2i", {"prompt": prompt}, **options)


@cli.command()
@click.argument("picture", type=Path)
@click.argument("instruction")
@_picture_options
def edit(picture: Path, instruction: str, **options: Any) -> None:
    """Edit a picture by an instruction, with or without a bundle.

    \b
    Example:
      uvr-registry edit stock.png "make the background gray" --bundle policy.uvr --out edited.png
    """
    from uvr.pictures import read_picture

    _draw("edit", {"prompt": instruction, "image": read_picture(picture)}, **options)


@cli.command()
@click.option("--out", type=Path, default=Path("demo"), show_default=True)
@seed_option
def demo(out: Path, seed: int) -> None:
    """Show everything on the testbed, in a temporary registry; writes OUT/sheet.png.

    \b
    Example:
      uvr-registry demo --out demo
    """
    import tempfile

    from concepts.bundle import write_bundle
    from uvr.evaluation.demo import run_demo

    with tempfile.TemporaryDirectory(prefix="uvr-demo-") as home:
        released = _demo_bundle(Path(home), seed)
    write_file(out / "demo.uvr", write_bundle(released))
    with _progress("Generate and edit") as progress:
        result = run_demo(released, out, progress)
    click.echo(result.table())
    click.echo(f"Pictures: {out / 'sheet.png'}")


def _demo_bundle(home: Path, seed: int) -> Bundle:
    from concepts.definition import load_shipped
    from registry.registry import Registry
    from uvr.collection import Source, collect
    from uvr.pipelines import TESTBED, load_pipeline
    from uvr.testbed.samples import CONCEPTS

    actor = "demo"
    registry = Registry.create(home, f"sqlite:///{home / 'registry.db'}")
    definitions = [load_shipped(slug) for slug in CONCEPTS]
    models = [load_pipeline(TESTBED, task) for task in ("t2i", "edit")]
    for definition in definitions:
        registry.add_concept(definition, actor=actor)
        found = []
        for pipe, profile in models:
            with _progress(f"Anchors of {definition.slug}, {profile.task}") as progress:
                found.append(collect(pipe, profile, definition, Source(seed=seed), progress))
        digest = definition.digest
        registry.add_version(definition.slug, found, actor=actor, definition_digest=digest)
    info = registry.release("demo", actor=actor)
    return registry.bundle("demo", info.sequence)


def _draw(
    task: str,
    request: dict[str, Any],
    *,
    model: str,
    bundle_file: Path | None,
    out: Path,
    report: Path | None,
    heat_map: Path | None,
    seed: int,
    steps: int | None,
    height: int | None,
    width: int | None,
) -> None:
    """Call a pipeline, regulated if there is a bundle, and write picture and report."""
    if bundle_file is None and (report or heat_map):
        raise click.UsageError("--report and --heat-map need --bundle.")
    from concepts.bundle import read_bundle

    released = read_bundle(bundle_file) if bundle_file else None  # before the slow imports
    from uvr.drawing import draw
    from uvr.pipelines import load_pipeline

    pipe, profile = load_pipeline(model, task)
    given = {"num_inference_steps": steps, "height": height, "width": width}
    request |= {name: value for name, value in given.items() if value is not None}
    with _progress("Drawing") as progress:
        image, found = draw(pipe, profile, request, seed=seed, bundle=released, progress=progress)
    _save_picture(image, out)
    click.echo(f"Wrote {out}")
    if found is None:
        return
    write_file(report or out.with_suffix(".json"), found.to_json().encode())
    if heat_map is not None:
        _save_picture(found.overlay(image, 0), heat_map)
    click.echo("\n".join(_outcome(found.images[0] if found.images else [])))


def _outcome(findings: Sequence[ConceptFinding]) -> list[str]:
    """What was found in a picture, in words; only what is enforced was regulated."""
    kinds = (("Found and regulated", True), ("Found and only observed", False))
    lines = []
    for label, enforced in kinds:
        slugs = [item.slug for item in findings if item.fired and item.enforced == enforced]
        if slugs:
            lines.append(f"{label}: {', '.join(slugs)}")
    return lines or ["Nothing banned was found."]


def _registry(context: click.Context) -> Registry:
    from registry.db import default_home
    from registry.registry import Registry

    return Registry.open(context.obj["home"] or default_home())


def _actor(context: click.Context) -> str:
    if context.obj["actor"]:
        return str(context.obj["actor"])
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a user entry
        return f"uid-{os.getuid()}"


def _read_definition(source: str) -> ConceptDefinition:
    from concepts.definition import load_definition, load_shipped

    path = Path(source)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return load_definition(path)
    try:
        return load_shipped(source)
    except NotFoundError as error:
        hint = "See `uvr-registry concepts --shipped`, or give a YAML file."
        raise NotFoundError(f"{error} {hint}") from error


def _version_json(version: VersionInfo) -> dict[str, Any]:
    totals = {"anchors": version.anchors, "counter_anchors": version.counter_anchors}
    return {**asdict(version), **totals}


def _definition_from_flags(fields: dict[str, Any]) -> ConceptDefinition:
    from concepts.definition import ConceptDefinition

    texts = {
        name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()
    }
    return ConceptDefinition.from_dict(texts)


def _write_bundle(released: Bundle, out: Path) -> str:
    from concepts.bundle import write_bundle

    data = write_bundle(released)
    write_file(out, data)
    return f"Wrote {out} ({len(data):,} bytes, digest {released.digest})"


def _save_picture(image: Image.Image, path: Path) -> None:
    import io

    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    write_file(path, buffer.getvalue())


def _print(data: Any, json_output: bool, lines: Iterable[str]) -> None:
    click.echo(json.dumps(data, indent=2, default=str) if json_output else "\n".join(lines))


def _first_of_each(rows: Iterable[dict[str, Any]], *columns: str) -> list[dict[str, Any]]:
    """The first row of each combination of values in some columns."""
    first: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        first.setdefault(tuple(row[column] for column in columns), row)
    return list(first.values())


def _table(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> list[str]:
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    table = [[column.replace("_", " ") for column in columns], *cells]
    widths = [max(len(line[i]) for line in table) for i in range(len(columns))]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in table]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


@contextmanager
def _progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Yield what reports progress, as (done, total), in a bar on stderr."""
    with ExitStack() as stack:
        bars: list[Any] = []

        def update(done: int, total: int) -> None:
            if not bars:
                bar = click.progressbar(length=total, label=label, file=sys.stderr)
                bars.append(stack.enter_context(bar))
            bars[0].update(done - bars[0].pos)

        yield update


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; each error is one line on stderr and an exit code."""
    try:
        code = cli.main(arguments, prog_name="uvr-registry", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = error.exit_code
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "uvr-registry"
        code = _fail(f"{error.format_message()} See `{path} --help`.", error.exit_code)
    except click.ClickException as error:
        code = _fail(error.format_message(), error.exit_code)
    except click.Abort:
        code = _fail("Stopped; what was under way is not recorded.", STOPPED)
    except UVRError as error:
        code = _fail(str(error), error.exit_code)
    except Exception as error:
        if os.environ.get("UVR_TRACEBACK"):
            raise
        code = _fail(_explain(error), 1)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> int:
    click.echo(f"Error: {message}", err=True)
    return code


def _explain(error: Exception) -> str:
    """One line for an error that is not the user's, or the disk's."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "The disk is full; what was under way is not recorded."
    if isinstance(error, OSError) and error.filename:
        return f"{error.strerror}: '{error.filename}'"
    first = next(iter(str(error).splitlines()), "")
    return f"internal, {type(error).__name__}: {first} (UVR_TRACEBACK=1 shows where)"


if __name__ == "__main__":
    main()
