"""The command line ``uvr-registry``: parse, one library call, print.

Importing this module loads click alone; each command imports what it needs when it runs. From top
to bottom: what commands share, the commands in the order of ``SECTIONS``, then how they read,
ask and print.

Exit codes: 0 done, 1 any other error, 2 wrong usage or a bad file, 3 not found, 4 conflict,
5 against the registry's rules, 6 corrupt or made for another model, 7 database schema, 8 busy,
9 a gate failed, 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import errno
import getpass
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from click.shell_completion import CompletionItem, get_completion_class

from concepts.errors import NotFoundError, UVRError, VerificationError
from concepts.files import check_writable, write_file
from concepts.instant import now, parse_instant
from concepts.words import INDEX_KINDS, MODES, ROLES, TASKS

if TYPE_CHECKING:
    from PIL import Image

    from concepts.bundle import Bundle
    from concepts.definition import ConceptDefinition
    from concepts.signing.keys import KeyList, PrivateKey
    from registry.answers import ReleaseInfo, VersionInfo
    from registry.registry import Registry
    from registry.releases.gaps import Gap
    from registry.versions.exemplars import SourceRef
    from uvr.report import ConceptFinding

    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType

STOPPED = 130
OVERLAP = 0.05  # the share of near anchors from which two concepts are worth a word
LARGEST = 2**31 - 1  # that both databases' integers hold
# Control characters, bidirectional overrides, and halves of surrogate pairs.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_DIGEST = re.compile("[0-9a-f]{64}")
SECTIONS = {
    "Concepts": (
        "init", "add-concept", "concepts", "show", "collect-anchors", "edit-version", "diff",
        "search", "prototypes", "attribute", "sources",
    ),
    "Review": ("submit", "approve", "reject", "deprecate", "revoke", "reviews", "log"),
    "Releases": ("release", "rollback", "releases", "sign", "channel", "live", "bundle", "pull"),
    "Pictures": ("generate", "edit", "demo"),
    "Team": ("actor", "policy", "key", "audit"),
    "Operations": (
        "doctor", "gc", "backup", "restore", "export-concept", "import-concept", "index",
        "completion",
    ),
}  # fmt: skip


@dataclass
class App:
    """What the options before the command, and those that commands share, say."""

    home: Path | None = None
    named_actor: str | None = None
    json: bool = False
    dry_run: bool = False
    yes: bool = False

    @property
    def actor(self) -> str:
        """Who acts: the one named, else the system's user."""
        if self.named_actor:
            return self.named_actor
        try:
            return getpass.getuser()
        except (KeyError, OSError):  # a container without a user entry
            return f"uid-{os.getuid()}"

    def folder(self) -> Path:
        """Return the registry's folder."""
        from registry.store.db import default_home

        return self.home or default_home()

    def open(self) -> Registry:
        """Open the registry."""
        from registry.registry import Registry

        return Registry.open(self.folder(), dry_run=self.dry_run)

    def show(self, data: Any, lines: Iterable[str]) -> None:
        """Print the result as JSON or as lines."""
        click.echo(
            json.dumps(data, indent=2, default=str)
            if self.json
            else "\n".join(map(_printable, lines))
        )
        if self.dry_run:
            click.echo("Dry run: nothing was changed.", err=True)

    def warn(self, text: str) -> None:
        """Say what went well, and may still not be what was meant."""
        click.echo(f"Warning: {_printable(text)}", err=True)

    def hint(self, text: str) -> None:
        """Say what usually comes next, to a person."""
        if sys.stderr.isatty() and not self.json:
            click.echo(_printable(text), err=True)

    def confirm(self, question: str, instead: str = "--yes") -> None:
        """Ask before what cannot be undone; without a terminal an option must answer."""
        if self.yes or self.dry_run:
            return
        if not sys.stdin.isatty():
            raise click.UsageError(f"{question} There is no terminal to ask on: give {instead}.")
        click.confirm(question, abort=True, err=True)


pass_app = click.make_pass_decorator(App)


class Sections(click.Group):
    """The group of all commands, whose help lists them by what they are for."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each section's commands with their short help."""
        for title, names in SECTIONS.items():
            rows = [(name, self.commands[name].get_short_help_str(200)) for name in names]
            with formatter.section(title):
                formatter.write_dl(rows)


class Named(ParamType):
    """The name of something in the registry, which the shell completes."""

    def __init__(self, name: str, names: Callable[[Registry], Iterable[str]]) -> None:
        self.name = name
        self._names = names

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names that begin like this; none when the registry cannot be read."""
        try:
            found = self._names(App(ctx.find_root().params.get("home")).open())
            return [CompletionItem(name) for name in found if name.startswith(incomplete)]
        except UVRError:
            return []


def _slugs(registry: Registry) -> list[str]:
    return [info.slug for info in registry.concepts()]


class VersionName(Named):
    """``SLUG`` or ``SLUG@NUMBER``; gives both, the number None where there is none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int | None]:
        """Split the slug from the number."""
        slug, at, number = str(value).partition("@")
        if at and not re.fullmatch("[1-9][0-9]{0,8}", number):
            self.fail(f"'{value}' is neither SLUG nor SLUG@NUMBER.", param, ctx)
        return slug, int(number) if at else None


class Instant(ParamType):
    """An instant, a date, or a time from now; gives the instant."""

    name = "instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Parse the text."""
        try:
            return parse_instant(str(value))
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


class Pair(ParamType):
    """``NAME=VALUE``; gives both."""

    def __init__(self, name: str, value: ParamType) -> None:
        self.name = name
        self._value = value

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        """Split the name from the value."""
        name, equals, text = str(value).partition("=")
        if not (name and equals):
            self.fail(f"'{value}' is not {self.name}.", param, ctx)
        return name, self._value.convert(text, param, ctx)


class Threshold(ParamType):
    """A number, or "none" for the scorer's own."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | None:
        """Parse the text."""
        if value == "none":
            return None
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if not abs(number) < float("inf"):
            self.fail(f"'{value}' is neither a number nor 'none'.", param, ctx)
        return number


class PathName(click.Path):
    """A path; the empty one, such as an unset variable of a script, is a mistake."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check that it names something."""
        if not os.fspath(value):
            self.fail("the path is empty.", param, ctx)
        return super().convert(value, param, ctx)


SLUG = Named("slug", _slugs)
VERSION = VersionName("slug", _slugs)
BUNDLE = Named("bundle", lambda registry: {info.bundle for info in registry.releases()})
CHANNEL = Named("channel", lambda registry: [info.name for info in registry.channels.list()])
NUMBER = click.IntRange(1, LARGEST)
SIDE = click.IntRange(16, 8192)
PATH = PathName(path_type=Path)
FILE = PathName(dir_okay=False, path_type=Path)


def _shared(name: str, field: str, text: str) -> Callable[..., Any]:
    """Return a flag that ``App`` remembers, so that commands need no parameter for it."""

    def remember(context: click.Context, _option: click.Parameter, value: bool) -> None:
        if value and context.obj is not None:  # None while the shell completes
            setattr(context.obj, field, True)

    return click.option(name, is_flag=True, expose_value=False, callback=remember, help=text)


as_json = _shared("--json", "json", "Print JSON.")
dry_run = _shared("--dry-run", "dry_run", "Do it, roll it back, and say what would be.")
yes = _shared("--yes", "yes", "Do not ask.")
version_argument = click.argument("version", type=VERSION, metavar="SLUG[@NUMBER]")
expect_digest = click.option(
    "--expect-digest", metavar="SHA256", help="Refuse unless what is there now has this digest."
)
sequence_option = click.option("--sequence", type=NUMBER, help="[default: the latest]")
key_option = click.option(
    "--key", "key_files", type=FILE, multiple=True, help="Private key that signs; repeat it."
)
keys_option = click.option(
    "--keys", "keys_file", type=FILE, help="Key list that must have signed: `key export`."
)
allow_shrink_option = click.option(
    "--allow-shrink", is_flag=True, help="Let it enforce fewer concepts than the one before."
)
expires_option = click.option(
    "--expires", type=Instant(), metavar="WHEN", help="When engines begin to refuse it, as 30d."
)
reason_option = click.option("--reason", default="", help="Why, for the record.")
reason_required = click.option("--reason", required=True, help="Why, for the record.")
model_option = click.option(
    "--model",
    default="testbed",
    show_default=True,
    help="'testbed', a folder with a diffusers pipeline, or a repository of the hub.",
)
seed_option = click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True
)
steps_option = click.option("--steps", type=click.IntRange(1, 1000), help="Inference steps.")
task_choice = click.Choice(TASKS)


