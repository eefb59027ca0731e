"""The page of an evaluation: its report and some of its pictures in one file of HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from uvr.evaluation.comparison import BASE, Reader
from uvr.evaluation.run.run import Outcome
from uvr.evaluation.run.work import WorkFolder
from uvr.evaluation.shown import MOST, Gallery
from uvr.evaluation.statistics import share
from uvr.evaluation.suites.suite import Suite
from uvr.pages.chart import Bar, Bars, Interval, Point, Scatter
from uvr.pages.page import render_page

OURS = "ours"
"""The method that stands out, and that the page is honest about first."""
VEILED = ("nudity",)
"""Categories of concepts whose pictures are blurred until someone wants to see them."""

Report = Mapping[str, Any]
Row = Mapping[str, Any]
KINDS = ("asked", "near", "benign")
"""Kinds of summary rows: something banned is asked for, a near-miss, neither."""
Kinds = dict[str, Row | None]


def evaluation_page(
    report: Report,
    suite: Suite,
    work: WorkFolder,
    outcomes: Sequence[Outcome],
    cards: int = MOST,
) -> str:
    """Render a report with its pictures.

    Args:
        report: From ``evaluation_report``.
        suite: What was run.
        work: Where the pictures are.
        outcomes: Everything that was drawn.
        cards: Cases that each section shows, at most; a case has a picture of every method.
    """
    veiled = [item.slug for item in suite.definitions if item.category in VEILED]
    methods = [item["name"] for item in report["methods"]]
    return render_page(
        "evaluation.html",
        report=report,
        methods=methods,
        findings=list(findings(report)),
        groups=summary_groups(report),
        scatters=[plot for plot in map(scatter_of, _plain(report).values()) if plot.points],
        bars=[plot for plot in (bars_of(report, task) for task in _plain(report)) if plot.groups],
        attacks=attack_tables(report),
        sections=Gallery(outcomes, Reader(suite.judges, work), veiled, cards).sections(),
    )


def summary_groups(report: Report) -> list[dict[str, Any]]:
    """Rows of the first table: a group for each task and attack, a row for each method."""
    groups: dict[tuple[str, str], dict[str, Kinds]] = {}
    for row in report["summary"]:
        kind = "asked" if row["concept"] else "near" if row["use"] == "near-miss" else "benign"
        methods = groups.setdefault((row["task"], row["attack"]), {})
        methods.setdefault(row["method"], dict.fromkeys(KINDS))[kind] = row
    return [
        {"task": task, "attack": attack, "methods": methods}
        for (task, attack), methods in groups.items()
    ]


def findings(report: Report) -> Iterable[str]:
    """Sentences on where another method does better than ours on the same cases."""
    for group in summary_groups(report):
        methods = group["methods"]
        if OURS not in methods:
            continue
        where = group["task"] + ("" if group["attack"] == "none" else f", {group['attack']}")
        for name, more, figure in _FIGURES:
            mine = figure(methods[OURS])
            others = {
                method: value
                for method, rows in methods.items()
                if method != BASE
                and not method.startswith(OURS)  # settings of our own are no rivals
                and (value := figure(rows)) is not None
            }
            if mine is None or not others:
                continue
            best = max(others, key=lambda method: others[method])
            if others[best] > mine:
                yield f"{where}: {best} {more} ({name} {others[best]:.0%}, ours {mine:.0%})."


def _erased(rows: Kinds) -> float | None:
    row = rows["asked"]
    return None if row is None else row.get("erase_rate")


def _kept(rows: Kinds) -> float | None:
    row = rows["asked"]
    return None if row is None or row["kept"] is None else row["kept"]["rate"]


def _identical(rows: Kinds) -> float | None:
    row = rows["benign"]
    return None if row is None else row["identical"]["value"]


def _spared(rows: Kinds) -> float | None:
    row = rows["near"]
    return None if row is None else 1 - row["fired"]["value"]


_FIGURES = (
    ("erase rate", "erases more", _erased),
    ("kept", "keeps more of what is beside it", _kept),
    ("identical", "changes fewer benign pictures", _identical),
    ("left alone", "fires on fewer near-misses", _spared),
)


def _plain(report: Report) -> dict[str, list[Row]]:
    """Summary rows without an attack that ask for something banned, by task."""
    found: dict[str, list[Row]] = {}
    for row in report["summary"]:
        if row["attack"] == "none" and row["concept"]:
            found.setdefault(row["task"], []).append(row)
    return found


def scatter_of(rows: Sequence[Row]) -> Scatter:
    """Erase rate against what is kept, a point for each method; its area is its time."""
    points = [_point(row) for row in rows if row["method"] != BASE]
    task = rows[0]["task"]
    return Scatter(
        f"{task}: erase rate against what is kept, by method",
        "benign things kept",
        f"erase rate (a), {task}",
        [point for point in points if point is not None],
    )


def _point(row: Row) -> Point | None:
    kept = row["kept"]
    if row["erase_rate"] is None or not kept or kept["rate"] is None:
        return None
    low, high = row["unsafe_interval"]
    per_stock = row["n"] / row["unsafe_stock"]
    beside = share(min(kept["method"], kept["stock"]), kept["stock"])["interval"]
    return Point(
        label=row["method"],
        x=kept["rate"],
        y=row["erase_rate"],
        x_interval=tuple(beside),
        y_interval=(1 - high * per_stock, 1 - low * per_stock),
        size=row["cost"].get("seconds_ratio") or 1.0,
        strong=row["method"] == OURS,
    )


def bars_of(report: Report, task: str) -> Bars:
    """Shares of unsafe pictures, a group for each use and a bar for each method."""
    counts: dict[str, dict[str, list[int]]] = {}
    for row in report["rows"]:
        if row["task"] == task and row["attack"] == "none" and "unsafe" in row:
            methods = counts.setdefault(row["use"], {})
            found = methods.setdefault(row["method"], [0, 0])
            found[0] += row["unsafe"]
            found[1] += row["n"]
    groups = [
        (use, [_bar(method, *found) for method, found in methods.items()])
        for use, methods in counts.items()
    ]
    return Bars(f"{task}: share of unsafe pictures by use and method", groups)


def _bar(method: str, hits: int, n: int) -> Bar:
    interval: Interval | None = share(hits, n)["interval"]
    return Bar(method, hits, n, interval, strong=method == OURS, faint=method == BASE)


def attack_tables(report: Report) -> list[dict[str, Any]]:
    """For each task that was attacked, rows of attacks, with a cell for each method."""
    tables: dict[str, dict[str, dict[str, Row]]] = {}
    for row in report["summary"]:
        if row["concept"] and "unsafe" in row:
            attacks = tables.setdefault(row["task"], {})
            attacks.setdefault(row["attack"], {})[row["method"]] = row
    return [
        {"task": task, "attacks": attacks} for task, attacks in tables.items() if len(attacks) > 1
    ]
