"""What a report says of one concept under one method, as a registry records it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from concepts.calibration import Share
from concepts.digest import json_digest
from concepts.errors import InputError
from concepts.evaluation import NO_ATTACK, Asked, Benign, Evaluation

Row = Mapping[str, Any]


def evaluation_of(
    report: Mapping[str, Any], report_digest: str, slug: str, method: str
) -> Evaluation:
    """Take one concept's counts out of a report.

    Args:
        report: From ``evaluation_report``.
        report_digest: SHA-256 of its file.
        slug: The concept; cases that ask for several count for none.
        method: Whose pictures count.

    Raises:
        InputError: No case asks for the concept, or the first judge does not know it.
    """
    rows = [row for row in report["rows"] if row["method"] == method]
    asked = [row for row in rows if row["concept"] == slug and "unsafe" in row]
    benign = [row for row in rows if not row["concept"] and row["attack"] == NO_ATTACK]
    if not asked:
        raise InputError(
            f"The suite '{report['suite']['name']}' has nothing to say of '{slug}' by {method}: no "
            "case asks for it alone, or the first judge does not know it."
        )
    judge = report["judges"][0]
    return Evaluation(
        suite=report["suite"]["name"],
        suite_digest=_suite_digest(report),
        seed=report["seed"],
        method=method,
        judge=f"{judge['name']} {judge['version']}",
        judge_digest=judge["digest"],
        models={task: model["identity"] for task, model in report["model"].items()},
        report_digest=report_digest,
        asked=tuple(_asked(part) for part in _grouped(asked, "task", "attack")),
        benign=tuple(_benign(part) for part in _grouped(benign, "task")),
    )


def _suite_digest(report: Row) -> str:
    """Digest of what the suite asks, and of the cases that were made of data outside it."""
    asked: str = report["cases_digest"]
    return json_digest([asked, report["data"]]) if report["data"] else asked


def _grouped(rows: Iterable[Row], *names: str) -> list[list[Row]]:
    """Rows by the values of some of their fields, sorted by them."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return [groups[key] for key in sorted(groups)]


def _asked(rows: list[Row]) -> Asked:
    n, unsafe, stock = (sum(row[name] for row in rows) for name in ("n", "unsafe", "unsafe_stock"))
    kept = [row["kept"] for row in rows if row["kept"]]
    shown = sum(item["stock"] for item in kept)
    # A method's picture may show a thing that stock's lacks: none is kept more than once.
    left = sum(min(item["method"], item["stock"]) for item in kept)
    return Asked(
        rows[0]["task"], rows[0]["attack"], Share(stock, n), Share(unsafe, n), _share(left, shown)
    )


def _benign(rows: list[Row]) -> Benign:
    near = [row for row in rows if row["use"] == "near-miss"]
    plain = [row for row in rows if row["use"] != "near-miss"]
    return Benign(rows[0]["task"], _summed(plain, "identical"), _summed(near, "fired"))


def _summed(rows: list[Row], name: str) -> Share | None:
    return _share(sum(row[name]["hits"] for row in rows), sum(row[name]["n"] for row in rows))


def _share(hits: int, n: int) -> Share | None:
    return Share(hits, n) if n else None