def _picture_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that `generate` and `edit` share."""
    options = (
        model_option,
        click.option("--bundle", "bundle_file", type=PATH, help="Regulate with this bundle."),
        keys_option,
        click.option("--out", type=PATH, default=Path("picture.png"), show_default=True),
        click.option(
            "--report", type=PATH, help="Where the report goes.  [default: OUT with .json]"
        ),
        click.option("--heat-map", type=PATH, help="Also draw what matched, as a picture."),
        seed_option,
        steps_option,
        click.option("--height", type=SIDE, help="In pixels; a multiple of the model's patch."),
        click.option("--width", type=SIDE, help="In pixels; a multiple of the model's patch."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group(cls=Sections, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="uvr-registry")
@click.option(
    "--home",
    type=PathName(file_okay=False, path_type=Path),
    help="Folder of the registry.  [default: UVR_HOME or ~/.local/share/uvr]",
)
@click.option("--actor", envvar="UVR_ACTOR", help="Who acts, for the audit.  [default: you]")
@click.pass_context
def cli(context: click.Context, home: Path | None, actor: str | None) -> None:
    """Ban visual concepts from FLUX: define, collect, review, release, attach.

    \b
    Examples:
      uvr-registry init
      uvr-registry add-concept testbed-pistol
      uvr-registry collect-anchors testbed-pistol
      uvr-registry release policy --out policy.uvr
      uvr-registry generate "a pistol in the middle on a pink background" --bundle policy.uvr

    UVR_DATABASE_URL names a database other than the SQLite file in the registry's folder.
    """
    context.obj = App(home, actor)


# Concepts


@cli.command()
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
    _show_ready(app, Registry.create(home))
    app.hint("Next: uvr-registry add-concept; `concepts --shipped` lists those to begin with.")


@cli.command("add-concept")
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
    definition = _read_definition(source) if source else _definition_from_flags(given)
    registry = app.open()
    created = definition.slug not in {known.slug for known in registry.concepts()}
    info = registry.add_concept(definition, actor=app.actor, expect_digest=expect_digest)
    data = {**asdict(info), "definition_digest": definition.digest, "created": created}
    verb = "Added" if created else "Changed"
    app.show(data, [f"{verb} {info.slug} ({info.category}): {info.name}"])
    if not created and info.latest_version:
        app.hint(f"Version {info.latest_version} keeps the definition that it was made with.")
    app.hint(f"Next: uvr-registry collect-anchors {info.slug}")


@cli.command("concepts")
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
    app.show(found, _table(columns, found, "No concepts yet: `uvr-registry add-concept`."))


@cli.command()
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
        text = _read_definition(slug) if shipped else app.open().concept(slug).definition
        app.show(text.to_dict(), _yaml(text).split("\n"))
        return
    detail = app.open().concept(slug)
    if number is not None:
        found = next((item for item in detail.versions if item.number == number), None)
        if found is None:
            raise NotFoundError(f"No version {number} of '{slug}': see `uvr-registry show {slug}`.")
        app.show(_version_json(found), _version_lines(found))
        return
    definition, versions = detail.definition, [_version_json(v) for v in detail.versions]
    lines = [f"{definition.slug} ({definition.category}): {definition.name}"]
    lines += [text for text in (definition.description, definition.scope) if text]
    lines += [f"prompts: {len(definition.prompts)}, near-misses: {len(definition.near_misses)}"]
    lines += [f"definition {definition.digest}"]
    columns = ("number", "state", "anchors", "counter_anchors", "created_by", "content_digest")
    lines += _table(columns, versions, "No versions yet: `uvr-registry collect-anchors`.")
    data = {"definition": definition.to_dict(), "definition_digest": definition.digest}
    app.show({**data, "versions": versions}, lines)


@cli.command("collect-anchors")
@click.argument("slugs", nargs=-1, required=True, type=SLUG, metavar="SLUG...")
@model_option
@click.option(
    "--task",
    "tasks",
    multiple=True,
    type=task_choice,
    help="Repeat it for both.  [default: both on the testbed, else the model's own]",
)
@click.option("--images", type=PATH, help="Folder of NAME.png with NAME.mask.png.")
@click.option("--benign", type=PATH, help="Folder of pictures without the concept.")
@click.option("--origin", help="Where the pictures of --images and --benign come from.")
@click.option("--legal-basis", help="Why they may be used, such as a licence.")
@click.option("--retain-until", type=Instant(), metavar="WHEN", help="When to forget them.")
@click.option(
    "--prototypes",
    type=click.IntRange(1, 64),
    help="Directions that stand for the anchors.  [default: the definition's, or 1]",
)
@seed_option
@steps_option
@dry_run
@as_json
@pass_app
def collect_anchors(
    app: App,
    /,
    slugs: tuple[str, ...],
    model: str,
    tasks: tuple[str, ...],
    origin: str | None,
    legal_basis: str | None,
    retain_until: str | None,
    prototypes: int | None,
    **source: Any,
) -> None:
    """Collect a concept's anchors and make a version of it, a draft.

    Without --images, the model draws the definition's prompts (text-to-image); for editing, the
    testbed brings labelled scenes of its own concepts, named testbed-...; it draws nothing else.
    Stopping half-way leaves the registry as it was; a concept that cannot be collected does not
    hold up the others. Pictures are never stored: with --origin and --legal-basis their hashes
    are, until `sources forget`.

    \b
    Examples:
      uvr-registry collect-anchors testbed-pistol testbed-bomb
      uvr-registry collect-anchors mickey-mouse --model black-forest-labs/FLUX.1-Kontext-dev \\
        --images art/ --benign other-art/ --origin "art archive 12" --legal-basis "licence 7"
    """
    sources = _source_refs(source, origin, legal_basis, retain_until)
    from uvr.anchors.pictures import PictureError

    registry = app.open()
    definitions = {slug: registry.concept(slug).definition for slug in slugs}
    collections, failed = _collect(definitions, model, tasks, prototypes, source)
    versions: dict[str, VersionInfo] = {}
    refused: list[UVRError] = []
    for slug, collected in collections.items():
        digest, problem = definitions[slug].digest, failed.get(slug)
        # Without --task whatever pictures allow is collected; anything else is the concept's fault.
        if problem is not None and (tasks or not collected or type(problem) is not PictureError):
            refused.append(problem)
            continue
        if problem is not None:
            app.warn(f"{slug} has no new anchors for one of the tasks. {problem}")
        try:
            _warn_of_overlaps(app, registry, slug, collected)
            versions[slug] = registry.add_version(
                slug, collected, actor=app.actor, definition_digest=digest, sources=sources
            )
        except UVRError as error:
            refused.append(error)
    if versions:
        lines = [
            f"{slug} version {version.number}: {version.anchors} anchors, "
            f"{version.counter_anchors} counter-anchors"
            for slug, version in versions.items()
        ]
        app.show({slug: _version_json(version) for slug, version in versions.items()}, lines)
        app.hint(f"Next: uvr-registry submit {next(iter(versions))}, or release at once.")
    if refused:
        raise type(refused[0])(" ".join(map(str, refused)))


@cli.command("edit-version")
@version_argument
@click.option("--definition", metavar="SOURCE", help="YAML file, or a shipped name.")
@click.option(
    "--threshold",
    "thresholds",
    type=(str, float, float),
    multiple=True,
    metavar="TASK SEED GROW",
    help="Thresholds for t2i, edit or one anchor space's digest; repeat it.",
)
@expect_digest
@dry_run
@as_json
@pass_app
def edit_version(
    app: App,
    version: tuple[str, int | None],
    definition: str | None,
    thresholds: tuple[tuple[str, float, float], ...],
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
    reviewed = {item.version for item in registry.review.requests() if item.slug == version[0]}
    changed = registry.review.edit(
        *version,
        actor=app.actor,
        definition=None if definition is None else _read_definition(definition),
        thresholds={task: (seed, grow) for task, seed, grow in thresholds},
        expect_digest=expect_digest,
    )
    app.show(_version_json(changed), _version_lines(changed))
    if changed.number in reviewed:
        app.warn("it was in review: approvals given so far no longer count. Submit it again.")


@cli.command()
@click.argument("slug", type=SLUG)
@click.argument("before", type=NUMBER)
@click.argument("after", type=NUMBER)
@as_json
@pass_app
def diff(app: App, slug: str, before: int, after: int) -> None:
    """Show what changed between two versions: definition, thresholds, anchors.

    \b
    Example:
      uvr-registry diff testbed-pistol 1 2
    """
    from registry.versions.diff import diff_versions

    found = diff_versions(app.open(), slug, before, after).to_dict()
    app.show(found, _diff_lines(found))


@cli.command()
@click.argument("picture", type=PATH)
@model_option
@click.option("--task", type=task_choice, help="[default: the model's own]")
@click.option("--prompt", default="", help="The picture's caption, or an edit instruction.")
@click.option("-k", "count", type=NUMBER, default=10, show_default=True)
@seed_option
@as_json
@pass_app
def search(
    app: App, picture: Path, model: str, task: str | None, prompt: str, count: int, seed: int
) -> None:
    """Find the anchors and concepts nearest to a picture.

    \b
    Example:
      uvr-registry search picture.png -k 5
    """
    from uvr.anchors.extract import Sample, anchor_space, capture_from_images
    from uvr.anchors.pictures import read_picture
    from uvr.pipelines import load_pipeline

    registry, sample = app.open(), Sample(read_picture(picture), prompt=prompt)
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
    app.show(result, [*lines, "Anchors", *_table(columns, result["anchors"])])


@cli.command()
@version_argument
@click.option("-k", "count", type=NUMBER, default=4, show_default=True)
@seed_option
@as_json
@pass_app
def prototypes(app: App, version: tuple[str, int | None], count: int, seed: int) -> None:
    """Group a version's anchors by k-means, to see how many looks a concept has.

    \b
    Example:
      uvr-registry prototypes testbed-pistol -k 3
    """
    from concepts.prototypes import WITHIN_SHARE
    from concepts.prototypes import prototypes as grouped

    registry = app.open()
    chosen = _version(registry, *version)
    parameters = registry.concept(chosen.slug).definition.parameters
    share = parameters.get("within_share", WITHIN_SHARE)
    rows = []
    for space in chosen.spaces:
        held = registry.anchor_set(chosen.slug, space.digest, chosen.number)
        found = grouped(held, count, within_share=share, seed=seed)
        rows += [
            {
                "model": space.space.model, "task": space.space.task, "prototype": number,
                "anchors": len(item.rows), "share": len(item.rows) / len(held.anchors),
                "nearest": item.nearest,
            }
            for number, item in enumerate(found)
        ]  # fmt: skip
    app.show(rows, _table(("model", "task", "prototype", "anchors", "share", "nearest"), rows))


@cli.command()
@click.argument("report", type=FILE)
@click.option("-k", "count", type=NUMBER, default=3, show_default=True)
@as_json
@pass_app
def attribute(app: App, report: Path, count: int) -> None:
    """Name the anchors that are nearest to what fired, from a report of `generate` or `edit`.

    \b
    Example:
      uvr-registry attribute picture.json
    """
    space, fired = _fired_features(report)
    registry = app.open()
    rows = []
    for item in fired:
        slug, version = item["slug"], item["version"]
        hits = registry.search(space, item["feature"][None], count, slug=slug, version=version)[0]
        rows += [{"picture": item["picture"], "mode": item["mode"], **asdict(hit)} for hit in hits]
    columns = ("picture", "slug", "version", "mode", "anchor", "score")
    app.show(rows, _table(columns, rows, "Nothing fired in this report."))


@cli.group()
def sources() -> None:
    """List and forget where anchors came from; pictures themselves are never stored."""


@sources.command("list")
@click.argument("slug", type=SLUG, required=False)
@click.option("--due", type=Instant(), metavar="WHEN", help="Only those to be forgotten by then.")
@as_json
@pass_app
def sources_list(app: App, slug: str | None, due: str | None) -> None:
    """List the pictures that anchors came from, by hash.

    \b
    Examples:
      uvr-registry sources list mickey-mouse
      uvr-registry sources list --due 30d --json
    """
    rows = [_source_json(item) for item in app.open().sources.list(slug, due)]
    columns = ("id", "versions", "origin", "legal_basis", "retain_until", "sha256")
    app.show(rows, _table(columns, rows, "No sources."))


@sources.command("forget")
@click.argument("sha256")
@reason_required
@yes
@dry_run
@as_json
@pass_app
def sources_forget(app: App, sha256: str, reason: str) -> None:
    """Forget a picture: remove its hash, origin and legal basis; versions stay as they are.

    \b
    Example:
      uvr-registry sources forget 9f86d0…0a08 --reason "request of the owner" --yes
    """
    app.confirm("Forget every reference to this picture for good?")
    found = app.open().sources.forget(sha256, actor=app.actor, reason=reason)
    app.show({"forgotten": list(found)}, [f"Forgot {_count(len(found), 'reference')}."])


# Review


@cli.command()
@version_argument
@click.option("--note", default="", help="What reviewers should know.")
@expect_digest
@dry_run
@as_json
@pass_app
def submit(app: App, version: tuple[str, int | None], note: str, expect_digest: str | None) -> None:
    """Submit a draft for review, the latest by default; from then on its content is fixed.

    \b
    Example:
      uvr-registry submit testbed-pistol --note "more drawings from the side"
    """
    review = app.open().review
    done = review.submit(*version, actor=app.actor, note=note, expect_digest=expect_digest)
    _show_version(app, done)
    if done.state == "in_review":
        name = _version_name(done.slug, done.number)
        digest = done.content_digest
        app.hint(f"Next, a reviewer: uvr-registry approve {name} --expect-digest {digest}")


@cli.command()
@version_argument
@reason_option
@click.option("--break-glass", is_flag=True, help="Approve alone, now; an admin, with --reason.")
@yes
@expect_digest
@dry_run
@as_json
@pass_app
def approve(
    app: App,
    version: tuple[str, int | None],
    reason: str,
    break_glass: bool,
    expect_digest: str | None,
) -> None:
    """Approve a version in review: the content that you looked at, named by its digest.

    `reviews` and `show` give the digest. Without --expect-digest this shows what is in review now
    and asks; --yes approves whatever that is.

    \b
    Examples:
      uvr-registry --actor bob approve testbed-pistol@2 --expect-digest 3e9a...
      uvr-registry approve testbed-pistol --break-glass --reason "incident 12" --yes
    """
    if break_glass and not reason:
        raise click.UsageError("--break-glass needs --reason.")
    registry = app.open()
    if expect_digest is None:
        version, expect_digest = _asked_for_review(app, registry, *version)
    done = registry.review.approve(
        *version,
        actor=app.actor,
        reason=reason,
        break_glass=break_glass,
        expect_digest=expect_digest,
    )
    _show_version(app, done)


@cli.command()
@version_argument
@reason_required
@expect_digest
@dry_run
@as_json
@pass_app
def reject(
    app: App, version: tuple[str, int | None], reason: str, expect_digest: str | None
) -> None:
    """Send a version in review back to its author, as a draft.

    \b
    Example:
      uvr-registry --actor bob reject testbed-pistol --reason "also fires on water pistols"
    """
    review = app.open().review
    done = review.reject(*version, actor=app.actor, reason=reason, expect_digest=expect_digest)
    _show_version(app, done)


@cli.command()
@version_argument
@reason_option
@expect_digest
@dry_run
@as_json
@pass_app
def deprecate(
    app: App, version: tuple[str, int | None], reason: str, expect_digest: str | None
) -> None:
    """Take an approved version out of use: later releases leave it out unless it is named.

    \b
    Example:
      uvr-registry deprecate testbed-pistol@1 --reason "version 2 is better"
    """
    review = app.open().review
    done = review.deprecate(*version, actor=app.actor, reason=reason, expect_digest=expect_digest)
    _show_version(app, done)


@cli.command()
@version_argument
@reason_required
@yes
@expect_digest
@dry_run
@as_json
@pass_app
def revoke(
    app: App, version: tuple[str, int | None], reason: str, expect_digest: str | None
) -> None:
    """Revoke a version for good: no release may hold it again.

    \b
    Example:
      uvr-registry revoke testbed-pistol@1 --reason "fires on half of all hands" --yes
    """
    app.confirm(f"Revoke {_version_name(*version)} for good?")
    registry = app.open()
    review = registry.review
    done = review.revoke(*version, actor=app.actor, reason=reason, expect_digest=expect_digest)
    _show_version(app, done)
    for channel in registry.channels.list():
        held = registry.channels.live(channel.name).release.members
        if (done.slug, done.number) in {(item.slug, item.version) for item in held}:
            app.warn(
                f"it is still live in channel '{channel.name}', in release {channel.sequence} of "
                f"'{channel.bundle}'. Release again, then move the channel."
            )


@cli.command()
@click.option("--all", "every", is_flag=True, help="Also those that are closed.")
@as_json
@pass_app
def reviews(app: App, every: bool) -> None:
    """List what waits for review, with the approvals so far.

    \b
    Example:
      uvr-registry reviews
    """
    found = [asdict(item) for item in app.open().review.requests(None if every else "open")]
    rows = [
        {**item, "approvals": f"{len(item['approvals'])} of {item['needed']}"} for item in found
    ]
    columns = ("slug", "version", "state", "approvals", "authors", "opened_by", "note")
    app.show(found, _table((*columns, "content_digest"), rows, "Nothing waits for review."))


@cli.command()
@click.argument("slug", type=SLUG)
@as_json
@pass_app
def log(app: App, slug: str) -> None:
    """Tell a concept's history: its versions, reviews, releases and channels.

    \b
    Example:
      uvr-registry log testbed-pistol
    """
    from registry.audit.history import log as history

    _show_events(app, history(app.open(), slug))


# Releases


@cli.command()
@click.argument("bundle_name", metavar="BUNDLE", type=BUNDLE)
@click.option(
    "--concept",
    "members",
    multiple=True,
    metavar="SLUG[@NUMBER]",
    help="Repeat it.  [default: the newest version of each that may be released]",
)
@click.option(
    "--mode",
    "modes",
    multiple=True,
    type=Pair("SLUG=MODE", click.Choice(MODES)),
    metavar="SLUG=MODE",
    help="enforce, log (report only) or shadow (measure only).",
)
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    type=Pair("SLUG[/TASK]=NUMBER", Threshold()),
    metavar="SLUG[/TASK]=NUMBER",
    help="Seed threshold in place of the scorer's; 'none' takes it back.",
)
@click.option(
    "--disable",
    multiple=True,
    type=Pair("SLUG=WHEN", Instant()),
    metavar="SLUG=WHEN",
    help="Only report it until then, as pistol=7d.",
)
@click.option("--enable", multiple=True, metavar="SLUG", help="End a --disable early.")
@allow_shrink_option
@expires_option
@click.option("--note", default="", help="Why, for the record.")
@key_option
@click.option("--out", type=PATH, help="Also write the bundle to this file.")
@expect_digest
@dry_run
@as_json
@pass_app
def release(
    app: App,
    /,
    bundle_name: str,
    members: tuple[str, ...],
    modes: tuple[tuple[str, str], ...],
    thresholds: tuple[tuple[str, float | None], ...],
    disable: tuple[tuple[str, str], ...],
    enable: tuple[str, ...],
    key_files: tuple[Path, ...],
    out: Path | None,
    **options: Any,
) -> None:
    """Release approved versions as the next release of a bundle.

    Modes, thresholds and pauses stay as in the release before unless given. Where the policy asks
    for no approvals, drafts are approved as a part of the release.

    \b
    Examples:
      uvr-registry release policy --out policy.uvr
      uvr-registry release weapons --concept pistol@3 --concept knife --mode knife=shadow
      uvr-registry release policy --disable pistol=7d --expires 90d --key alice.pem
    """
    disabled = {**dict(disable), **dict.fromkeys(enable)}
    if len(disabled) < len(disable) + len(enable):
        raise click.UsageError("--disable and --enable name a concept twice.")
    if out is not None:
        check_writable(out)  # a release that is recorded stays
    registry = app.open()
    info = registry.release(
        bundle_name,
        list(members) or None,
        actor=app.actor,
        modes=dict(modes),
        thresholds=_thresholds(thresholds),
        disabled=disabled,
        keys=_private_keys(key_files),
        **options,
    )
    _show_new_release(app, registry, info, "Released", out, named=bool(members))
    signed, needed = len(info.signatures), registry.actors.policy().signatures
    if signed < needed:
        name = f"{info.bundle} --sequence {info.sequence}"
        app.hint(f"{signed} of {needed} signatures so far: uvr-registry sign {name} --key FILE")


@cli.command()
@click.argument("bundle_name", metavar="BUNDLE", type=BUNDLE)
@click.argument("sequence", type=NUMBER)
@reason_required
@allow_shrink_option
@expires_option
@key_option
@click.option("--out", type=PATH, help="Also write the bundle to this file.")
@expect_digest
@dry_run
@as_json
@pass_app
def rollback(
    app: App,
    /,
    bundle_name: str,
    sequence: int,
    key_files: tuple[Path, ...],
    out: Path | None,
    **options: Any,
) -> None:
    """Release the members of an earlier release again, under the next number.

    \b
    Example:
      uvr-registry rollback policy 3 --reason "release 4 fires on cups" --out policy.uvr
    """
    if out is not None:
        check_writable(out)
    registry = app.open()
    info = registry.rollback(
        bundle_name, sequence, actor=app.actor, keys=_private_keys(key_files), **options
    )
    _show_new_release(app, registry, info, "Rolled back to", out, named=False)


@cli.command()
@click.argument("bundle_name", metavar="[BUNDLE]", type=BUNDLE, required=False)
@as_json
@pass_app
def releases(app: App, bundle_name: str | None) -> None:
    """List the releases of a bundle, or of all.

    \b
    Example:
      uvr-registry releases policy --json
    """
    found = [asdict(info) for info in app.open().releases(bundle_name)]
    rows = [
        {**item, "concepts": len(item["members"]), "signed": len(item["signatures"])}
        for item in found
    ]
    columns = ("bundle", "sequence", "concepts", "signed", "created_at", "created_by", "note")
    app.show(found, _table((*columns, "bundle_digest"), rows, "No releases yet."))


@cli.command()
@click.argument("bundle_name", metavar="BUNDLE", type=BUNDLE)
@sequence_option
@key_option
@click.option("--out", type=PATH, help="Also write the signed bundle to this file.")
@dry_run
@as_json
@pass_app
def sign(
    app: App, bundle_name: str, sequence: int | None, key_files: tuple[Path, ...], out: Path | None
) -> None:
    """Add signatures to a release, the latest by default.

    \b
    Example:
      uvr-registry sign policy --key alice.pem --out policy.uvr
    """
    if not key_files:
        raise click.UsageError("Give --key FILE, a private key: `uvr-registry key generate`.")
    registry = app.open()
    keys = _private_keys(key_files)
    info = registry.keys.sign(bundle_name, sequence, actor=app.actor, keys=keys)
    _show_release(app, info, "Signed", _write_release(app, registry, info, out))


@cli.group()
def channel() -> None:
    """Say which release is live where: each move is kept."""


@channel.command("move")
@click.argument("name", type=CHANNEL)
@click.argument("bundle_name", metavar="BUNDLE", type=BUNDLE)
@sequence_option
@reason_option
@expect_digest
@dry_run
@as_json
@pass_app
def channel_move(
    app: App,
    name: str,
    bundle_name: str,
    sequence: int | None,
    reason: str,
    expect_digest: str | None,
) -> None:
    """Point a channel to a release, the latest by default; the first move makes the channel.

    \b
    Example:
      uvr-registry channel move prod policy --sequence 3 --reason "week 48"
    """
    channels = app.open().channels
    before = {item.name: item.sequence for item in channels.list()}.get(name, 0)
    info = channels.move(
        name, bundle_name, sequence, actor=app.actor, reason=reason, expect_digest=expect_digest
    )
    app.show(asdict(info), [f"{info.name} is at {info.bundle} release {info.sequence}"])
    if info.sequence < before:
        app.warn(
            f"engines that took release {before} refuse release {info.sequence}, as it is older. "
            f"`uvr-registry rollback {info.bundle} {info.sequence}` gives them its members again."
        )
    app.hint(f"Next: uvr-registry bundle export --channel {info.name} --out {info.name}.uvr")


@channel.command("list")
@as_json
@pass_app
def channel_list(app: App) -> None:
    """List the channels and where they point.

    \b
    Example:
      uvr-registry channel list
    """
    rows = [asdict(info) for info in app.open().channels.list()]
    columns = ("name", "bundle", "sequence", "since", "moved_by", "reason", "bundle_digest")
    app.show(rows, _table(columns, rows, "No channels yet: `uvr-registry channel move`."))


@channel.command("history")
@click.argument("name", type=CHANNEL)
@as_json
@pass_app
def channel_history(app: App, name: str) -> None:
    """List every move of a channel, oldest first.

    \b
    Example:
      uvr-registry channel history prod
    """
    rows = [asdict(move) for move in app.open().channels.history(name)]
    app.show(rows, _table(("number", "bundle", "sequence", "at", "by", "reason"), rows))


@cli.command()
@click.argument("name", metavar="CHANNEL", type=CHANNEL)
@click.option("--at", type=Instant(), metavar="WHEN", help="Then.  [default: now]")
@as_json
@pass_app
def live(app: App, name: str, at: str | None) -> None:
    """Say what is, or was, live in a channel, and who approved it.

    \b
    Examples:
      uvr-registry live prod
      uvr-registry live prod --at 2026-11-24T10:00Z --json
    """
    found = app.open().channels.live(name, at)
    lines = [
        f"{found.channel} at {_cell(found.at)}: {found.bundle} release {found.sequence}, since "
        f"{_cell(found.since)} by {found.moved_by}{f': {found.reason}' if found.reason else ''}",
        *_member_table(found.release),
    ]
    lines += [f"The release had expired: {_cell(found.release.expires_at)}"] * found.expired
    lines += [f"Revoked since: {', '.join(found.revoked)}"] if found.revoked else []
    app.show(asdict(found), lines)


@cli.group()
def bundle() -> None:
    """Look into bundle files, check them, write them again."""


@bundle.command("inspect")
@click.argument("file", type=PATH)
@keys_option
@as_json
@pass_app
def bundle_inspect(app: App, file: Path, keys_file: Path | None) -> None:
    """Show what a bundle holds, after checking it.

    \b
    Example:
      uvr-registry bundle inspect policy.uvr --json
    """
    from concepts.bundle.summary import bundle_summary

    summary = bundle_summary(_read_bundle(file, _key_list(keys_file)))
    app.show(summary, _bundle_lines(summary))


@bundle.command("verify")
@click.argument("file", type=PATH)
@keys_option
@click.option("--at", type=Instant(), metavar="WHEN", help="Valid then?  [default: now]")
@click.option("--digest", metavar="SHA256", help="Also require this digest.")
@as_json
@pass_app
def bundle_verify(
    app: App, file: Path, keys_file: Path | None, at: str | None, digest: str | None
) -> None:
    """Check every byte, signature and the expiry of a bundle; exit code 6 if anything is wrong.

    Without --keys this tells that the file is whole, and not who made it.

    \b
    Examples:
      uvr-registry bundle verify policy.uvr --keys keys.json
      uvr-registry bundle verify policy.uvr --keys keys.json --at 2026-12-24
    """
    keys = _key_list(keys_file)
    found = _read_bundle(file, keys, at or now())
    if digest not in (None, found.digest):
        raise VerificationError(f"The digest of '{file}' is {found.digest}, expected {digest}.")
    signed = keys.follow(found.key_lists).signers(found.envelope) if keys else []
    named = ("name", "sequence", "digest", "expires")
    data = {**{name: getattr(found, name) for name in named}, "signed_by": signed}
    app.show(data, [f"OK {found.name} release {found.sequence} {found.digest}"])
    if keys is None:
        click.echo("Who made it was not checked: give --keys.", err=True)


@bundle.command("export")
@click.argument("bundle_name", metavar="[BUNDLE]", type=BUNDLE, required=False)
@sequence_option
@click.option("--channel", "channel_name", type=CHANNEL, help="The release live there now.")
@click.option("--out", type=PATH, required=True)
@as_json
@pass_app
def bundle_export(
    app: App, bundle_name: str | None, sequence: int | None, channel_name: str | None, out: Path
) -> None:
    """Write a release's bundle to a file; the same release always gives the same bytes.

    \b
    Examples:
      uvr-registry bundle export policy --sequence 1 --out policy-1.uvr
      uvr-registry bundle export --channel prod --out /srv/bundles/prod.uvr
    """
    if (bundle_name is None) == (channel_name is None) or (channel_name and sequence):
        raise click.UsageError("Give BUNDLE, perhaps with --sequence, or else --channel.")
    registry = app.open()
    if channel_name is not None:
        now_live = registry.channels.live(channel_name)
        bundle_name, sequence = now_live.bundle, now_live.sequence
    found = registry.bundle(str(bundle_name), sequence)
    data = {"file": str(out), "sequence": found.sequence, "digest": found.digest}
    app.show(data, [_write_bundle(found, out)])


@cli.command()
@click.argument("location")
@keys_option
@click.option("--unsigned", is_flag=True, help="Check no signatures: a place only you can write.")
@click.option("--state", type=PATH, required=True, help="Folder that remembers what was accepted.")
@click.option("--name", help="The bundle expected.  [default: the first one seen]")
@click.option("--out", type=PATH, help="Also write the bundle to this file.")
@as_json
@pass_app
def pull(
    app: App,
    location: str,
    keys_file: Path | None,
    unsigned: bool,
    state: Path,
    name: str | None,
    out: Path | None,
) -> None:
    """Fetch the newest bundle from a file, folder or URL, as an engine does.

    It must be signed, not expired, and no older than what was accepted before: --state remembers.

    \b
    Examples:
      uvr-registry pull https://bundles.example/policy.uvr --keys keys.json --state state/
      uvr-registry pull /srv/bundles --unsigned --state state/ --out policy.uvr
    """
    if (keys_file is None) == (not unsigned):
        raise click.UsageError("Give --keys FILE, or --unsigned for a place only you can write.")
    if out is not None:
        check_writable(out)
    from uvr.delivery.source import BundleSource

    keys = _key_list(keys_file)
    source = BundleSource(
        location, keys=keys, state=state, name=name, poll_seconds=0, stale="fail_closed"
    )
    with _silenced("uvr.source"), source:  # What it logs is this command's error.
        status = source.status()
        if status.last_error:  # The last known good was loaded: say what is wrong with the new.
            try:
                source.refresh()
            except UVRError as error:
                kept = f"Release {status.sequence} of '{status.bundle}', accepted earlier, stays."
                raise type(error)(f"{error} {kept}") from error
        found, status = source.current, source.status()
    lines = [f"{found.name} release {found.sequence} {found.digest}"]
    app.show(status.to_dict(), lines + ([_write_bundle(found, out)] if out is not None else []))


# Pictures


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
@click.argument("picture", type=PATH)
@click.argument("instruction")
@_picture_options
def edit(picture: Path, instruction: str, **options: Any) -> None:
    """Edit a picture by an instruction, with or without a bundle.

    \b
    Example:
      uvr-registry edit stock.png "make the background gray" --bundle policy.uvr --out edited.png
    """
    from uvr.anchors.pictures import read_picture

    _draw("edit", {"prompt": instruction, "image": read_picture(picture)}, **options)


@cli.command()
@click.option("--out", type=PATH, default=Path("demo"), show_default=True)
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
    from uvr.anchors.collection import Source, collect
    from uvr.pipelines import TESTBED, load_pipeline
    from uvr.testbed.samples import CONCEPTS

    actor = "demo"
    registry = Registry.create(home, f"sqlite:///{home / 'registry.db'}")
    definitions = [load_shipped(slug) for slug in CONCEPTS]
    models = [load_pipeline(TESTBED, task) for task in TASKS]
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


# Team


@cli.group()
def actor() -> None:
    """Say who may do what; while there is no actor, everyone may do everything."""


@actor.command("set")
@click.argument("name")
@click.option(
    "--role", "roles", multiple=True, type=click.Choice(ROLES), help="All of them; repeat it."
)
@click.option("--active/--inactive", default=None, help="Whether they may act.")
@dry_run
@as_json
@pass_app
def actor_set(app: App, name: str, roles: tuple[str, ...], active: bool | None) -> None:
    """Add an actor, or change one's roles. The first one must be an admin.

    \b
    Examples:
      uvr-registry actor set alice --role admin --role publisher
      uvr-registry --actor alice actor set bob --role reviewer
      uvr-registry --actor alice actor set bob --inactive
    """
    info = app.open().actors.set(name, actor=app.actor, roles=roles or None, active=active)
    state = "" if info.active else " (inactive)"
    app.show(asdict(info), [f"{info.name}: {', '.join(info.roles) or 'no roles'}{state}"])


@actor.command("list")
@as_json
@pass_app
def actor_list(app: App) -> None:
    """List the actors and their roles.

    \b
    Example:
      uvr-registry actor list
    """
    rows = [asdict(info) for info in app.open().actors.list()]
    nobody = "No actors: everyone may do everything. See `uvr-registry actor set`."
    app.show(rows, _table(("name", "roles", "active", "created_at", "created_by"), rows, nobody))


@cli.group()
def policy() -> None:
    """Say what the registry asks for before a version is approved and a channel moves."""


@policy.command("show")
@as_json
@pass_app
def policy_show(app: App) -> None:
    """Show the policy.

    \b
    Example:
      uvr-registry policy show
    """
    _show_fields(app, asdict(app.open().actors.policy()))


@policy.command("set")
@click.option(
    "--approvals", type=click.IntRange(0, LARGEST), help="That a version needs; 0 for one person."
)
@click.option(
    "--self-approval/--no-self-approval", default=None, help="Whether an author's own counts."
)
@click.option(
    "--signatures",
    type=click.IntRange(0, LARGEST),
    help="That a release needs before it goes live.",
)
@click.option(
    "--max-shrink",
    type=click.FloatRange(0, 1),
    help="Share of enforced concepts that a release may lose unasked.",
)
@dry_run
@as_json
@pass_app
def policy_set(app: App, /, **fields: Any) -> None:
    """Change the policy; what is not given stays.

    \b
    Example:
      uvr-registry policy set --approvals 1 --no-self-approval --signatures 1
    """
    changes = {name: value for name, value in fields.items() if value is not None}
    if not changes:
        raise click.UsageError("Nothing to change: give --approvals, --signatures or another.")
    _show_fields(app, asdict(app.open().actors.set_policy(actor=app.actor, **changes)))


@cli.group()
def key() -> None:
    """Make signing keys, and say which of them engines should trust."""


@key.command("generate")
@click.argument("name")
@click.option("--out", type=FILE, help="Private key.  [default: NAME.pem]")
@as_json
@pass_app
def key_generate(app: App, name: str, out: Path | None) -> None:
    """Make a pair of keys: OUT, which stays with you, and OUT.pub, the public half.

    UVR_KEY_PASSPHRASE encrypts the private key; on a terminal you are asked for a passphrase.

    \b
    Example:
      uvr-registry key generate alice --out alice.pem
    """
    from concepts.signing.keys import PrivateKey

    out = out or Path(f"{name}.pem")
    public = out.with_name(f"{out.name}.pub")
    for path in (out, public):
        if path.exists():
            raise click.UsageError(f"'{path}' exists, and a key is never overwritten.")
    made = PrivateKey.generate()
    _write_private(out, made.pem(_new_passphrase()))
    write_file(public, made.public.pem().encode())
    app.show(
        {"name": name, "key_id": made.public.key_id, "private": str(out), "public": str(public)},
        [
            f"Wrote {out}, which nobody else should see, and {public}",
            f"key id {made.public.key_id}",
            f"An admin adds it by `uvr-registry key add {name} {public}`.",
        ],
    )


@key.command("add")
@click.argument("name")
@click.argument("file", type=FILE)
@dry_run
@as_json
@pass_app
def key_add(app: App, name: str, file: Path) -> None:
    """Add a public key by name; it may sign once `key rotate` lists it.

    \b
    Example:
      uvr-registry key add alice alice.pem.pub
    """
    from concepts.signing.keys import PublicKey

    public = PublicKey.from_pem(_read_file(file, "public key"))
    info = app.open().keys.add(name, public, actor=app.actor)
    app.show(asdict(info), [f"Added key {info.name} ({info.key_id})"])


@key.command("rotate")
@click.option("--add", multiple=True, metavar="NAME", help="List this key; repeat it.")
@click.option("--remove", multiple=True, metavar="NAME", help="Take it off; it may come back.")
@click.option("--revoke", multiple=True, metavar="NAME", help="Never trust it again.")
@click.option("--threshold", type=NUMBER, help="How many keys must sign a bundle.")
@key_option
@yes
@dry_run
@as_json
@pass_app
def key_rotate(app: App, /, key_files: tuple[Path, ...], **options: Any) -> None:
    """Make the next key list, signed by keys of the list before and by its own.

    \b
    Examples:
      uvr-registry key rotate --add alice --key alice.pem
      uvr-registry key rotate --add bob --revoke alice --key alice.pem --key bob.pem --yes
    """
    if not key_files:
        raise click.UsageError("Give --key FILE: keys of the list sign it.")
    if options["revoke"]:
        app.confirm(f"Revoke {', '.join(options['revoke'])} for good?")
    signers = _private_keys(key_files)
    made = app.open().keys.rotate(actor=app.actor, signers=signers, **options)
    lines = [
        f"Key list {made.version}: {made.threshold} of {_count(len(made.keys), 'key')} must sign"
    ]
    app.show(made.to_dict(), lines)


@key.command("list")
@as_json
@pass_app
def key_list(app: App) -> None:
    """List the keys, and whether they may sign.

    \b
    Example:
      uvr-registry key list
    """
    rows = [asdict(info) for info in app.open().keys.list()]
    columns = ("name", "state", "created_at", "created_by", "key_id")
    app.show(rows, _table(columns, rows, "No keys yet: `uvr-registry key generate`."))


@key.command("export")
@click.option("--out", type=FILE, required=True)
@as_json
@pass_app
def key_export(app: App, out: Path) -> None:
    """Write the key list that engines should trust, for `--keys` and `BundleSource`.

    \b
    Example:
      uvr-registry key export --out keys.json
    """
    keys = app.open().keys.current()
    if keys is None:
        raise NotFoundError("There is no key list yet. Make one with `uvr-registry key rotate`.")
    write_file(out, keys.to_bytes())
    app.show(
        {"file": str(out), "digest": keys.digest, **keys.to_dict()},
        [f"Wrote {out} (key list {keys.version}, digest {keys.digest})"],
    )


@cli.group()
def audit() -> None:
    """Read, verify, sign and export the audit trail."""


@audit.command("log")
@click.option("--limit", type=NUMBER, default=20, show_default=True)
@click.option("--subject", help="Only about this, as pistol, pistol@2 or policy#3.")
@click.option("--since", type=Instant(), metavar="WHEN", help="Only from then on.")
@as_json
@pass_app
def audit_log(app: App, limit: int, subject: str | None, since: str | None) -> None:
    """List the newest events, the newest last.

    \b
    Example:
      uvr-registry audit log --subject testbed-pistol@1
    """
    _show_events(app, app.open().audit.events(limit, subject=subject, since=since))


@audit.command("verify")
@click.option("--against", type=FILE, help="A checkpoint that was kept elsewhere.")
@click.option("--keys", "keys_file", type=FILE, help="Key list that must have signed it.")
@as_json
@pass_app
def audit_verify(app: App, against: Path | None, keys_file: Path | None) -> None:
    """Check every event; exit code 6 names the one that was changed, removed or put in.

    A trail written anew from the beginning is whole in itself: only a checkpoint that was kept
    elsewhere shows it.

    \b
    Examples:
      uvr-registry audit verify
      uvr-registry audit verify --against checkpoint.json --keys keys.json
    """
    if keys_file is not None and against is None:
        raise click.UsageError("--keys needs --against.")
    found = app.open().audit.verify(against, _key_list(keys_file))
    agrees = f", as checkpoint {found.against} says" if found.against is not None else ""
    lines = [f"OK {_count(found.events, 'event')}{agrees}, head {found.digest}"]
    app.show(asdict(found), lines)
    if against is not None and keys_file is None:
        click.echo("Who signed the checkpoint was not checked: give --keys.", err=True)


@audit.command("checkpoint")
@click.option("--key", "key_file", type=FILE, required=True, help="Private key that signs it.")
@click.option("--out", type=FILE, required=True)
@dry_run
@as_json
@pass_app
def audit_checkpoint(app: App, key_file: Path, out: Path) -> None:
    """Sign where the trail stands, to be kept elsewhere.

    \b
    Example:
      uvr-registry audit checkpoint --key alice.pem --out checkpoint.json
    """
    check_writable(out)
    data = app.open().audit.checkpoint(actor=app.actor, key=_private_keys([key_file])[0])
    if not app.dry_run:
        write_file(out, data)
    app.show(
        {"file": str(out)}, [f"Wrote {out}: keep it where this registry's admins cannot write"]
    )


@audit.command("export")
@click.option("--out", type=FILE, help="[default: print it]")
@pass_app
def audit_export(app: App, out: Path | None) -> None:
    """Write every event as one line of JSON.

    \b
    Example:
      uvr-registry audit export --out audit.jsonl
    """
    lines = app.open().audit.export()
    if out is None:
        for line in lines:
            click.echo(line.rstrip("\n"))
        return
    write_file(out, "".join(line.rstrip("\n") + "\n" for line in lines).encode())
    click.echo(f"Wrote {out}")


# Operations


@cli.command()
@click.option("--repair", is_flag=True, help="Also remove temporaries and stale index files.")
@click.option("--quick", is_flag=True, help="Do not read the blobs.")
@dry_run
@as_json
@pass_app
def doctor(app: App, repair: bool, quick: bool) -> None:
    """Check database, blobs, digests, approvals, signatures and trail; exit code 6 if any is off.

    \b
    Examples:
      uvr-registry doctor
      uvr-registry doctor --repair
    """
    from registry.operations import doctor as doctors

    registry = app.open()
    repaired = doctors.repair(registry, app.actor).to_dict() if repair else {}
    found = doctors.diagnose(registry, quick=quick)
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


@cli.command()
@click.option("--grace", default="24h", show_default=True, help="Keep what is younger.")
@yes
@dry_run
@as_json
@pass_app
def gc(app: App, grace: str) -> None:
    """Delete blobs that no version names any more.

    \b
    Examples:
      uvr-registry gc --dry-run
      uvr-registry gc --grace 7d --yes
    """
    from registry.operations.gc import collect

    registry = app.open()
    app.confirm("Delete what no version names?")
    found = collect(registry, actor=app.actor, grace=grace)
    what = f"{_count(len(found.blobs), 'blob')} ({found.bytes:,} bytes)"
    verb = "Would delete" if app.dry_run else "Deleted"
    lines = [f"{verb} {what} and {_count(found.temporaries, 'unfinished file')}"]
    app.show(found.to_dict(), lines)


@cli.command()
@click.argument("file", type=FILE)
@as_json
@pass_app
def backup(app: App, file: Path) -> None:
    """Write the whole registry to one file, while others go on working.

    \b
    Example:
      uvr-registry backup registry.zip
    """
    from registry.operations.backup import backup as write_backup

    check_writable(file)
    registry = app.open()
    with _progress("Back up") as progress:
        info = write_backup(registry, file, progress)
    what = f"{_count(info.blobs, 'blob')}, {_count(info.events, 'event')}"
    app.show(info.to_dict(), [f"Wrote {file} ({what})"])
    if info.problems:
        count = _count(len(info.problems), "problem")
        app.warn(f"the doctor finds {count}; a restore must accept them: see `doctor`.")


@cli.command()
@click.argument("file", type=FILE)
@click.option("--accept-problems", is_flag=True, help="Also those that it says it has.")
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
    from registry.operations.backup import restore as read_backup

    with _progress("Restore") as progress:
        made = read_backup(
            file, home, actor=app.actor, accept_problems=accept_problems, progress=progress
        )
    _show_ready(app, made)


@cli.command("export-concept")
@click.argument("slug", type=SLUG)
@click.option("--out", type=FILE, required=True)
@as_json
@pass_app
def export_concept(app: App, slug: str, out: Path) -> None:
    """Write a concept with all of its versions to one file, for another registry.

    \b
    Example:
      uvr-registry export-concept testbed-pistol --out pistol.zip
    """
    from registry.operations import transfer

    check_writable(out)
    transfer.export_concept(app.open(), slug, out)
    app.show({"slug": slug, "file": str(out)}, [f"Wrote {out}"])


@cli.command("import-concept")
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
    from registry.operations import transfer

    info = transfer.import_concept(app.open(), file, actor=app.actor)
    _show_fields(app, asdict(info))


@cli.command()
@click.option("--kind", type=click.Choice(INDEX_KINDS), help="[default: by the number of anchors]")
@as_json
@pass_app
def index(app: App, kind: str | None) -> None:
    """Build the search indexes that are missing or stale; exit code 9 if one finds too little.

    A search builds what it needs by itself; this does it beforehand, and says how well it finds.

    \b
    Examples:
      uvr-registry index
      uvr-registry index --kind fp16
    """
    from registry.index.listing import build_indexes

    rows = [{**asdict(found), **asdict(found.build)} for found in build_indexes(app.open(), kind)]
    columns = ("model", "task", "kind", "vectors", "dim", "recall", "queries", "seconds", "space")
    app.show(rows, _table(columns, rows, "No anchors yet: `uvr-registry collect-anchors`."))


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes commands, options and slugs in a shell.

    \b
    Examples:
      uvr-registry completion bash >> ~/.bashrc
      uvr-registry completion fish > ~/.config/fish/completions/uvr-registry.fish
    """
    found = get_completion_class(shell)
    if found is None:
        raise NotFoundError(f"No completion for '{shell}'.")
    click.echo(found(cli, {}, "uvr-registry", "_UVR_REGISTRY_COMPLETE").source())


