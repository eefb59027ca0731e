"""The console in a real browser: names, contrast, keyboard, scripts and policy."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, sync_playwright

from console.app import make_app
from console.settings import Settings
from registry.registry import Registry
from tests.conftest import toy_collection
from tests.console.test_exemplars import boxed, keep, mask_of, noisy
from tests.console.test_trying import finding, finish, made

PAGES = (
    "/", "/concepts", "/concepts/pistol/1", "/concepts/pistol/1/strictness",
    "/concepts/pistol/2/against/1", "/concepts/nudity/1", "/concepts/knife", "/reviews",
    "/reviews/pistol/2", "/releases", "/releases/policy/1", "/new-release", "/audit",
    "/incident", "/jobs", "/concepts/pistol/words", "/audit/verify", "/try", "/nix",
    "/concepts/pistol/exemplars", "/concepts/pistol/exemplars/1", "/concepts/knife/exemplars",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, which can reach nothing but this machine."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        if os.environ.get("UVR_REQUIRE_CHROMIUM") == "1":
            pytest.fail("UVR_REQUIRE_CHROMIUM=1, but there is no chromium")
        pytest.skip("there is no chromium")
    options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
               "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]  # fmt: skip
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=options)
        yield browser
        browser.close()


@pytest.fixture
def served(solo) -> Iterator[tuple[Registry, str]]:
    """A console of a registry of one, where a version waits for review."""
    solo.team.set_policy(actor="ann", approvals=1)
    solo.versions.copy("pistol", actor="ann", thresholds={"t2i": (1.75, 0.75)})
    solo.versions.submit("pistol", 2, actor="ann", note="catches small ones")
    for number, mask in ((1, boxed()), (2, None)):
        keep(solo, number, mask)
    keep(solo, 3, benign=True)
    listening = socket.create_server(("127.0.0.1", 0))
    settings = Settings("bob", port=listening.getsockname()[1])
    config = uvicorn.Config(
        make_app(solo, settings), log_config=None, access_log=False, lifespan="off", ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield solo, settings.url
    server.should_exit = True
    thread.join()
    listening.close()


@pytest.fixture
def page(browser, served) -> Iterator[Page]:
    """A page that must not complain in its console."""
    said: list[str] = []
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    made = context.new_page()
    made.on("console", lambda message: said.append(message.text))
    made.on("pageerror", lambda error: said.append(str(error)))
    yield made
    context.close()
    assert [text for text in said if "Failed to load resource" not in text] == []


def test_every_page_has_names_landmarks_and_contrast(page, served):
    # What is on these is on the review's page and on the one of strictness.
    alike = ("/concepts/pistol/1", "/concepts/pistol/2/against/1")
    for path in PAGES:
        if path not in alike:
            _check(page, served[1] + path, {})


def test_pages_have_contrast_in_the_dark(page, served):
    page.emulate_media(color_scheme="dark")
    for path in (
        "/", "/reviews/pistol/2", "/new-release", "/audit", "/concepts/pistol/exemplars",
        "/concepts/pistol/exemplars/1",
    ):  # fmt: skip
        _check(page, served[1] + path, {"runOnly": ["color-contrast"]})


def _check(page, url, options):
    """Look at a page, all that it folds away opened, with axe."""
    page.goto(url)
    page.evaluate("document.querySelectorAll('details').forEach(item => { item.open = true })")
    few = {"exclude": [[".contact:nth-child(n+4)"]]}  # Pictures beside it are all alike.
    found = Axe().run(page, few, options)
    assert found.violations_count == 0, (url, found.generate_report())


def test_a_review_is_done_by_keyboard_alone(page, served):
    registry, url = served
    page.goto(f"{url}/reviews")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    page.get_by_role("link", name="pistol, version 2").focus()
    page.keyboard.press("Enter")
    page.get_by_label("Why, if there is something to say").focus()
    page.keyboard.type("looks right")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/concepts/pistol/2?done=approved")
    assert page.get_by_role("status").text_content() == "Your approval was recorded."
    assert registry.versions.get("pistol", 2).state == "approved"
    assert registry.audit.events()[-1].details["reason"] == "looks right"


def test_the_trail_is_filtered_without_a_new_page(page, served):
    page.goto(f"{served[1]}/audit")
    page.get_by_label("Kind").select_option("channel")
    page.get_by_text("moved the channel").wait_for()
    page.get_by_text("added the concept").first.wait_for(state="detached")
    assert page.url.startswith(f"{served[1]}/audit?subject=&actor=&kind=channel")
    page.reload()
    assert page.locator(".events > li").count() == 1


def test_a_release_is_prepared_made_and_moved(page, served):
    registry, url = served
    registry.versions.approve("pistol", 2, actor="bob")
    page.goto(f"{url}/new-release")
    page.get_by_label("pistol, version 2").check()
    page.get_by_label("Why, kept in the audit trail").fill("week 49")
    page.get_by_role("button", name="Look at what that does").click()
    page.get_by_text("version 2 instead of 1").wait_for()
    page.get_by_role("button", name="Make this release").click()
    page.wait_for_url("**/releases/policy/2?done=released")
    page.get_by_role("button", name="Point it here").click()
    page.wait_for_url("**/releases/policy/2?done=moved")
    assert registry.channels.list()[0].sequence == 2


def test_pictures_cross_the_line_as_it_moves(page, served):
    registry, url = served
    page.goto(f"{url}/concepts/pistol/1/strictness")
    caught = page.locator("[data-side=caught] figure")
    tile = page.locator("[data-count=look-alike]")
    assert (caught.count(), tile.text_content().split()[:3]) == (24, ["4", "of", "24"])
    slide = page.get_by_label("The line")
    slide.focus()
    page.keyboard.press("End")
    assert caught.count() == 0
    page.get_by_label("A picture is caught from").fill("1.5")
    assert caught.count() == 33
    assert "21% - 57%" in tile.text_content()
    assert slide.get_attribute("aria-valuetext") == "24 of 24 that must be caught are caught"
    page.get_by_role("button", name="Save as a draft").click()
    page.wait_for_url("**/concepts/pistol/3?done=draft")
    assert registry.versions.get("pistol", 3).spaces[0].seed_threshold == 1.5


def test_outlines_are_switched_off(page, served):
    page.goto(f"{served[1]}/concepts/pistol/1")
    outline = page.locator("img.mask").first
    assert outline.is_visible()
    page.get_by_label("outlines of what was found").uncheck()
    assert not outline.is_visible()


def test_a_page_from_elsewhere_changes_nothing(page, served, tmp_path):
    registry, url = served
    digest = registry.versions.get("pistol", 2).content_digest
    page.goto(f"{url}/reviews/pistol/2")
    evil = tmp_path / "evil.html"
    evil.write_text(
        f'<form method="post" action="{url}/reviews/pistol/2/approve"><input name="content" '
        f'value="{digest}"></form><script>document.forms[0].submit()</script>'
    )
    page.goto(evil.as_uri())
    page.get_by_text("A change must be asked for from a page of this console.").wait_for()
    assert registry.versions.get("pistol", 2).state == "in_review"


def test_pages_fit_a_phone(page, served):
    page.set_viewport_size({"width": 360, "height": 700})
    registry, url = served
    registry.versions.add("knife", [toy_collection(3)], actor="ann")
    for path in PAGES:
        page.goto(url + path)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 360, path


def test_a_try_shows_itself_once_a_worker_has_drawn_it(page, served):
    registry, url = served
    (registry.home / "cache").unlink()  # It is that of all tests.
    page.goto(f"{url}/try?version=pistol@1")
    page.get_by_label("What to draw, or what to change in a picture").fill("a pistol")
    page.get_by_role("button", name="Try it").click()
    page.wait_for_url("**/try/1")
    assert page.get_by_text("It waits for a worker").is_visible()
    finish(registry, made(finding("pistol", 3.0), colour=20))
    page.get_by_text("Pistol was found and regulated.").wait_for(timeout=10_000)
    mask = page.locator("img.mask").first
    assert mask.is_visible()
    page.get_by_label("outlines of what was found").uncheck()
    assert not mask.is_visible()
    _check(page, f"{url}/try/1", {})


def test_a_mask_is_painted_with_the_mouse(page, served):
    registry, url = served
    page.goto(f"{url}/concepts/pistol/exemplars/1")
    told = page.locator("[data-told]")
    page.get_by_text("16.7% of the picture is masked.").wait_for()  # What was saved.
    frame = page.locator("canvas").bounding_box()
    left, top = frame["x"] + frame["width"] / 10, frame["y"] + frame["height"] * 0.9
    page.get_by_label("Size").fill("10")
    for steps in (1, 8):  # A dot, and a stroke.
        page.mouse.move(left, top)
        page.mouse.down()
        page.mouse.move(left + (frame["width"] / 2 if steps > 1 else 0), top, steps=steps)
        page.mouse.up()
    assert "Nothing" not in told.text_content()
    stroke = told.text_content()
    page.get_by_label("eraser").check()
    page.mouse.move(frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2)
    page.mouse.down()
    page.mouse.up()
    assert told.text_content() != stroke
    page.get_by_role("button", name="Undo").click()
    assert told.text_content() == f"Undone. {stroke}"
    page.get_by_label("box").check()
    page.mouse.move(frame["x"] + frame["width"] * 0.75, frame["y"] + 1)
    page.mouse.down()
    page.mouse.move(frame["x"] + frame["width"] - 1, frame["y"] + frame["height"] / 2, steps=3)
    page.mouse.up()
    page.get_by_role("button", name="Save the mask").click()
    page.wait_for_url("**/concepts/pistol/exemplars/2?done=masked")  # The next without one.
    mask = mask_of(registry, 1)
    assert mask[10:20, 10:30].all()
    assert mask[27, 4:23].all()
    assert mask[1:14, 31:39].all()
    assert not mask[:8, :28].any()
    assert not mask[22:, 30:].any()


def test_a_mask_is_a_box_by_keyboard_and_taken_away(page, served):
    registry, url = served
    page.goto(f"{url}/concepts/pistol/exemplars/2")
    page.get_by_text("By numbers, without a mouse").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    for value in ("25", "50", "50", "50"):
        page.keyboard.type(value)
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_text("The box was added. 25% of the picture is masked.").wait_for()
    save = page.get_by_role("button", name="Save the mask")
    save.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/concepts/pistol/exemplars?done=masked")
    mask = mask_of(registry, 2)
    assert (mask.sum(), mask[15:, 10:30].all()) == (300, True)
    page.get_by_role("link", name="Open picture 2").click()
    page.get_by_role("button", name="Take it away").click()
    page.wait_for_url("**/concepts/pistol/exemplars/2?done=masked")
    assert registry.exemplars.one(2).mask is None


def test_pictures_are_dropped_and_kept(page, served):
    registry, url = served
    page.goto(f"{url}/concepts/pistol/exemplars")
    page.evaluate(
        """files => {
            const data = new DataTransfer();
            files.forEach((bytes, at) => data.items.add(
                new File([new Uint8Array(bytes)], `../${at}.png`, {type: "image/png"})));
            for (const name of ["dragover", "drop"]) {
                document.querySelector("h1").dispatchEvent(
                    new DragEvent(name, {dataTransfer: data, bubbles: true, cancelable: true}));
            }
        }""",
        [list(noisy(7)), list(noisy(8))],
    )
    page.get_by_text("2 chosen.").wait_for()
    page.get_by_role("radio", name="do not show it").check()
    page.get_by_role("button", name="Keep them").click()
    page.wait_for_url("**/concepts/pistol/exemplars?done=kept")
    found = registry.exemplars.kept("pistol")[3:]
    assert [(item.benign, item.origin) for item in found] == [(True, "archive 12")] * 2
    assert page.locator("#benign ~ .contacts figure").count() == 3


def test_a_mask_is_a_box_without_scripts_too(browser, served):
    registry, url = served
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{url}/concepts/pistol/exemplars/2")
    for name, value in (("From the left", 0), ("From the top", 0), ("Width", 50), ("Height", 100)):
        page.get_by_label(name).fill(str(value))
    page.get_by_role("button", name="Save the mask").click()
    page.wait_for_url("**/concepts/pistol/exemplars?done=masked")
    assert mask_of(registry, 2)[:, :20].all()
    context.close()
