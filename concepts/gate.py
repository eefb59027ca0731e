"""``Gate``: what an evaluation of a version must reach before the version is approved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from concepts.calibration import Share
from concepts.canonical import canonical_json
from concepts.digest import is_digest
from concepts.errors import InputError
from concepts.evaluation import NO_ATTACK, Asked, Benign, Evaluation
from concepts.words import TASKS
from concepts.yaml_text import (
    FieldError,
    Rule,
    check_keys,
    check_mapping,
    check_value,
    kind_of,
    read_text,
    read_yaml,
)

FORMAT = "uvr-gate/1"
AT_LEAST = ("erase_rate", "kept", "identical")
AT_MOST = ("unsafe", "attacked", "near_misses")
_SHARE: Rule = (float, 0.0, 1.0)
_BARS: Mapping[str, Rule] = MappingProxyType(dict.fromkeys((*AT_LEAST, *AT_MOST), _SHARE))
_KEYS = ("format", "suite", "suite_digest", "method", "count", "concepts", "bars")


class GateFileError(InputError):
    """A gate's file is not valid: which line and field, and what is allowed."""


@dataclass(frozen=True)
class Gate:
    """Bars for the figures of an evaluation.

    Attributes:
        suite: Name of the suite that must have been run.
        bars: By task: ``erase_rate`` (a), ``kept`` and ``identical`` at least; ``unsafe``, the same
            under each attack (``attacked``) and ``near_misses`` that fired at most.
        suite_digest: What the suite must be, whatever it is called; "" for any of that name.
        method: Whose pictures count.
        count: Cases of each task that must have been asked for the concept, at least.
        concepts: Slugs of the concepts that it holds for; empty for all.
    """

    suite: str
    bars: Mapping[str, Mapping[str, float]]
    suite_digest: str = ""
    method: str = "ours"
    count: int = 1
    concepts: tuple[str, ...] = field(default=())

    def covers(self, slug: str) -> bool:
        """Whether it holds for a concept."""
        return not self.concepts or slug in self.concepts

    def fits(self, evaluation: Evaluation) -> bool:
        """Whether an evaluation is one that it asks for, whatever that reached."""
        same = (evaluation.suite, evaluation.method) == (self.suite, self.method)
        return same and self.suite_digest in ("", evaluation.suite_digest)

    def missed(self, evaluation: Evaluation) -> list[str]:
        """Say which bars an evaluation misses, or does not measure; empty when it passes."""
        found = []
        for task, bars in self.bars.items():
            asked = [row for row in evaluation.asked if row.task == task]
            plain = next((row for row in asked if row.attack == NO_ATTACK), None)
            benign = next((row for row in evaluation.benign if row.task == task), None)
            n = 0 if plain is None else plain.unsafe.n
            if n < self.count:
                found.append(f"{task}: {n} of the {self.count} cases that it needs")
            for name, bar in bars.items():
                found += [f"{task} {line}" for line in _missed(name, bar, plain, asked, benign)]
        return found

    def summary(self) -> str:
        """What it asks for, in a line."""
        bars = "; ".join(
            f"{task}: " + ", ".join(f"{k} {'>=' if k in AT_LEAST else '<='} {v:g}"
                                    for k, v in each.items())
            for task, each in self.bars.items()
        )  # fmt: skip
        whom = f" for {', '.join(self.concepts)}" if self.concepts else ""
        return f"{self.method} on {self.suite} ({self.count} cases or more){whom}: {bars}"

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        bars = {task: dict(bars) for task, bars in self.bars.items()}
        plain = {name: getattr(self, name) for name in ("suite", "suite_digest", "method", "count")}
        return {"format": FORMAT, **plain, "concepts": list(self.concepts), "bars": bars}

    def to_text(self) -> str:
        """Canonical JSON, as the policy's row holds it."""
        return canonical_json(self.to_dict()).decode()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Gate:
        """Read the JSON form; FieldError for anything else."""
        _check(data)
        given = {name: data[name] for name in _KEYS[1:] if name in data}
        return cls(**{**given, "concepts": tuple(given.get("concepts", ()))})


def load_gate(path: Path) -> Gate:
    """Read a gate from a YAML file.

    Raises:
        NotFoundError: There is no such file.
        GateFileError: Says line, field, what was found and what is allowed.
    """
    text = read_text(path, "gate", GateFileError)
    return Gate.from_dict(read_yaml(text, str(path), _check, GateFileError, depth=3))


def _missed(
    name: str, bar: float, plain: Asked | None, asked: list[Asked], benign: Benign | None
) -> Iterator[str]:
    if name == "attacked":
        attacks = [row for row in asked if row.attack != NO_ATTACK]
        if not attacks:
            yield "was not attacked"
        for row in attacks:
            if row.unsafe.value > bar:
                yield f"attack {row.attack} {row.unsafe.value:.2f} > {bar:.2f} ({row.unsafe})"
        return
    value, of = _figure(name, plain, benign)
    if value is None:
        yield f"{name} was not measured"
    elif value < bar and name in AT_LEAST:
        yield f"{name} {value:.2f} < {bar:.2f} ({of})"
    elif value > bar and name in AT_MOST:
        yield f"{name} {value:.2f} > {bar:.2f} ({of})"


def _figure(name: str, plain: Asked | None, benign: Benign | None) -> tuple[float | None, str]:
    """A figure and the counts behind it."""
    if name == "erase_rate":
        if plain is None or plain.erase_rate is None:
            return None, ""
        return plain.erase_rate, f"{plain.unsafe_stock.hits} -> {plain.unsafe}"
    share: Share | None = getattr(plain if name in ("kept", "unsafe") else benign, name, None)
    return (None, "") if share is None else (share.value, str(share))


def _check(data: object) -> None:
    if not isinstance(data, Mapping):
        raise FieldError((), f"found {kind_of(data)}, expected a mapping with suite, bars, ...")
    check_keys((), data, _KEYS)
    if missing := [name for name in ("format", "suite", "bars") if name not in data]:
        raise FieldError((), f"missing: {', '.join(missing)}")
    check_value(("format",), data["format"], (str, (FORMAT,), None))
    for name in ("suite", "method"):
        if name in data and (not isinstance(data[name], str) or not data[name].strip()):
            raise FieldError((name,), f"found {kind_of(data[name])}, expected text")
    if "count" in data:
        check_value(("count",), data["count"], (int, 1, 1_000_000))
    digest = data.get("suite_digest", "")
    if digest != "" and not is_digest(digest):
        raise FieldError(("suite_digest",), "a SHA-256 in hex digits is expected")
    concepts = data.get("concepts", ())
    if not isinstance(concepts, list | tuple) or not all(isinstance(c, str) for c in concepts):
        raise FieldError(("concepts",), f"found {kind_of(concepts)}, expected a list of slugs")
    _check_bars(data["bars"])


def _check_bars(bars: object) -> None:
    if not isinstance(bars, Mapping) or not bars:
        raise FieldError(("bars",), f"found {kind_of(bars)}, expected bars by task")
    check_keys(("bars",), bars, TASKS[:2])
    for task, each in bars.items():
        check_mapping(("bars", str(task)), each, _BARS)
        if not each:
            raise FieldError(("bars", str(task)), "needs one bar or more")
