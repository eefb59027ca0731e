"""Commands on concepts and their definitions."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from commands.app import App, pass_app
from commands.options import as_json, dry_run, expect_digest, version_argument
from commands.output import version_json, version_lines
from commands.reading import read_definition
from commands.table import Table

if TYPE_CHECKING:
    from concepts.definition import ConceptDefinition


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
    created = definition.slug not in {known.slug for known in registry.concepts()}
    info = registry.add_concept(definition, actor=app.actor, expect_digest=expect_digest)
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
    """List the registry's concepts.

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
    found = [asdict(info) for info in app.open().concepts()]
    columns = ("slug", "category", "latest_version", "name")
    app.show(found, [Table(columns, found, "No concepts yet: `uvr-registry add-concept`.")])


@click.command()
@version_argument
@click.option("--yaml", "as_yaml", is_flag=True, help="Print the definition, as a file has it.")
@click.option("--shipped", is_flag=True, help="Print a definition that ships with the project.")
@as_json
@pass_app
def show(app: App, version: tuple[str, int | None], as_yaml: bool, shipped: bool) -> None:
    """Show a concept's definition and versions, or one version's scoring.

    \b
    Examples:
      uvr-registry show testbed-pistol --json
      uvr-registry show testbed-pistol@2
      uvr-registry show --shipped pistol > my-character.yaml
    """
    slug, number = version
    if shipped or as_yaml:
        if number is not None:
            raise click.UsageError("--yaml and --shipped print a concept's definition: no @NUMBER.")
        from concepts.definition import dump_definition

        definition = read_definition(slug) if shipped else app.open().concept(slug).definition
        app.show(definition.to_dict(), dump_definition(definition).rstrip("\n").split("\n"))
        return
    detail = app.open().concept(slug)
    if number is not None:
        found = detail.version(number)
        app.show(version_json(found), version_lines(found))
        return
    definition, versions = detail.definition, [version_json(v) for v in detail.versions]
    lines: list[str | Table] = [f"{definition.slug} ({definition.category}): {definition.name}"]
    lines += [text for text in (definition.description, definition.scope) if text]
    lines += [f"prompts: {len(definition.prompts)}, near-misses: {len(definition.near_misses)}"]
    lines += [f"definition {definition.digest}"]
    columns = ("number", "state", "anchors", "counter_anchors", "created_by", "content_digest")
    lines.append(Table(columns, versions, "No versions yet: `uvr-registry collect-anchors`."))
    data = {"definition": definition.to_dict(), "definition_digest": definition.digest}
    app.show({**data, "versions": versions}, lines)


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
