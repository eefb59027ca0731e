"""Take the console's picture for the README, of a registry with example pictures.

`python docs/console_picture.py HOME /concepts/testbed-pistol/1/strictness?line=10`, with the extras
`test` and `console`, and Chromium.
"""

from __future__ import annotations

import argparse
import io
import shutil
import socket
import threading
import time
from pathlib import Path

import uvicorn
from PIL import Image
from playwright.sync_api import sync_playwright

from console.app import make_app
from console.settings import Settings
from registry.registry import Registry

OUT = Path(__file__).parent / "_static" / "console.png"
SIZE = {"width": 1100, "height": 760}
COLOURS = 160
"""So few that the file is small, and nobody sees it."""


def take(url: str) -> bytes:
    """Open a page in Chromium and return what a visitor sees first, PNG."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport=SIZE)
        page.goto(url)
        taken = page.screenshot()
        browser.close()
    return taken


def main() -> None:
    """Serve a registry for a moment, take the picture and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path, help="the registry's folder")
    parser.add_argument("page", help="address of the page, from its first slash on")
    options = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        settings = Settings("ann", port=listening.getsockname()[1])
        app = make_app(Registry.open(options.home), settings)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.05)
        taken = take(settings.url + options.page)
        server.should_exit = True
        thread.join()
    picture = Image.open(io.BytesIO(taken)).convert("RGB").quantize(COLOURS)
    picture.save(OUT, "PNG", optimize=True)


if __name__ == "__main__":
    main()