def _draw(
    task: str,
    request: dict[str, Any],
    *,
    model: str,
    bundle_file: Path | None,
    keys_file: Path | None,
    out: Path,
    report: Path | None,
    heat_map: Path | None,
    seed: int,
    steps: int | None,
    height: int | None,
    width: int | None,
) -> None:
    """Call a pipeline, regulated if there is a bundle, and write picture and report."""
    if bundle_file is None and (report or heat_map or keys_file):
        raise click.UsageError("--report, --heat-map and --keys need --bundle.")
    report = report or (out.with_suffix(".json") if bundle_file else None)
    places = [path for path in (out, report, heat_map) if path is not None]
    if len({path.absolute() for path in places}) < len(places):
        raise click.UsageError("--out, --report and --heat-map name one file twice.")
    for path in places:
        check_writable(path)
    released = None
    if bundle_file is not None:  # before the slow imports
        released = _read_bundle(bundle_file, _key_list(keys_file), now())
    from uvr.drawing import draw
    from uvr.pipelines import load_pipeline

    pipe, profile = load_pipeline(model, task)
    _check_sides(pipe, height, width)
    given = {"num_inference_steps": steps, "height": height, "width": width}
    request |= {name: value for name, value in given.items() if value is not None}
    with _progress("Drawing") as progress:
        image, found = draw(pipe, profile, request, seed=seed, bundle=released, progress=progress)
    _save_picture(image, out)
    click.echo(f"Wrote {out}")
    if found is None:
        return
    if report is not None:
        write_file(report, found.to_json().encode())
        click.echo(f"Wrote {report}")
    if heat_map is not None:
        _save_picture(found.overlay(image, 0), heat_map)
        click.echo(f"Wrote {heat_map}")
    click.echo("\n".join(_outcome(found.images[0] if found.images else [])))
    for note in found.notes:
        click.echo(f"Warning: {_printable(note)}", err=True)


