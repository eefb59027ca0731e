"""The console in a real browser: names, contrast, keyboard, scripts and policy."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from console.app import make_app
from console.settings import Settings
from registry.registry import Registry
from tests.conftest import toy_collection
from tests.console import screenshots
from tests.console.conftest import copy_of, release_check
from tests.console.screenshots import NAME, SLUG
from tests.console.test_exemplars import boxed, keep, mask_of, noisy
from tests.console.test_incidents import finding as found_by_look
from tests.console.test_incidents import report
from tests.console.test_trying import finding, finish, made, only_checked, png

PAGES = (
    "/", "/concepts", "/concepts/pistol/1", "/concepts/pistol/1/strictness",
    "/concepts/pistol/2/against/1", "/concepts/nudity/1", "/concepts/knife", "/reviews",
    "/reviews/pistol/2", "/releases", "/releases/policy/1", "/new-release", "/audit",
    "/incident", "/jobs", "/concepts/pistol/words", "/audit/verify", "/try", "/nix",
    "/concepts/pistol/exemplars", "/concepts/pistol/exemplars/1", "/concepts/knife/exemplars",
)  # fmt: skip
ASKED_FOR = "a pistol in the middle on a pink background"
STRICTER = 0.75
"""Where the line of version 2 is, as a share of that of version 1."""


@pytest.fixture(scope="module")
def template(request, tmp_path_factory) -> Path:
    """A registry with toy pictures, or one of the testbed's for pictures of the manual."""
    if not screenshots.ASKED:
        return request.getfixturevalue("solo_template")
    home = tmp_path_factory.mktemp("testbed") / "home"
    screenshots.fill(home)
    return home


@pytest.fixture
def served(request, template, tmp_path) -> Iterator[tuple[Registry, str]]:
    """A console of a registry of one, where a stricter version waits for review."""
    if screenshots.ASKED and "shoot" not in request.fixturenames:
        pytest.skip("it takes no picture")
    solo = copy_of(template, tmp_path / "solo")
    solo.team.set_policy(actor="ann", approvals=1)
    space = next(item for item in solo.versions.get(SLUG).spaces if item.space.task == "t2i")
    line = (STRICTER * space.seed_threshold, STRICTER * space.grow_threshold)
    solo.versions.copy(SLUG, actor="ann", thresholds={"t2i": line})
    solo.versions.submit(SLUG, 2, actor="ann", note="catches small ones")
    if not screenshots.ASKED:
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
def shoot(page) -> Callable[[str, int], None]:
    """Takes a picture for the manual if it is asked for; what follows counts toy pictures."""

    def take(name: str, height: int) -> None:
        if screenshots.ASKED:
            screenshots.save(page, name, height)
            pytest.skip("its picture was taken")

    return take


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
    page.keyboard.press("Enter")
    _tab_to(page, "pistol, version 2")
    page.keyboard.press("Enter")
    page.wait_for_url("**/reviews/pistol/2")
    _tab_to(page, "Why, if there is something to say")
    page.keyboard.type("looks right")
    _tab_to(page, "Approve it")
    page.keyboard.press("Enter")
    page.wait_for_url("**/concepts/pistol/2?done=approved")
    assert page.get_by_role("status").text_content() == "Your approval was recorded."
    assert registry.versions.get("pistol", 2).state == "approved"
    assert registry.audit.events()[-1].details["reason"] == "looks right"


