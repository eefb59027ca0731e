"""Draw how costs grow: `python benchmarks/plot.py`.

Reads add.json, bundle.json, cli.json and index.json of benchmarks/results and writes growth.png
beside them, the registry's costs; from scale.json, where it is there, scale.png, the engine's.
"""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

RESULTS = Path(__file__).parent / "results"


COMMANDS = ("--help", "concepts", "show pistol", "release policy --dry-run", "index")


def rows(name: str) -> list[dict[str, Any]]:
    """The figures of one benchmark, without the sizes that could not be measured."""
    found = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    listed = found if isinstance(found, list) else found["rows"]
    return [row for row in listed if "skipped" not in row]


def line(axes: Any, found: list[dict[str, Any]], x: str, y: str, label: str, factor: float) -> None:
    """Draw one column, times a factor, over another."""
    values = [row[y] * factor for row in found]
    axes.loglog([row[x] for row in found], values, marker="o", label=label)


def lines(axes: Any, name: str, x: str, series: dict[str, str], factor: float = 1) -> None:
    """Draw columns of a benchmark over one of its columns."""
    for label, column in series.items():
        line(axes, rows(name), x, column, label, factor)


def scale() -> None:
    """Draw the ratio of a regulated call to a stock one over each series of scale.json."""
    found = rows("scale")
    names = [
        name for name in ("concepts", "tokens", "batch") if name in {r["series"] for r in found}
    ]
    figure, axes = plt.subplots(
        1, len(names), figsize=(5 * len(names), 4), layout="constrained", squeeze=False
    )
    for place, name in zip(axes[0], names, strict=True):
        for fires, label in ((False, "nothing fires"), (True, "fires")):
            part = [row for row in found if (row["series"], row["fires"]) == (name, fires)]
            if not part:
                continue
            middle = [row["cpu_ratio"] for row in part]
            low, high = zip(*(row["cpu_pairs"] for row in part), strict=True)
            x = [row[name] for row in part]
            place.plot(x, middle, marker="o", label=label)
            place.fill_between(x, low, high, alpha=0.15)  # from the lowest pair to the highest
        place.set(title=f"{name}, times stock", xlabel=name, xscale="log")
        place.axhline(1.0, color="gray", linewidth=0.8)
        place.grid(visible=True, which="both", alpha=0.2)
        place.legend()
    figure.savefig(RESULTS / "scale.png", dpi=80)


def registry() -> None:
    """Draw the registry's costs into one picture."""
    figure, axes = plt.subplots(1, 5, figsize=(23, 4.2), layout="constrained")
    lines(axes[0], "add", "anchors", {"write and fsync": "write_s", "add a version": "add_s"})
    lines(axes[1], "index", "anchors", {"FAISS alone": "raw_p50_ms", "search": "p50_ms"})
    lines(axes[2], "index", "anchors", {"build": "build_s", "open": "open_s"})
    loads = {
        "read and hash": "hash_s",
        "verify and load": "load_s",
        "an engine's start": "start_s",
    }
    lines(axes[3], "bundle", "concepts", loads, 1e3)
    for command in COMMANDS:
        found = [row for row in rows("cli") if row["command"] == command]
        line(axes[4], found, "concepts", "cpu_s", command, 1)
    titles = {
        "Adding anchors, s": "anchors of the version",
        "One search, p50, ms": "anchors in the index",
        "Index, s": "anchors in the index",
        "Bundle, ms": "concepts in the bundle",
        "Command, CPU s": "concepts in the registry",
    }
    for place, (title, label) in zip(axes, titles.items(), strict=True):
        place.set(title=title, xlabel=label)
        place.grid(visible=True, which="both", alpha=0.2)
        place.legend()
    figure.savefig(RESULTS / "growth.png", dpi=80)


if __name__ == "__main__":
    registry()
    if (RESULTS / "scale.json").is_file():
        scale()
