"""A suite: what is asked, of which methods and under which attacks, and who judges.

A suite is a YAML file; those that ship with the package are known by name. It is read as strictly
as a definition: what is unknown, missing or of another type is an error that names line and field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from concepts.definition import ConceptDefinition, load_definition, load_shipped
from concepts.digest import json_digest
from concepts.errors import InputError, UVRError
from concepts.yaml_text import (
    FieldError,
    Place,
    check_keys,
    check_value,
    kind_of,
    read_text,
    read_yaml,
)
from uvr.evaluation.attacks.attack import Attack
from uvr.evaluation.attacks.known import ATTACKS
from uvr.evaluation.catalogue import Catalogue, parameters_of
from uvr.evaluation.judging import JUDGES, SuiteJudge
from uvr.evaluation.methods.known import METHODS
from uvr.evaluation.methods.method import Method
from uvr.evaluation.suites.known import SOURCES
from uvr.evaluation.suites.shipped import check_suite, shipped_suites
from uvr.evaluation.suites.source import CaseSource

FORMAT = "uvr-suite/1"
_TEXTS = ("format", "name", "about", "model")
_LISTS = ("concepts", "cases", "judges", "methods", "attacks")
_NUMBERS = {"seed": (int, 0, 2**31 - 1), "batch": (int, 1, 1024)}
_REQUIRED = ("format", "name", "about", "concepts", "cases", "judges")
_DEFAULTS: Mapping[str, Any] = {
    "model": "testbed", "seed": 31, "batch": 10, "methods": ["stock", "ours"], "attacks": ["none"],
}  # fmt: skip


class SuiteError(InputError):
    """A suite is not valid: which file, line and field, and what is allowed."""


@dataclass(frozen=True)
class Suite:
    """What an evaluation draws and how it is judged.

    Attributes:
        name: Of the suite, in reports.
        about: What it measures, in a sentence.
        definitions: Its concepts.
        cases: Sources of its cases.
        judges: The first decides; the others are asked too.
        methods: Stock comes first, whether the file says so or not.
        attacks: "none" comes first, whether the file says so or not.
        model: "testbed", a folder or a repository, as ``--model`` takes it.
        seed: Of cases and noise: a development seed.
        batch: Pictures a call. A picture may depend on it by rounding, so it belongs to the suite.
    """

    name: str
    about: str
    definitions: tuple[ConceptDefinition, ...]
    cases: tuple[CaseSource, ...]
    judges: tuple[SuiteJudge, ...]
    methods: tuple[Method, ...]
    attacks: tuple[Attack, ...]
    model: str = "testbed"
    seed: int = 31
    batch: int = 10

    def to_dict(self) -> dict[str, Any]:
        """JSON form, with all parameters."""
        items = {
            name: [{"name": item.name, **parameters_of(item)} for item in getattr(self, name)]
            for name in _LISTS
            if name != "concepts"
        }
        concepts = {item.slug: item.digest for item in self.definitions}
        plain = {name: getattr(self, name) for name in ("name", "about", "model", "seed", "batch")}
        return {"format": FORMAT, **plain, "concepts": concepts, **items}

    def narrowed(self, methods: Sequence[str] = (), attacks: Sequence[str] = ()) -> Suite:
        """The suite with other methods or attacks: its own of those names, or as they come.

        Raises:
            SuiteError: There is no method or attack of a name.
        """
        try:
            made = [_named(name, self.methods, METHODS) for name in methods]
            ways = [_named(name, self.attacks, ATTACKS) for name in attacks]
        except FieldError as problem:
            raise SuiteError(f"{problem}") from problem
        return replace(
            self,
            methods=first_of("stock", made or self.methods, METHODS),
            attacks=first_of("none", ways or self.attacks, ATTACKS),
        )

    @property
    def digest(self) -> str:
        """SHA-256 of its canonical JSON."""
        return json_digest(self.to_dict())

    @property
    def cases_digest(self) -> str:
        """SHA-256 of what it asks and how it is judged, whichever methods and attacks run."""
        apart = ("seed", "methods", "attacks")
        return json_digest({k: v for k, v in self.to_dict().items() if k not in apart})


def load_suite(name: Path | str) -> Suite:
    """Load a suite by the name of a shipped one, or from the path of a YAML file.

    Raises:
        NotFoundError: There is neither.
        SuiteError: Says source and line, field, what was found and what is allowed.
    """
    if str(name) in shipped_suites():
        text = (files("uvr.evaluation.suites") / f"{name}.yaml").read_text("utf-8")
        return parse_suite(text, f"{name}.yaml")
    check_suite(name)
    path = Path(name)
    return parse_suite(read_text(path, "suite", SuiteError), str(path), path.parent)


def parse_suite(text: str, source: str = "<text>", folder: Path | None = None) -> Suite:
    """Read a suite from YAML.

    Args:
        text: The YAML document.
        source: What to call it in errors, usually the file's path.
        folder: Where definitions that it names by a path are.

    Raises:
        SuiteError: Says source and line, field, what was found and what is allowed.
    """
    made: list[Suite] = []
    read_yaml(text, source, lambda data: made.append(_suite(data, folder)), SuiteError, depth=5)
    return made[0]


def _suite(data: object, folder: Path | None) -> Suite:
    _check(data)
    if not isinstance(data, Mapping):
        raise FieldError((), f"found {kind_of(data)}, expected a mapping with name, cases, ...")
    given = {**_DEFAULTS, **data}
    methods, attacks = (_items(name, given, known) for name, known in
                        (("methods", METHODS), ("attacks", ATTACKS)))  # fmt: skip
    return Suite(
        name=given["name"],
        about=given["about"],
        definitions=_definitions(given["concepts"], folder),
        cases=tuple(_items("cases", given, SOURCES)),
        judges=tuple(_items("judges", given, JUDGES)),
        methods=first_of("stock", methods, METHODS),
        attacks=first_of("none", attacks, ATTACKS),
        **{name: given[name] for name in ("model", "seed", "batch")},
    )


def _named(name: str, items: Sequence[Any], known: Catalogue[Any]) -> Any:
    return next((item for item in items if item.name == name), None) or known.make(name)


def first_of(name: str, items: Sequence[Any], known: Catalogue[Any]) -> tuple[Any, ...]:
    """Items with the one of a name in front, made if it is not among them."""
    base = _named(name, items, known)
    return (base, *(item for item in items if item.name != name))


def _check(data: object) -> None:
    if not isinstance(data, Mapping):
        raise FieldError((), f"found {kind_of(data)}, expected a mapping with name, cases, ...")
    check_keys((), data, (*_TEXTS, *_LISTS, *_NUMBERS))
    if missing := [name for name in _REQUIRED if name not in data]:
        raise FieldError((), f"missing: {', '.join(missing)}")
    check_value(("format",), data["format"], (str, (FORMAT,), None))
    for name in _TEXTS:
        if name in data and (not isinstance(data[name], str) or not data[name].strip()):
            raise FieldError((name,), f"found {kind_of(data[name])}, expected text")
    for name, rule in _NUMBERS.items():
        if name in data:
            check_value((name,), data[name], rule)
    for name in _LISTS:
        if name in data and not (isinstance(data[name], list) and data[name]):
            raise FieldError(
                (name,), f"found {kind_of(data[name])}, expected a list of one or more"
            )


def _items(field: str, data: Mapping[str, Any], known: Catalogue[Any]) -> list[Any]:
    return [known.make(entry, (field, place)) for place, entry in enumerate(data[field])]


def _definitions(names: list[object], folder: Path | None) -> tuple[ConceptDefinition, ...]:
    """Shipped definitions by slug, others by a path beside the suite."""
    found: dict[str, ConceptDefinition] = {}
    for number, name in enumerate(names):
        place: Place = ("concepts", number)
        if not isinstance(name, str):
            raise FieldError(place, f"found {kind_of(name)}, expected a slug or a path")
        try:
            if name.endswith((".yaml", ".yml")):
                definition = load_definition((folder or Path()) / name)
            else:
                definition = load_shipped(name)
        except UVRError as problem:
            raise FieldError(place, str(problem)) from problem
        if definition.slug in found:
            raise FieldError(place, f"'{definition.slug}' is there already")
        found[definition.slug] = definition
    return tuple(found.values())