def _tab_to(page, name):
    """Press Tab until what has that text, or that label, has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if name == page.evaluate(
            "(document.activeElement.labels?.[0] ?? document.activeElement).textContent.trim()"
        ):
            return
    pytest.fail(f"Tab does not lead to {name!r}")


def test_a_version_is_sent_back_only_with_a_reason(page, served):
    registry, url = served
    page.goto(f"{url}/reviews/pistol/2")
    page.get_by_role("button", name="Send it back").click()
    assert page.url == f"{url}/reviews/pistol/2"
    page.get_by_label("What should change").fill("spare the hair dryers")
    page.get_by_role("button", name="Send it back").click()
    page.wait_for_url("**/concepts/pistol/2?done=returned")
    assert page.get_by_text("“spare the hair dryers”").is_visible()
    assert registry.versions.get("pistol", 2).state == "draft"


def test_two_versions_are_compared_in_words_and_pictures(page, served, shoot):
    page.goto(f"{served[1]}/concepts/{SLUG}/2")
    page.get_by_role("link", name="what differs from version 1").click()
    page.wait_for_url(f"**/concepts/{SLUG}/2/against/1")
    assert page.get_by_text("stricter", exact=True).first.is_visible()
    shoot("compare", 955)
    # Version 2 catches what scores from 1.5 to 2 besides: four of it, and five look-alikes.
    assert page.locator("figure.contact").count() == 9


def test_nudity_is_shown_on_request_and_the_log_tells_who_asked(page, served, caplog):
    caplog.set_level(logging.INFO, "uvr.console")
    page.goto(f"{served[1]}/concepts/nudity/1")
    assert page.locator("main img").count() == 0
    assert "looked at" not in caplog.text
    page.get_by_role("button", name="Show the pictures").click()
    page.locator("main img").first.wait_for()
    assert "'bob' looked at pictures of nudity@1" in caplog.text


def test_a_concept_is_paused_from_an_incident(page, served, shoot):
    registry, url = served
    told = report(registry, images=[[found_by_look(slug=SLUG, name=NAME)]])
    page.goto(f"{url}/incident")
    page.get_by_label("A report, as").fill(json.dumps(told))
    page.get_by_role("button", name="Explain it").click()
    page.get_by_label("For days").fill("3")
    page.get_by_role("button", name="Prepare that release").click()
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Nothing at all may be regulated").check()
    page.get_by_role("button", name="Look at what that does").click()
    page.get_by_role("button", name="Make this release").click()
    page.wait_for_url("**/releases/policy/2?done=released")
    page.get_by_role("button", name="Point it here").click()
    page.wait_for_url("**/releases/policy/2?done=moved")
    page.goto(url)
    assert page.get_by_text("switched off until").is_visible()
    shoot("live", 760)


def test_a_picture_is_checked_from_an_incident(page, served):
    registry, url = served
    (registry.home / "cache").unlink()  # It is that of all tests.
    release_check(registry)
    page.goto(f"{url}/incident")
    page.get_by_label("Or a file").set_input_files(
        {"name": "found.png", "mimeType": "image/png", "buffer": png()}
    )
    page.get_by_role("button", name="Explain it").click()
    page.wait_for_url("**/try/1")
    bundle = registry.releases.get("policy").bundle_digest
    finish(registry, only_checked(finding("pistol", 3.0), bundle=bundle))
    _check(page, f"{url}/try/1", {})
    assert page.get_by_text("Live now: prod, version 1, regulated.").is_visible()


def test_a_job_is_watched_and_stopped(page, served):
    registry, url = served
    page.clock.install()
    page.goto(f"{url}/concepts/knife/words")
    page.get_by_role("button", name="Ask a worker").click()
    page.wait_for_url("**/jobs/1?done=asked")
    assert page.get_by_text("Waiting for a worker").is_visible()
    registry.jobs.claim("w1")
    registry.jobs.progress(1, "w1", done=3, total=36, message="knife t2i")
    page.clock.run_for(3000)
    page.get_by_text("3 of 36").last.wait_for()
    page.get_by_role("button", name="Stop job 1").click()
    page.get_by_text("Stopping, asked by bob").wait_for()


def test_the_trail_is_exported_whole(page, served):
    registry, url = served
    page.goto(f"{url}/audit")
    with page.expect_download() as begun:
        page.get_by_role("link", name="Export all of it").click()
    lines = begun.value.path().read_text().splitlines()
    assert begun.value.suggested_filename == "audit.jsonl"
    assert lines == [line.rstrip() for line in registry.audit.export()]


def test_the_trail_is_filtered_without_a_new_page(page, served):
    page.goto(f"{served[1]}/audit")
    page.get_by_label("Kind").select_option("channel")
    page.get_by_text("moved the channel").wait_for()
    page.get_by_text("added the concept").first.wait_for(state="detached")
    assert page.url.startswith(f"{served[1]}/audit?subject=&actor=&kind=channel")
    page.reload()
    assert page.locator(".events > li").count() == 1
    since = page.get_by_label("Since")
    since.fill("tomorrow")
    since.press("Enter")
    page.locator("#why-since", has_text="Since: ").wait_for()
    assert page.locator(".events > li").count() == 0
    since.fill("2020-01-01")
    since.press("Enter")
    page.locator(".events > li").wait_for()
    assert page.locator("#why-since").text_content() == ""


def test_a_release_is_prepared_made_and_moved(page, served):
    registry, url = served
    registry.versions.approve("pistol", 2, actor="bob")
    page.goto(f"{url}/new-release")
    page.get_by_label("pistol@2").check()
    page.get_by_label("Why, kept in the audit trail").fill("week 49")
    page.get_by_role("button", name="Look at what that does").click()
    page.get_by_text("version 2 instead of 1").wait_for()
    page.get_by_role("button", name="Make this release").click()
    page.wait_for_url("**/releases/policy/2?done=released")
    page.get_by_role("button", name="Point it here").click()
    page.wait_for_url("**/releases/policy/2?done=moved")
    assert registry.channels.list()[0].sequence == 2


def test_pictures_cross_the_line_as_it_moves(page, served, shoot):
    registry, url = served
    page.goto(f"{url}/concepts/{SLUG}/1/strictness")
    shoot("strictness", 1000)
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


def test_a_try_shows_itself_once_a_worker_has_drawn_it(page, served, shoot):
    registry, url = served
    page.clock.install()
    page.goto(f"{url}/try?version={SLUG}@1")
    page.get_by_label("What to draw, or what to change in a picture").fill(ASKED_FOR)
    page.get_by_role("button", name="Try it").click()
    page.wait_for_url("**/try/1")
    assert page.get_by_text("It waits for a worker").is_visible()
    if screenshots.ASKED:
        screenshots.run(registry.home, "worker", "--once")
    else:
        (registry.home / "cache").unlink()  # It is that of all tests.
        finish(registry, made(finding("pistol", 3.0), colour=20))
    page.clock.run_for(3000)
    page.get_by_text(f"{NAME} was found and regulated.").wait_for()
    shoot("try", 875)
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
    page.wait_for_url("**/concepts/pistol/exemplars/2?done=masked&picture=1")  # The next one.
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
    for value in ("80", "50", "50", "50"):
        page.keyboard.type(value)
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_text("at most 20%, or it would leave the picture").wait_for()
    page.get_by_label("From the left").fill("25")
    page.get_by_role("button", name="Add the box").click()
    page.get_by_text("The box was added. 25% of the picture is masked.").wait_for()
    save = page.get_by_role("button", name="Save the mask")
    save.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/concepts/pistol/exemplars?done=masked-last")
    mask = mask_of(registry, 2)
    assert (mask.sum(), mask[15:, 10:30].all()) == (300, True)
    page.get_by_role("link", name="Open picture 2").click()
    page.get_by_role("button", name="Take it away").click()
    page.wait_for_url("**/concepts/pistol/exemplars/2?done=unmasked")
    assert registry.exemplars.one(2).mask is None


def test_pictures_are_dropped_and_kept(page, served, shoot):
    registry, url = served
    page.goto(f"{url}/concepts/{SLUG}/exemplars")
    shoot("given", 1000)
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
    page.wait_for_url("**/concepts/pistol/exemplars?done=masked-last")
    assert mask_of(registry, 2)[:, :20].all()
    context.close()
