"""CPU milliseconds of the console's pages: `python -m benchmarks.console`.

The registries are temporary ones of some concepts, all in a release that two channels point to; the
figures are medians of user and system time in this process, the client that asks included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from benchmarks.cli import fill
from console.app import make_app
from console.settings import Settings
from registry.registry import Registry

TARGET = 200
"""CPU milliseconds of a page."""
PAGES = (
    "/", "/concepts", "/concepts/pistol/1", "/concepts/concept-9/1", "/reviews",
    "/reviews/pistol/2", "/releases", "/releases/policy/2", "/new-release", "/audit",
    "/audit?subject=pistol", "/try",
)  # fmt: skip


def filled(home: Path, concepts: int) -> Registry:
    """Make a registry with some concepts, two releases, two channels, and a version in review."""
    fill(home, concepts)
    registry = Registry.open(home)
    registry.releases.add("policy", actor="bench", modes={"pistol": "shadow"}, allow_shrink=True)
    registry.channels.move("canary", "policy", actor="bench")
    registry.team.set_policy(actor="bench", approvals=1)
    registry.versions.submit("pistol", 2, actor="bench")
    return registry


def cpu_milliseconds(client: TestClient, page: str) -> float:
    """User and system time of one request."""
    before = time.process_time()
    answer = client.get(page)
    taken = 1000 * (time.process_time() - before)
    if answer.status_code != 200:
        raise RuntimeError(f"{page} answers {answer.status_code}: {answer.text}")
    return taken


def measure(concepts: int, rounds: int) -> list[dict[str, Any]]:
    """Median CPU milliseconds of each page."""
    with tempfile.TemporaryDirectory(prefix="uvr-bench-") as folder:
        app = make_app(filled(Path(folder), concepts), Settings("bench"))
        url = "http://127.0.0.1:8642"
        with TestClient(app, base_url=url, client=("127.0.0.1", 50000)) as client:
            rows = []
            for page in PAGES:
                times = [cpu_milliseconds(client, page) for _ in range(rounds + 2)][2:]  # warm
                rows.append(
                    {
                        "page": page, "concepts": concepts, "n": rounds,
                        "cpu_ms": round(statistics.median(times), 1), "target_ms": TARGET,
                    }
                )  # fmt: skip
            return rows


def main() -> None:
    """Measure each page and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--concepts", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    rows = []
    print(f"{'page':<24} {'concepts':>8} {'n':>3} {'CPU ms':>7} {'target':>6}")  # noqa: T201
    for concepts in options.concepts:
        for row in measure(concepts, options.rounds):
            rows.append(row)
            print(  # noqa: T201
                f"{row['page']:<24} {row['concepts']:>8} {row['n']:>3} {row['cpu_ms']:>7.1f} "
                f"{row['target_ms']:>6}",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps({"benchmark": "console", "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
