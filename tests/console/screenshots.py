"""Pictures of the console for the manual, taken by the tests in a browser where they are asked for.

`make screenshots` names a folder with UVR_SCREENSHOTS. Tests that take a picture then run on a
registry whose example pictures the testbed drew, which takes two minutes, and end there.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page

from uvr.testbed.samples import example_sample

ASKED = os.environ.get("UVR_SCREENSHOTS")
SLUG, NAME = ("testbed-pistol", "Pistol (testbed)") if ASKED else ("pistol", "Pistol")
"""The concept that is live, and its name."""
GROUND = "--origin archive-12 --legal-basis licence-7 --retain-until 365d"
WIDTH, QUALITY = 1100, 82
COMMANDS = """
init
add-concept testbed-pistol
add-concept testbed-bomb
add-concept testbed-mascot
collect-anchors testbed-pistol --task t2i --task check --yes
collect-anchors testbed-bomb testbed-mascot --task t2i --yes
release policy --mode testbed-mascot=log --note week-48
channel move prod policy --reason week-48
report testbed-pistol --out sheet.html
"""
GIVEN = """
exemplars keep testbed-pistol {shown} {ground}
exemplars keep testbed-pistol {benign} --benign {ground}
exemplars score testbed-pistol --task t2i
"""


def fill(home: Path) -> None:
    """Make a registry of one: of the testbed's concepts two are banned, and one only reported."""
    for line in COMMANDS.strip().splitlines():
        run(home, *line.split())
    given = {"shown": _given(home, "must-catch", 9), "benign": _given(home, "look-alike", 8)}
    for line in GIVEN.format(**given, ground=GROUND).strip().splitlines():
        run(home, *line.split())


def _given(home: Path, kind: str, count: int) -> str:
    """Write pictures as somebody has them, all but the last with a mask where they show it."""
    paths = []
    for number in range(count):
        made = example_sample(SLUG, "check", kind, 5, number)
        paths.append(home.parent / f"{kind}-{number}.png")
        made.image.resize((256, 256)).save(paths[-1])
        if made.mask is not None and number < count - 1:
            mask = Image.fromarray(np.asarray(made.mask, dtype=bool)).convert("L")
            mask.resize((256, 256)).save(paths[-1].with_suffix(".mask.png"))
    return " ".join(map(str, paths))


def run(home: Path, *words: str) -> None:
    """Run a command on a registry, as ann."""
    options = ["--home", str(home), "--actor", "ann"]
    subprocess.run([sys.executable, "-m", "cli", *options, *words], check=True,
                   env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
                   cwd=home.parent)  # fmt: skip


def save(page: Page, name: str, height: int) -> None:
    """Write what a visitor sees first, as a page of that many pixels at most."""
    page.set_viewport_size({"width": WIDTH, "height": 100})
    whole = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": WIDTH, "height": min(whole, height)})
    taken = Image.open(io.BytesIO(page.screenshot()))
    taken.convert("RGB").save(Path(str(ASKED)) / f"console-{name}.webp", quality=QUALITY, method=6)
