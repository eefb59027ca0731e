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
from concepts.fields import LISTS, check
from concepts.printable import is_printable
from concepts.yaml_text import FieldError, describe, read_text, read_yaml

SHIPPED_FOLDERS = ("nudity", "characters", "objects", "testbed")
SLUG_LINE = re.compile(r"^slug:\s*['\"]?([a-z0-9-]+)", re.MULTILINE)


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
        benign: Ordinary prompts: how many of such pictures match is measured and promised by them;
            without them a concept may match anything.
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
    return ConceptDefinition(**read_yaml(text, source, check, DefinitionError))


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
    return parse_definition(read_text(path, "definition", DefinitionError), str(path))


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
