"""Concept definitions: what is banned, in words; read from YAML with errors that name the line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from concepts.canonical import plain_json
from concepts.digest import json_digest
from concepts.errors import DefinitionError, NotFoundError, did_you_mean
from concepts.fields import LISTS, FieldError, Place, check, describe
from concepts.files import open_file
from concepts.printable import is_printable

SHIPPED_FOLDERS = ("nudity", "characters", "objects", "testbed")
SLUG_LINE = re.compile(r"^slug:\s*['\"]?([a-z0-9-]+)", re.MULTILINE)
MAX_FILE_BYTES = 1 << 20
PLAIN_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


@dataclass(frozen=True)
class ConceptDefinition:
    """What a concept is, in words and prompts.

    Attributes:
        slug: Identifier: lower-case words joined by hyphens, at most 64 characters.
        name: Name to display.
        category: "nudity", "ip-character" or "object".
        description: One or two sentences.
        prompts: Prompts that show the concept, one or more.
        near_misses: Prompts for what looks alike and is allowed.
        scope: What is and what is not covered.
        paraphrases: Other words for the same thing, to test with.
        benign: Ordinary prompts, for counter-anchors.
        edits: Edit instructions for a source picture that holds the concept.
        parameters: How anchors are collected and calibrated; keys of ``PARAMETERS``.

    Raises:
        DefinitionError: If a field is not valid.
    """

    slug: str
    name: str
    category: str
    description: str
    prompts: tuple[str, ...]
    near_misses: tuple[str, ...] = ()
    scope: str = ""
    paraphrases: tuple[str, ...] = ()
    benign: tuple[str, ...] = ()
    edits: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        data = {item.name: getattr(self, item.name) for item in fields(self)}
        try:
            check(data)
        except FieldError as problem:
            raise DefinitionError(f"Definition {describe(problem.place)}: {problem}") from problem
        for name in LISTS:
            object.__setattr__(self, name, tuple(data[name]))
        object.__setattr__(self, "parameters", plain_json(self.parameters))

    @property
    def digest(self) -> str:
        """SHA-256 of the definition's canonical JSON."""
        return json_digest(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """JSON form with every field."""
        plain: dict[str, Any] = plain_json({f.name: getattr(self, f.name) for f in fields(self)})
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ConceptDefinition:
        """Read the JSON form; DefinitionError if it is not valid."""
        try:
            check(data)
        except FieldError as problem:
            raise DefinitionError(f"Definition {describe(problem.place)}: {problem}") from problem
        return cls(**data)


def parse_definition(text: str, source: str = "<text>") -> ConceptDefinition:
    """Read a definition from YAML.

    Args:
        text: The YAML document.
        source: What to call it in errors, usually the file's path.

    Raises:
        DefinitionError: Says source and line, field, what was found and what is allowed.
    """
    lines: dict[Place, int] = {(): 1}
    try:
        data = _plain(_compose(text), (), lines)
        check(data)
    except FieldError as problem:
        place = problem.place
        while place not in lines:
            place = place[:-1]
        where = f"{source}:{lines[place]}: {describe(problem.place)}"
        raise DefinitionError(f"{where}: {problem}") from problem
    except yaml.YAMLError as error:
        raise DefinitionError(f"{source}{_yaml_error(error)}") from error
    return ConceptDefinition(**data)


def dump_definition(definition: ConceptDefinition) -> str:
    """Write a definition as YAML, which ``parse_definition`` reads; empty fields are left out.

    The text is safe to print: where a terminal would act on a character, YAML escapes it.
    """
    data = {name: value for name, value in definition.to_dict().items() if value}
    if "parameters" in data:  # whatever order they were written in
        data["parameters"] = dict(sorted(data["parameters"].items()))
    plain = is_printable(json.dumps(data, ensure_ascii=False))
    text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=plain, width=100)
    return text


def load_definition(path: Path | str) -> ConceptDefinition:
    """Read a definition from a YAML file.

    Raises:
        NotFoundError: If there is no such file.
        DefinitionError: If it cannot be read or is not valid.
    """
    path = Path(path)
    try:
        with open_file(path) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise NotFoundError(f"No definition file at '{path}'.") from error
    except OSError as error:
        raise DefinitionError(f"{path}: cannot be read: {error.strerror}.") from error
    if len(data) > MAX_FILE_BYTES:
        raise DefinitionError(f"{path}: larger than 1 MiB, which no definition is.")
    try:
        return parse_definition(data.decode("utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise DefinitionError(f"{path}: not UTF-8 text (byte {error.start}).") from error


def shipped_definitions() -> list[str]:
    """Return the slugs of the definitions that ship with the project, sorted."""
    return sorted(_shipped_files())


def load_shipped(slug: str) -> ConceptDefinition:
    """Read a shipped definition; NotFoundError when there is none of that name."""
    found = _shipped_files()
    if slug not in found:
        hint = did_you_mean(slug, found)
        raise NotFoundError(f"No shipped definition '{slug}'.{hint}")
    return parse_definition(found[slug].read_text(encoding="utf-8"), f"{slug}.yaml")


def _shipped_files() -> dict[str, Traversable]:
    """The shipped files by the slug inside them, read without parsing the rest."""
    found = {}
    for folder in SHIPPED_FOLDERS:
        place = files("concepts") / folder
        for entry in place.iterdir() if place.is_dir() else ():
            named = entry.name.endswith(".yaml") and SLUG_LINE.search(entry.read_text("utf-8"))
            if named:
                found[named[1]] = entry
    return found


def _compose(text: str) -> yaml.Node:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except RecursionError as error:
        raise FieldError((), "nested too deeply") from error
    except (ValueError, OverflowError) as error:  # an escape beyond what Unicode has
        raise FieldError((), f"not valid YAML: {error}") from error
    if node is None:
        raise FieldError((), "the file is empty; a mapping with slug, name, ... is expected")
    return node


def _plain(node: yaml.Node, place: Place, lines: dict[Place, int]) -> Any:
    lines[place] = node.start_mark.line + 1
    if len(place) > 2:
        raise FieldError(place, "nested too deeply")
    if not isinstance(node, yaml.ScalarNode) and node.tag not in PLAIN_TAGS:
        raise FieldError(place, f"has the tag '{node.tag}', plain YAML is expected: leave it out")
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            lines[(*place, key)] = key_node.start_mark.line + 1
            if key in found:
                raise FieldError((*place, key), "occurs twice")
            found[key] = _plain(value_node, (*place, key), lines)
            # Errors name the key's line; a block's value may begin a line later.
            lines[(*place, key)] = key_node.start_mark.line + 1
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*place, index), lines) for index, item in enumerate(node.value)]
    try:
        return yaml.SafeLoader("").construct_object(node)
    # What the constructors raise for a value that is not of its tag, such as `!!bool x`.
    except (ValueError, LookupError, AttributeError) as error:
        kind = node.tag.rpartition(":")[2]
        raise FieldError(place, f"{node.value[:80]!r} cannot be read as '{kind}'") from error


def _yaml_error(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    line = f":{mark.line + 1}" if mark else ""
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or error
    return f"{line}: not valid YAML: {problem}"