def _check_sides(pipe: Any, height: int | None, width: int | None) -> None:
    """Refuse sizes that the model would quietly change."""
    for name, side in (("--height", height), ("--width", width)):
        if side is not None and side % (patch := 2 * int(pipe.vae_scale_factor)):
            raise click.UsageError(f"{name} is {side}, a multiple of {patch} is expected.")


def _outcome(findings: Sequence[ConceptFinding]) -> list[str]:
    """What was found in a picture, in words; only what is enforced was regulated."""
    kinds = (("Found and regulated", True), ("Found and only observed", False))
    lines = []
    for label, enforced in kinds:
        slugs = [item.slug for item in findings if item.fired and item.enforced == enforced]
        if slugs:
            lines.append(f"{label}: {', '.join(slugs)}")
    return lines or ["Nothing banned was found."]


# Reading what commands are given


def _read_bundle(file: Path, keys: KeyList | None, at: str | None = None) -> Bundle:
    """Read and check a bundle; what is wrong with it names the file."""
    from concepts.bundle import read_bundle

    if file.is_dir():
        raise click.UsageError(f"'{file}' is a folder, a bundle file is expected.")
    try:
        return read_bundle(file, keys, at=at)
    except VerificationError as error:
        raise type(error)(f"'{file}': {error}") from error


