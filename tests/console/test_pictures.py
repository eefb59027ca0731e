"""Example pictures on the pages of versions, reviews and comparisons, and the slider over them."""

from __future__ import annotations

import io
import json
import logging
import re
import shutil
import struct
import zlib

import pytest
from PIL import Image

from tests.conftest import toy_collection
from tests.console.conftest import digest_of, read, text_of


def pictures(page: str) -> list[str]:
    return [item["alt"] or "" for tag, item in read(page).elements if tag == "img" and item["alt"]]


def test_a_version_shows_what_it_catches_and_what_it_misses(team, visit):
    page = visit(team, "bob").get("/concepts/pistol/1").text
    shown = text_of(page)
    assert "20 of 24 must-catch pictures are caught in the long run 64% - 93%" in shown
    assert "4 of 24 look-alikes are wrongly caught" in shown
    assert "0 of 24 ordinary pictures are wrongly caught" in shown
    assert re.search(r"Missed: 4 .* Wrongly caught: 4 .* Caught, as it must be: 20", shown)
    assert len(pictures(page)) == 72
    assert page.count('class="mask"') == 24


def test_a_review_shows_the_pictures_that_are_decided_otherwise(team, visit):
    page = visit(team, "bob").get("/reviews/pistol/2").text
    assert "Pictures and their scores help to look." in page
    assert "Decided otherwise than before" in page
    assert text_of(page).count("version 1 did not catch it") == 9


def test_two_versions_are_compared_by_their_pictures(team, visit):
    page = visit(team, "bob").get("/concepts/pistol/2/against/1").text
    assert "version 2 against version 1" in text_of(page)
    assert len(pictures(page)) == 9
    assert visit(team, "bob").get("/concepts/pistol/2/against/9").status_code == 404


def test_pictures_that_were_not_drawn_say_what_draws_them(team, visit):
    (team.home / "cache").unlink()
    shown = visit(team, "bob").page("/concepts/pistol/1")
    assert "A worker draws them, or uvr-registry report pistol@1 --out FILE" in shown
    team.concepts.get("knife")
    team.versions.add("knife", [toy_collection(7)], actor="ann")
    shown = visit(team, "bob").page("/concepts/knife/1")
    assert "It was collected from given pictures, which pages do not have." in shown
    assert "was collected from given pictures" in visit(team, "bob").page(
        "/concepts/knife/1/strictness"
    )


def test_a_damaged_picture_is_as_good_as_none(team, visit):
    cache = team.home / "cache"
    kept = cache.resolve()
    cache.unlink()
    shutil.copytree(kept, cache)
    jpeg = io.BytesIO()
    Image.new("RGB", (8, 8)).save(jpeg, "JPEG")
    size = struct.pack(">II", 60_000, 60_000)
    head = b"IHDR" + size + b"\x08\x02\0\0\0"
    large = b"\x89PNG\r\n\x1a\n\0\0\0\r" + head + struct.pack(">I", zlib.crc32(head))
    for data in (b"no picture", jpeg.getvalue(), large):
        for file in cache.rglob("*.png"):
            file.write_bytes(data)
        for path in ("/concepts/pistol/1", "/concepts/pistol/1/strictness", "/reviews/pistol/2"):
            assert "A worker draws them" in visit(team, "bob").page(path), data


@pytest.mark.parametrize("path", ["/concepts/nudity/1", "/concepts/nudity/1/strictness"])
def test_nudity_is_shown_to_whoever_asks_and_that_is_logged(team, visit, caplog, path):
    visitor, before = visit(team, "bob"), team.audit.events()
    page = visitor.get(path).text
    assert pictures(page) == []
    assert "20 of 24 must-catch pictures are caught" in text_of(page)
    with caplog.at_level(logging.INFO, "uvr.console"):
        shown = visitor.post(f"{path}/pictures", {})
    assert len(pictures(shown.text)) == 72
    assert "'bob' looked at pictures of nudity@1" in caplog.text
    assert team.audit.events() == before


def test_a_line_says_what_it_would_catch(team, visit):
    visitor = visit(team, "ann")
    page = visitor.get("/concepts/pistol/1/strictness?line=1.5").text
    shown = text_of(page)
    assert "24 of 24 must-catch pictures are caught" in shown
    assert "9 of 24 look-alikes are wrongly caught in the long run 21% - 57%" in shown
    caught = page.split('data-side="caught"')[1].split('data-side="left"')[0]
    assert caught.count('data-kind="must-catch"') == 24
    assert caught.count("contact wrong") == 9
    (spans,) = {item["data-spans"] for _, item in read(page).elements if "data-spans" in item}
    assert json.loads(spans or "")[9] == "21% - 57%"
    for line in ("", "x", "nan(", "1e999999"):
        assert visitor.get(f"/concepts/pistol/1/strictness?line={line}").status_code in (200, 422)


def test_a_line_is_kept_as_a_draft(team, visit):
    visitor = visit(team, "ann")
    space = team.versions.get("pistol", 1).spaces[0].digest
    fields = {"content": digest_of(team, "pistol", 1), "space": space, "line": "1.75"}
    found = visitor.post("/concepts/pistol/1/strictness", fields)
    assert found.headers["location"] == "/concepts/pistol/3?done=draft"
    made = team.versions.get("pistol", 3)
    assert (made.state, made.spaces[0].seed_threshold, made.spaces[0].grow_threshold) == (
        "draft", 1.75, 0.75,
    )  # fmt: skip
    fields = {"content": made.content_digest, "space": space, "line": "1.875"}
    found = visitor.post("/concepts/pistol/3/strictness", fields)
    assert found.headers["location"] == "/concepts/pistol/3?done=draft"
    assert team.versions.get("pistol", 3).spaces[0].seed_threshold == 1.875
    assert visitor.post("/concepts/pistol/3/strictness", fields).status_code == 409
    for wrong in ({"line": "nan"}, {"line": "inf"}, {"line": ""}, {"space": "0" * 64}):
        found = visitor.post("/concepts/pistol/1/strictness", {**fields, **wrong})
        assert found.status_code in (404, 422), wrong
    found = visitor.post("/concepts/pistol/1/strictness", {
        "content": digest_of(team, "pistol", 1), "space": space, "line": "5000",
    })  # fmt: skip
    assert "It would find nothing. Choose a lower one." in text_of(found.text)
    refused = visit(team, "bob").post("/concepts/pistol/1/strictness", fields)
    assert refused.status_code == 403
