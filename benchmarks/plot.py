"""Draw how the registry's costs grow: `python benchmarks/plot.py`.

Reads add.json, bundle.json and index.json of benchmarks/results and writes growth.png beside them.
"""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

RESULTS = Path(__file__).parent / "results"


def rows(name: str) -> list[dict[str, Any]]:
    """The figures of one benchmark."""
    found = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return list(found if isinstance(found, list) else found["rows"])


def lines(axes: Any, name: str, x: str, series: dict[str, tuple[str, float]], title: str) -> None:
    """Draw columns of a benchmark, each times a factor, over one of its columns."""
    found = rows(name)
    for label, (column, factor) in series.items():
        values = [row[column] * factor for row in found]
        axes.loglog([row[x] for row in found], values, marker="o", label=label)
    axes.set(title=title, xlabel=x)
    axes.grid(visible=True, which="both", alpha=0.2)
    axes.legend()


def main() -> None:
    """Draw all of them into one picture."""
    figure, axes = plt.subplots(1, 4, figsize=(19, 4.2), layout="constrained")
    lines(
        axes[0],
        "add",
        "anchors",
        {"write and fsync": ("write_s", 1), "add a version": ("add_s", 1)},
        "Adding anchors, s",
    )
    lines(
        axes[1],
        "index",
        "anchors",
        {"FAISS alone": ("raw_p50_ms", 1), "search": ("p50_ms", 1)},
        "One search, p50, ms",
    )
    lines(axes[2], "index", "anchors", {"build": ("build_s", 1), "open": ("open_s", 1)}, "Index, s")
    lines(
        axes[3],
        "bundle",
        "concepts",
        {"read and hash": ("hash_s", 1e3), "verify and load": ("load_s", 1e3)},
        "Bundle, ms",
    )
    figure.savefig(RESULTS / "growth.png", dpi=80)


if __name__ == "__main__":
    main()