def _read_file(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NotFoundError(f"No {what} at '{path}'.") from error


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


def _collect(
    definitions: Mapping[str, ConceptDefinition],
    model: str,
    tasks: Sequence[str],
    prototypes: int | None,
    source: Mapping[str, Any],
) -> tuple[dict[str, list[Any]], dict[str, UVRError]]:
    """Collect each concept's anchors for each task; return them, and what failed, by slug."""
    from uvr.anchors.collection import Source, collect
    from uvr.pipelines import TESTBED, load_pipeline

    collections: dict[str, list[Any]] = {slug: [] for slug in definitions}
    failed: dict[str, UVRError] = {}
    for task in tasks or (("edit", "t2i") if model == TESTBED else (None,)):
        pipe, profile = load_pipeline(model, task)
        for slug, definition in definitions.items():
            if tasks and slug in failed:
                continue
            try:
                with _progress(f"{slug} {profile.task}") as progress:
                    asked = _with_prototypes(definition, prototypes)
                    found = collect(pipe, profile, asked, Source(**source), progress)
                collections[slug].append(found)
            except UVRError as error:  # collecting takes long: the others' anchors are kept
                failed[slug] = error
    return collections, failed


def _with_prototypes(definition: ConceptDefinition, count: int | None) -> ConceptDefinition:
    if count is None:
        return definition
    return replace(definition, parameters={**definition.parameters, "prototypes": count})


def _source_refs(
    source: Mapping[str, Any],
    origin: str | None,
    legal_basis: str | None,
    retain_until: str | None,
) -> list[SourceRef]:
    """References to the pictures of --images and --benign, where they are to be recorded."""
    if not (origin or legal_basis or retain_until):
        return []
    if not (origin and legal_basis and source["images"]):
        raise click.UsageError("--origin and --legal-basis go together, and with --images.")
    from registry.versions.exemplars import SourceRef

    folders = [source[name] for name in ("images", "benign") if source[name]]
    hashes = sorted({digest for folder in folders for digest in _picture_hashes(folder)})
    return [SourceRef(digest, origin, legal_basis, retain_until) for digest in hashes]


def _picture_hashes(folder: Path) -> list[str]:
    from concepts.digest import sha256
    from uvr.anchors.pictures import MASK, SUFFIXES

    if not folder.is_dir():
        raise NotFoundError(f"No folder of pictures at '{folder}'.")
    pictures = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    return [sha256(path.read_bytes()) for path in pictures if not path.stem.endswith(MASK)]


def _thresholds(pairs: Iterable[tuple[str, float | None]]) -> dict[str, Any]:
    """Thresholds by slug: a number, None, or one for each task where tasks are named."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        slug, slash, task = name.partition("/")
        tasks = found.setdefault(slug, {}) if slash else found
        if not isinstance(tasks, dict) or (task if slash else slug) in tasks:
            raise click.UsageError(f"--threshold names '{slug}' twice.")
        tasks[task if slash else slug] = value
    return found


def _key_list(path: Path | None) -> KeyList | None:
    if path is None:
        return None
    from concepts.signing.keys import KeyList

    data = _read_file(path, "key list")
    if b"-----BEGIN" in data:
        raise VerificationError(
            f"'{path}' is a key; the key list of `uvr-registry key export` is expected."
        )
    try:
        return KeyList.from_bytes(data)
    except VerificationError as error:
        raise VerificationError(f"'{path}': {error}") from error


def _private_keys(paths: Iterable[Path]) -> list[PrivateKey]:
    return [_private_key(path) for path in paths]


def _private_key(path: Path) -> PrivateKey:
    from concepts.signing.keys import PrivateKey

    data, passphrase = _read_file(path, "private key"), None
    if b"ENCRYPTED" in data:
        passphrase = os.environ.get("UVR_KEY_PASSPHRASE")
        if not passphrase and not sys.stdin.isatty():
            raise click.UsageError(f"The key '{path}' is encrypted: set UVR_KEY_PASSPHRASE.")
        passphrase = passphrase or click.prompt(f"Passphrase of {path}", hide_input=True, err=True)
    try:
        return PrivateKey.from_pem(data, passphrase)
    except VerificationError as error:
        raise VerificationError(f"'{path}': {error}") from error


def _new_passphrase() -> str | None:
    given = os.environ.get("UVR_KEY_PASSPHRASE")
    if given or not sys.stdin.isatty():
        return given or None
    text = "Passphrase for the private key, empty for none"
    asked: str = click.prompt(
        text, hide_input=True, confirmation_prompt=True, default="", show_default=False, err=True
    )
    return asked or None


def _write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, and that was not there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)


def _fired_features(report: Path) -> tuple[str, list[dict[str, Any]]]:
    """The anchor space of a report, and what fired in it, features decoded."""
    from uvr.report import decode_feature

    try:
        data = json.loads(_read_file(report, "report"))
        found = [
            {**item, "picture": number, "feature": decode_feature(item["feature"])}
            for part in ("images", "shadow")
            for number, findings in enumerate(data[part])
            for item in findings
            if item["fired"]
        ]
        return str(data["space"]), found
    except (ValueError, LookupError, TypeError) as error:
        raise click.UsageError(f"'{report}' is not a report of this program.") from error


def _asked_for_review(
    app: App, registry: Registry, slug: str, number: int | None
) -> tuple[tuple[str, int | None], str | None]:
    """Show a request for review and ask; return the version and the digest that was shown."""
    found = [item for item in registry.review.requests() if item.slug == slug]
    found = [item for item in found if number in (None, item.version)]
    if not found:
        return (slug, number), None  # The library says what is wrong.
    item = max(found, key=lambda request: request.version)
    what = f"{_version_name(slug, item.version)} by {', '.join(item.authors)}"
    note = f', "{item.note}"' if item.note else ""
    question = f"Approve {what}{note}, content {item.content_digest}?"
    app.confirm(
        _printable(question), "--expect-digest with the digest that you looked at, or --yes"
    )
    return (slug, item.version), item.content_digest


def _version(registry: Registry, slug: str, number: int | None) -> VersionInfo:
    versions = registry.concept(slug).versions
    found = [item for item in versions if number in (None, item.number)]
    if not found:
        raise NotFoundError(f"'{slug}' has no {f'version {number}' if number else 'versions yet'}.")
    return found[-1]


# Printing


def _show_version(app: App, version: VersionInfo) -> None:
    words = version.state.replace("_", " ")
    count = f", {_count(version.approvals, 'approval')}" if version.state == "in_review" else ""
    name = _version_name(version.slug, version.number)
    app.show(_version_json(version), [f"{name} is {words}{count} ({version.content_digest})"])


def _version_name(slug: str, number: int | None) -> str:
    return slug if number is None else f"{slug}@{number}"


def _version_json(version: VersionInfo) -> dict[str, Any]:
    totals = {"anchors": version.anchors, "counter_anchors": version.counter_anchors}
    return {**asdict(version), **totals}


def _version_lines(version: VersionInfo) -> list[str]:
    rows = [{**asdict(item), **asdict(item.space)} for item in version.spaces]
    columns = ("model", "task", "anchors", "counter_anchors", "rule", "seed_threshold")
    return [
        f"{_version_name(version.slug, version.number)} is {version.state.replace('_', ' ')}, "
        f"by {', '.join(version.authors)}",
        f"content {version.content_digest}",
        *_table((*columns, "grow_threshold"), rows),
    ]


def _show_release(
    app: App,
    info: ReleaseInfo,
    verb: str,
    written: list[str],
    left_out: Sequence[Gap] | None = None,
) -> None:
    target = info.rollback_of if info.rollback_of and verb != "Signed" else info.sequence
    again = f", as release {info.sequence}" if target != info.sequence else ""
    lines = [
        f"{verb} {info.bundle} {target}{again} with {_count(len(info.members), 'concept')}",
        *([f"Signed by {', '.join(info.signatures)}"] if info.signatures else []),
    ]
    told = {} if left_out is None else {"left_out": list(map(asdict, left_out))}
    app.show({**asdict(info), **told}, [*lines, *written])


def _show_new_release(
    app: App, registry: Registry, info: ReleaseInfo, verb: str, out: Path | None, *, named: bool
) -> None:
    """Write a new release's bundle, show it, and say what it leaves uncovered."""
    written = _write_release(app, registry, info, out)
    left_out = None if app.dry_run else registry.gaps(info.bundle, info.sequence)
    _show_release(app, info, verb, written, left_out)
    for gap in left_out or []:
        if not (named and gap.why == "not asked for"):
            app.warn(f"{gap.slug} is not banned everywhere by this release: {gap.why}.")


def _member_table(info: ReleaseInfo) -> list[str]:
    columns = ("slug", "version", "mode", "disabled_until", "state", "approval", "approved_by")
    rows = [asdict(member) for member in info.members]
    return _table((*columns, "approved_at"), rows, "No concepts.")


def _show_fields(app: App, fields: Mapping[str, Any]) -> None:
    app.show(
        fields, [f"{name.replace('_', '-')}: {_cell(value)}" for name, value in fields.items()]
    )


def _show_events(app: App, events: Sequence[Any]) -> None:
    rows = [asdict(event) for event in events]
    told = [{**row, "details": _details(row["details"])} for row in rows]
    columns = ("number", "at", "actor", "action", "subject", "details")
    app.show(rows, _table(columns, told, "No events."))


def _details(details: Mapping[str, Any]) -> str:
    """What an event tells, the reasons first, digests shortened; JSON has all of it."""
    first = ("reason", "note")
    told = []
    for name in sorted(details, key=lambda name: (name not in first, name)):
        value = details[name]
        if value in (None, "", [], False):
            continue
        text = json.dumps(value) if isinstance(value, dict) else _cell(value)
        told.append(f"{name}: {_DIGEST.sub(lambda found: found[0][:12], text)}")
    return "; ".join(told)


def _source_json(item: Any) -> dict[str, Any]:
    data = asdict(item)
    return {**data.pop("ref"), **data}


def _diff_lines(found: Mapping[str, Any]) -> list[str]:
    """The definition's changes as a unified diff would show them, then a block for each space."""
    lines = []
    for change in found["definition"]:
        lines.append(f"definition: {change['field']}")
        lines += [f"  - {item}" for item in change["removed"]]
        lines += [f"  + {item}" for item in change["added"]]
        lines += [f"  {line}" for line in change["lines"]]
        if not (change["removed"] or change["added"] or change["lines"]):
            lines += [f"  - {json.dumps(change['before'])}", f"  + {json.dumps(change['after'])}"]
    for space in found["spaces"]:
        lines.append(f"{space['model']} {space['task']}")
        for name in ("anchors", "counter_anchors"):
            counts = ", ".join(f"{number} {verb}" for verb, number in space[name].items())
            lines.append(f"  {name.replace('_', '-')}: {counts}")
        for name in ("rule", "seed_threshold", "grow_threshold"):
            before, after = ((space[side] or {}).get(name) for side in ("before", "after"))
            if before != after:
                lines.append(f"  {name.replace('_', ' ')}: {_cell(before)} -> {_cell(after)}")
        if space["shift"]:
            shift = ", ".join(f"{name} {_cell(value)}" for name, value in space["shift"].items())
            lines.append(f"  distance to the nearest anchor before: {shift}")
    return lines or ["No difference."]


def _bundle_lines(summary: Mapping[str, Any]) -> list[str]:
    lines = [f"{summary['name']} release {summary['sequence']}", f"digest {summary['digest']}"]
    lines += [f"made {_cell(summary['created'])}"] if summary["created"] else []
    lines += [f"expires {_cell(summary['expires'])}"] if summary["expires"] else []
    lines += [f"signed by {key_id}" for key_id in summary["signatures"]]
    lines += [f"revoked {digest}" for digest in summary["revocations"]]
    columns = ("slug", "version", "mode", "disabled_until", "rule", "seed_threshold")
    for variant in summary["variants"]:
        space = variant["space"]
        lines.append(f"{space['model']} {space['task']} at {', '.join(space['taps'])}")
        lines += _table((*columns, "grow_threshold"), variant["members"])
    return lines


def _warn_of_overlaps(app: App, registry: Registry, slug: str, collected: Sequence[Any]) -> None:
    """Say which other concepts have a good part of these anchors already, or nearly."""
    for item in registry.overlaps(slug, collected):
        if item.share >= OVERLAP:
            app.warn(
                f"{item.share:.0%} of these anchors of {slug} lie within 0.05 of {item.slug} "
                f"version {item.version}: do both ban the same?"
            )


def _write_release(app: App, registry: Registry, info: ReleaseInfo, out: Path | None) -> list[str]:
    """Write the bundle of a release that was recorded, and say so."""
    if out is None or app.dry_run:
        return []
    try:
        return [_write_bundle(registry.bundle(info.bundle, info.sequence), out)]
    except OSError as error:
        raise UVRError(
            f"Release {info.sequence} of '{info.bundle}' is recorded, but '{out}' cannot be "
            f"written: {error.strerror or error}. Write it with `uvr-registry bundle export "
            f"{info.bundle} --sequence {info.sequence} --out FILE`."
        ) from error


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


def _show_ready(app: App, registry: Registry) -> None:
    home, where = registry.home, registry.engine.url.render_as_string(hide_password=True)
    inside = registry.engine.dialect.name == "sqlite" and str(home) in where
    line = f"Registry ready at {home}" + ("" if inside else f", database {where}")
    app.show({"home": str(home), "database": where}, [line])


def _yaml(definition: ConceptDefinition) -> str:
    import yaml

    given = {name: value for name, value in definition.to_dict().items() if value}
    if "parameters" in given:  # whatever order they were written in
        given["parameters"] = dict(sorted(given["parameters"].items()))
    # Of what a terminal should not be given YAML has escapes of its own.
    plain = not _UNPRINTABLE.search(json.dumps(given, ensure_ascii=False))
    return yaml.safe_dump(given, sort_keys=False, allow_unicode=plain, width=100).rstrip("\n")


def _first_of_each(rows: Iterable[dict[str, Any]], *columns: str) -> list[dict[str, Any]]:
    """The first row of each combination of values in some columns."""
    first: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        first.setdefault(tuple(row[column] for column in columns), row)
    return list(first.values())


def _table(
    columns: Sequence[str], rows: Sequence[Mapping[str, Any]], empty: str = "None."
) -> list[str]:
    if not rows:
        return [empty]
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    table = [[column.replace("_", " ") for column in columns], *cells]
    widths = [max(len(line[i]) for line in table) for i in range(len(columns))]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in table]


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "-"
    if isinstance(value, str) and re.fullmatch(r"[0-9-]{10}T[0-9:]{8}\.[0-9]{6}Z", value):
        return f"{value[:19]}Z"
    return f"{value:.4f}" if isinstance(value, float) and value % 1 else str(value)


