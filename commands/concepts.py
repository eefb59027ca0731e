"""Commands on concepts and their definitions."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from commands.app import App, pass_app
from commands.measured_words import measured_lines
from commands.options import as_json, dry_run, expect_digest, version_argument
from commands.output import detail_json, detail_lines, place_name, version_json
from commands.reading import read_definition
from commands.table import Table
from commands.text import mode_words, threshold_words
from concepts.instant import now

if TYPE_CHECKING:
    from concepts.definition import ConceptDefinition
    from registry.answers import ConceptStanding


@click.command("add-concept")
@click.argument("source", required=False)
@click.option("--slug", help="Define by flags instead of a file.")
@click.option("--name")
@click.option("--category", help="nudity, ip-character or object.")
@click.option("--description")
@click.option("--scope", help="What is covered and what is not.")
@click.option("--prompt", "prompts", multiple=True, help="Shows the concept; repeat it.")
@click.option(
    "--near-miss", "near_misses", multiple=True, help="Looks alike, is allowed; repeat it."
)
@click.option("--benign", multiple=True, help="An ordinary prompt; repeat it.")
@click.option("--edit", "edits", multiple=True, help="An edit instruction; repeat it.")
@expect_digest
@dry_run
@as_json
@pass_app
def add_concept(app: App, /, source: str | None, expect_digest: str | None, **fields: Any) -> None:
    """Add a concept, or change the definition that its next version uses.

    SOURCE is a YAML file or the name of a definition that ships with the project. A file has the
    fields of the flags below; `show --shipped pistol` prints one to begin with. Required are slug,
    name, category, description, prompts and near_misses.

    \b
    Examples:
      uvr-registry add-concept testbed-pistol
      uvr-registry show --shipped pistol > my-character.yaml
      uvr-registry add-concept my-character.yaml
      uvr-registry add-concept --slug red-kite --name "Red kite" --category object \\
        --description "A red kite" --prompt "a red kite" --near-miss "a blue kite"
    """
    given = {name: value for name, value in fields.items() if value}
    if (source is None) == (not given):
        raise click.UsageError("Give a YAML file or a shipped name, or flags such as --slug.")
    definition = read_definition(source) if source else _definition_from_flags(given)
    registry = app.open()
    created = definition.slug not in {known.slug for known in registry.concepts.list()}
    info = registry.concepts.add(definition, actor=app.actor, expect_digest=expect_digest)
    data = {**asdict(info), "definition_digest": definition.digest, "created": created}
    verb = "Added" if created else "Changed"
    app.show(data, [f"{verb} {info.slug} ({info.category}): {info.name}"])
    if not created and info.latest_version:
        app.hint(f"Version {info.latest_version} keeps the definition that it was made with.")
    app.hint(f"Next: uvr-registry collect-anchors {info.slug}")


@click.command("concepts")
@click.option("--shipped", is_flag=True, help="Those that ship with the project, not added yet.")
@as_json
@pass_app
def list_concepts(app: App, shipped: bool) -> None:
    """List the registry's concepts: their newest version, and what is live in which channel.

    Mode and threshold of what is live are those of its release; JSON has names and categories too.

    \b
    Examples:
      uvr-registry concepts
      uvr-registry concepts --shipped
    """
    if shipped:
        from concepts.definition import shipped_definitions

        slugs = shipped_definitions()
        app.show(slugs, slugs)
        return
    found = app.open().concepts.standings()
    rows = [row for standing in found for row in standing_rows(standing)]
    columns = ("slug", "version", "state", "mode", "threshold", "live")
    empty = "No concepts yet: `uvr-registry add-concept`."
    app.show(list(map(asdict, found)), [Table(columns, rows, empty)])


@click.command()
@version_argument
@click.option("--yaml", "as_yaml", is_flag=True, help="Print the definition, as a file has it.")
@click.option("--shipped", is_flag=True, help="Print a definition that ships with the project.")
@as_json
@pass_app
def show(app: App, version: tuple[str, int | None], as_yaml: bool, shipped: bool) -> None:
    """Show a concept's definition and versions, or one version with its own definition.

    \b
    Examples:
      uvr-registry show testbed-pistol --json
      uvr-registry show testbed-pistol@2
      uvr-registry show testbed-pistol@2 --yaml
      uvr-registry show --shipped pistol > my-character.yaml
    """
    slug, number = version
    if shipped:
        if number is not None:
            raise click.UsageError("What ships with the project has no versions: no @NUMBER.")
        _show_definition(app, read_definition(slug))
        return
    registry = app.open()
    if number is not None:
        found = registry.versions.detail(slug, number)
        if as_yaml:
            _show_definition(app, found.definition)
        else:
            app.show(detail_json(found), detail_lines(found))
        return
    detail = registry.concepts.get(slug)
    if as_yaml:
        _show_definition(app, detail.definition)
        return
    definition, versions = detail.definition, [version_json(v) for v in detail.versions]
    lines: list[str | Table] = [f"{definition.slug} ({definition.category}): {definition.name}"]
    lines += [text for text in (definition.description, definition.scope) if text]
    lines += [f"prompts: {len(definition.prompts)}, near-misses: {len(definition.near_misses)}"]
    lines += [f"definition {definition.digest}"]
    columns = ("number", "state", "anchors", "counter_anchors", "created_by", "content_digest")
    lines.append(Table(columns, versions, "No versions yet: `uvr-registry collect-anchors`."))
    lines += [
        f"version {newest.number}, {place_name(item)}: {line}"
        for newest in detail.versions[-1:]
        for item in newest.spaces
        for line in measured_lines(item.calibration)
    ]
    data = {"definition": definition.to_dict(), "definition_digest": definition.digest}
    app.show({**data, "versions": versions}, lines)


def _show_definition(app: App, definition: ConceptDefinition) -> None:
    from concepts.definition import dump_definition

    app.show(definition.to_dict(), dump_definition(definition).rstrip("\n").split("\n"))


def standing_rows(standing: ConceptStanding) -> list[dict[str, Any]]:
    """A row for each version that is live, as it is there, and one for a newest that is not."""
    at, channels = now(), dict[tuple[Any, ...], list[str]]()
    for place in standing.live:
        mode = mode_words(place.mode, place.disabled_until, at)
        row = (place.version, place.state, mode, threshold_words(place.thresholds))
        channels.setdefault(row, []).append(place.channel)
    if standing.latest_version not in {place.version for place in standing.live}:
        own = threshold_words(standing.thresholds)
        channels[standing.latest_version, standing.state, None, own] = []
    columns = ("version", "state", "mode", "threshold")
    return [
        {"slug": standing.slug, **dict(zip(columns, row, strict=True)), "live": names}
        for row, names in channels.items()
    ]


def _definition_from_flags(fields: dict[str, Any]) -> ConceptDefinition:
    from concepts.definition import ConceptDefinition
    from concepts.fields import REQUIRED

    flags = {"prompts": "prompt", "near_misses": "near-miss"}
    missing = [f"--{flags.get(name, name)}" for name in REQUIRED if name not in fields]
    if missing:
        raise click.UsageError(f"A definition also needs {', '.join(missing)}.")
    texts = {
        name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()
    }
    return ConceptDefinition.from_dict(texts)
