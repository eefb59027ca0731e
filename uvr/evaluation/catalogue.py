"""Catalogues: things known by name, whose parameters a suite's YAML may say.

An item is a frozen dataclass with a class attribute ``name``; its fields are its parameters. An
entry of a suite is the name alone, such as ``- stock``, or a mapping with the name and parameters,
such as ``- {name: ours, strength: 0.5}``.
"""

from __future__ import annotations

import ast
import inspect
import pkgutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, fields
from functools import cache
from importlib import import_module
from types import NoneType, UnionType
from typing import Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

from concepts.canonical import plain_json
from concepts.digest import sha256
from concepts.errors import did_you_mean
from concepts.yaml_text import FieldError, Place, check_keys, kind_of

Item = TypeVar("Item")

_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


class Catalogue(Generic[Item]):
    """Classes by name, made from the entries of a suite.

    Args:
        noun: What an item is, in errors, such as "method".
        classes: Those that are known from the start.
    """

    def __init__(self, noun: str, classes: Iterable[type[Item]] = ()) -> None:
        self.noun = noun
        self._classes: dict[str, type[Item]] = {}
        for each in classes:
            self.register(each)

    def register(self, item: type[Item]) -> type[Item]:
        """Make a class known by its ``name``, in place of one that had it; use as a decorator."""
        self._classes[str(item.name)] = item  # type: ignore[attr-defined]
        return item

    def names(self) -> list[str]:
        """Every name, in order of registration."""
        return list(self._classes)

    def make(self, entry: object, place: Place = ()) -> Item:
        """Make an item from an entry: its name, or a mapping with "name" and parameters.

        Raises:
            FieldError: Names the place of what is not valid.
        """
        if isinstance(entry, str):
            entry = {"name": entry}
        if not isinstance(entry, Mapping):
            raise FieldError(place, f"found {kind_of(entry)}, expected a name or a mapping")
        if "name" not in entry:
            raise FieldError(place, f"missing: name (of the {self.noun})")
        found = self._find(entry["name"], place)
        rules = {item.name: item for item in fields(found) if item.init}  # type: ignore[arg-type]
        check_keys(place, entry, ("name", *rules))
        hints = get_type_hints(found)
        given = {
            name: _value(value, hints[name], (*place, name))
            for name, value in entry.items()
            if name != "name"
        }
        missing = [
            name for name, item in rules.items()
            if name not in given and item.default is MISSING and item.default_factory is MISSING
        ]  # fmt: skip
        if missing:
            raise FieldError(place, f"missing: {', '.join(missing)}")
        try:
            return found(**given)
        except FieldError as problem:
            raise FieldError((*place, *problem.place), str(problem)) from problem
        except ValueError as problem:
            raise FieldError(place, str(problem)) from problem

    def _find(self, name: object, place: Place) -> type[Item]:
        if name not in self._classes:
            hint = did_you_mean(str(name), self._classes)
            known = ", ".join(self._classes)
            raise FieldError(place, f"no {self.noun} {name!r}; there are: {known}.{hint}")
        return self._classes[str(name)]


def parameters_of(item: Any) -> dict[str, Any]:
    """The parameters of an item as plain JSON."""
    plain: dict[str, Any] = plain_json(asdict(item))
    return plain


def identity_of(item: Any) -> dict[str, Any]:
    """What a method, an attack or a source of cases is, for keys: name, parameters and code."""
    names = (type(item).__module__, *getattr(item, "code", ()))
    code = {name: code_digest(name) for name in sorted(set(names))}
    return {"name": item.name, "parameters": parameters_of(item), "code": code}


@cache
def code_digest(name: str) -> str:
    """Digest of a module's or a whole package's code; comments and layout do not count."""
    module = import_module(name)
    names = [name]
    if hasattr(module, "__path__"):
        names += [found.name for found in pkgutil.walk_packages(module.__path__, f"{name}.")]
    trees = [ast.dump(ast.parse(_source(each))) for each in sorted(names)]
    return sha256("\n".join(trees).encode())


def _source(name: str) -> str:
    import_module(name)
    try:
        return inspect.getsource(sys.modules[name])
    except OSError:  # an empty file, or a class typed at a prompt
        return ""


def _value(value: object, hint: Any, place: Place) -> Any:
    """A value as the type of its field; FieldError where it is of another type."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        if value is None and NoneType in parts:
            return None
        rest = [part for part in parts if part is not NoneType]
        plain = [part for part in rest if isinstance(value, dict) == (get_origin(part) is not None)]
        return _value(value, (plain or rest)[0], place)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise FieldError(place, f"found {kind_of(value)}, expected a list")
        return tuple(_value(item, parts[0], (*place, n)) for n, item in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise FieldError(place, f"found {kind_of(value)}, expected a mapping")
        return {key: _value(item, parts[1], (*place, key)) for key, item in value.items()}
    accepted = (int, float) if hint is float else hint
    if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
        raise FieldError(place, f"found {kind_of(value)}, expected {_WORDS.get(hint, hint)}")
    return float(value) if hint is float else value