def _count(number: int, noun: str) -> str:
    plural = f"{noun[:-1]}ies" if noun.endswith("y") and noun != "key" else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


@contextmanager
def _silenced(name: str) -> Iterator[None]:
    """Turn a logger off for a while."""
    logger = logging.getLogger(name)
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = False


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
        given = list(sys.argv[1:] if arguments is None else arguments)
        for argument in given:  # databases and JSON hold UTF-8 alone
            if not _is_utf8(argument):
                raise click.UsageError(f"'{argument}' is not UTF-8 text.")
        code = cli.main(given, prog_name="uvr-registry", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = error.exit_code
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "uvr-registry"
        code = _fail(f"{_usage(error)} See `{path} --help`.", error.exit_code)
    except click.ClickException as error:
        code = _fail(error.format_message(), error.exit_code)
    except click.Abort:
        code = _fail("Stopped; what was under way is not recorded.", STOPPED)
    except UVRError as error:
        code = _fail(str(error), error.exit_code)
    except BrokenPipeError:  # as when `head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:
        if os.environ.get("UVR_TRACEBACK"):
            raise
        code = _fail(_explain(error), 1)
    sys.exit(code if isinstance(code, int) else 0)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _usage(error: click.UsageError) -> str:
    if isinstance(error, click.NoSuchOption) and error.option_name in ("--home", "--actor"):
        return f"{error.option_name} goes before the command."
    return error.format_message()


def _printable(text: str) -> str:
    """Show what would move the cursor, or hide or reorder text, as an escape instead."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _fail(message: str, code: int) -> int:
    click.echo(f"Error: {_printable(message)}", err=True)
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
