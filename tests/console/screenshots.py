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

from PIL import Image
from playwright.sync_api import Page

ASKED = os.environ.get("UVR_SCREENSHOTS")
SLUG, NAME = ("testbed-pistol", "Pistol (testbed)") if ASKED else ("pistol", "Pistol")
"""The concept that is live, and its name."""
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


def fill(home: Path) -> None:
    """Make a registry of one: of the testbed's concepts two are banned, and one only reported."""
    for line in COMMANDS.strip().splitlines():
        run(home, *line.split())


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
