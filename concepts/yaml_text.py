"""Texts in YAML that people write: read as plain values, with errors that name line and field."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from concepts.errors import InputError, NotFoundError, did_you_mean
from concepts.files import open_file

MAX_FILE_BYTES = 1 << 20
PLAIN_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")

# A field, then perhaps a position in its list or a key of its mapping.
Place = tuple[str | int, ...]
# The type of a value, then its lowest and highest value, or the allowed words and None.
Rule = tuple[type, Any, Any]


class FieldError(Exception):
    """What is wrong at one place of a text; a place is a field and perhaps a position."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place


def describe(place: Place) -> str:
    """Return a place in words, such as "field 'prompts[2]'"."""
    if not place:
        return "document"
    parts = [f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in place]
    return f"field '{''.join(parts).lstrip('.')}'"


def kind_of(value: object) -> str:
    """Return what kind of value was found, in words, such as "a list"."""
    names = {dict: "a mapping", list: "a list", bool: "true/false", type(None): "nothing"}
    names |= {int: "a number", float: "a number", str: "text", tuple: "a list"}
    return names.get(type(value), f"a {type(value).__name__}")


def check_keys(place: Place, data: Mapping[Any, Any], known: Iterable[str]) -> None:
    """Check that a mapping has no other keys; FieldError for the first that is unknown."""
    known = tuple(known)
    for key in data:
        if key not in known:
            hint = did_you_mean(str(key), known)
            raise FieldError((*place, str(key)), f"unknown; allowed: {', '.join(known)}.{hint}")


def check_value(place: Place, value: object, rule: Rule) -> None:
    """Check a number by its type and limits, or a word by those that are allowed."""
    kind, low, high = rule
    if kind is str:
        if value not in low:
            hint = did_you_mean(str(value), low)
            raise FieldError(place, f"found {value!r}, allowed: {', '.join(low)}.{hint}")
        return
    accepted = int if kind is int else int | float
    if not isinstance(value, accepted) or isinstance(value, bool) or not low <= value <= high:
        noun = "a whole number" if kind is int else "a number"
        raise FieldError(place, f"found {value!r}, allowed: {noun} from {low} to {high}")


def check_mapping(place: Place, value: object, rules: Mapping[str, Rule]) -> None:
    """Check a mapping of values, each by the rule of its key."""
    if not isinstance(value, Mapping):
        raise FieldError(place, f"found {kind_of(value)}, expected a mapping")
    check_keys(place, value, rules)
    for key, item in value.items():
        check_value((*place, str(key)), item, rules[key])


def read_yaml(
    text: str,
    source: str,
    check: Callable[[Any], object],
    raised: type[InputError],
    *,
    depth: int = 2,
) -> Any:
    """Read plain values from YAML and check them.

    Args:
        text: The YAML document; mappings and lists, one in another.
        source: What to call it in errors, usually the file's path.
        check: Raises FieldError for what is not valid.
        raised: The error to raise for it, which says source and line, field, and what is wrong.
        depth: How deep values may be: 2 for one level of mappings or lists in another.
    """
    lines: dict[Place, int] = {(): 1}
    try:
        data = _plain(_compose(text), (), lines, depth)
        check(data)
    except FieldError as problem:
        place = problem.place
        while place not in lines:
            place = place[:-1]
        where = f"{source}:{lines[place]}: {describe(problem.place)}"
        raise raised(f"{where}: {problem}") from problem
    except yaml.YAMLError as error:
        raise raised(f"{source}{_yaml_error(error)}") from error
    return data


def read_text(path: Path, what: str, raised: type[InputError]) -> str:
    """Read the text of a file.

    Args:
        path: Where.
        what: What to call the file in errors, such as "definition".
        raised: The error to raise where it cannot be read, is no UTF-8 or is over 1 MiB.

    Raises:
        NotFoundError: There is no such file.
    """
    try:
        with open_file(path) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise NotFoundError(f"No {what} file at '{path}'.") from error
    except OSError as error:
        raise raised(f"{path}: cannot be read: {error.strerror}.") from error
    if len(data) > MAX_FILE_BYTES:
        raise raised(f"{path}: larger than 1 MiB, which no {what} is.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise raised(f"{path}: not UTF-8 text (byte {error.start}).") from error


def _compose(text: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except RecursionError as error:
        raise FieldError((), "nested too deeply") from error
    except (ValueError, OverflowError) as error:  # an escape beyond what Unicode has
        raise FieldError((), f"not valid YAML: {error}") from error


def _plain(node: yaml.Node | None, place: Place, lines: dict[Place, int], depth: int) -> Any:
    if node is None:
        return None
    lines[place] = node.start_mark.line + 1
    if len(place) > depth:
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
            found[key] = _plain(value_node, (*place, key), lines, depth)
            # Errors name the key's line; a block's value may begin a line later.
            lines[(*place, key)] = key_node.start_mark.line + 1
        return found
    if isinstance(node, yaml.SequenceNode):
        return [
            _plain(item, (*place, index), lines, depth) for index, item in enumerate(node.value)
        ]
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
