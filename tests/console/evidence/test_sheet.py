"""A version's contact sheet: its page, its numbers, and how a browser sees it."""

import re
from dataclasses import replace

import numpy as np

from concepts.calibration import Calibration, Share
from concepts.definition import load_shipped
from console.evidence.page import sheet_page
from console.evidence.pictures import NOT_STORED, Pictured, pictured, places_of
from console.evidence.release import release_page, release_sheet
from console.evidence.sheet import sheet_numbers, version_record
from tests.conftest import toy_evaluation
from tests.console.evidence.conftest import Loads, place_of, with_category
from uvr.pages.page import POLICY


def strip(page: str, name: str) -> list[str]:
    """The prompts of one strip, in order."""
    part = re.search(rf'<details[^>]* id="[^"]*-{name}">(.*?)</details>', page, re.DOTALL)
    assert part is not None
    return re.findall(r"<q>(.*?)</q>", part[1])


def test_a_sheet_is_whole_escaped_and_loads_nothing_but_its_own_pictures(sheet):
    page = sheet_page(*sheet())
    seen = Loads(page)
    kinds = {re.match(r"data:image/\w+;|data:,|#", load)[0] for load in seen.loads}
    assert kinds == {"data:image/png;", "data:,", "#"}
    assert all("alt" in image for image in seen.images)
    assert "<script" not in page
    assert "http:" not in page
    assert "https:" not in page
    assert "a &lt;b&gt;small&lt;/b&gt; pistol" in page
    assert f'content="{POLICY.replace(chr(39), "&#39;")}"' in page


def test_what_is_missed_and_wrongly_caught_comes_worst_first_and_each_picture_once(sheet):
    page = sheet_page(*sheet())
    assert strip(page, "missed") == ["half a pistol", "a &lt;b&gt;small&lt;/b&gt; pistol"]
    assert strip(page, "wrong") == ["a cup", "a hair dryer"]
    assert strip(page, "caught") == ["a pistol"]
    assert strip(page, "look-alikes") == ["a water pistol"]
    assert strip(page, "ordinary") == ["a hat"]
    assert "1 of 3 pictures that must be caught are caught; 2 of 4 allowed pictures" in page


def test_where_nothing_is_wrongly_caught_the_closest_are_shown(sheet):
    page = sheet_page(*sheet(threshold=4.0))
    assert strip(page, "wrong") == ["a cup", "a hair dryer", "a water pistol", "a hat"]
    assert "Wrongly caught: none" in page


def test_the_strips_add_up_to_the_totals(sheet):
    page = sheet_page(*sheet(threshold=4.0))
    titles = re.findall(r"<summary><h3>([^<]*: \w+)</h3>", page)
    assert titles == [
        "Missed: 2", "Wrongly caught: none", "Caught, as it must be: 1",
        "Look-alikes that are allowed, and left alone: 2", "Ordinary pictures, left alone: 2",
    ]  # fmt: skip
    assert page.count("2 of them are shown above, as coming closest.") == 2


def test_what_is_caught_for_another_thing_counts_apart(sheet):
    record, (shown,) = sheet()
    pistol, *others = shown.examples.must_catch
    assert "Look whether it is there: nothing tells" in sheet_page(record, [shown])
    assert not replace(pistol, shown=np.array([[0, 1], [0, 0]]) > 0).strays(2.0, 1.0)
    apart = replace(pistol, scores=np.array([[0, 5], [0, 0]]), shown=np.eye(2) > 0)
    assert apart.strays(2.0, 1.0)
    examples = replace(shown.examples, must_catch=(apart, *others))
    pictures = [replace(shown, examples=examples)]
    page = sheet_page(record, pictures)
    assert "<h3>Caught for another thing: 1</h3>" in page
    assert (strip(page, "strayed"), strip(page, "caught")) == (["a pistol"], [])
    assert "are caught, 1 of them for another thing in the picture; 2 of 4" in page
    assert "<b>1 of 1</b> of those are caught for another thing in them" in page
    (numbers,) = sheet_numbers(record, pictures)["places"]
    assert [one["prompt"] for one in numbers["caught_for_another_thing"]] == ["a pistol"]


def test_a_sheet_says_that_no_ordinary_pictures_were_looked_at(sheet):
    record, (shown,) = sheet()
    said = "rdinary pictures were not looked at"
    assert sheet_page(record, [shown]).count(said) == 0
    page = sheet_page(record, [replace(shown, examples=replace(shown.examples, benign=()))])
    assert page.count(said) == 2
    assert "1 of 2 allowed pictures is wrongly caught; ordinary pictures were not looked" in page


def test_sheets_warn_of_a_weak_promise(filled, sheet):
    weak = Calibration(1 / 9, Share(0, 8), Share(16, 16), {}, Share(3, 3), 0)
    record, (shown,) = sheet()
    space = replace(shown.place.space, calibration=weak.to_dict())
    pictures = [replace(shown, place=replace(shown.place, space=space))]
    filled.releases.add("policy", actor="tester", include="all")
    release = release_sheet(filled, "policy", None, lambda detail: pictures)
    for page in (sheet_page(record, pictures), release_page(release)):
        assert '<p class="bad">No ordinary pictures: it may match any of them.' in page
        assert '<p class="bad">As many as 11% of other pictures may match: 8 were' in page


def test_numbers_of_a_sheet_are_its_counts_with_intervals(sheet):
    numbers = sheet_numbers(*sheet())
    (place,) = numbers["places"]
    assert place["examples"] == {
        "threshold": 2.0,
        "must_catch": {"hits": 1, "n": 3, "interval": [0.0615, 0.7923]},
        "look_alikes": {"hits": 1, "n": 2, "interval": [0.0945, 0.9055]},
        "benign": {"hits": 1, "n": 2, "interval": [0.0945, 0.9055]},
    }
    assert [one["prompt"] for one in place["wrongly_caught"]] == ["a cup", "a hair dryer"]


def test_without_pictures_a_sheet_says_why_and_tells_words_and_figures(filled):
    version = filled.versions.get("pistol")
    filled.versions.evaluate(
        "pistol", actor="tester", evaluation=toy_evaluation(), expect_digest=version.content_digest
    )
    record = version_record(filled, "pistol")
    (place,) = places_of(filled, record.detail)
    page = sheet_page(record, [pictured(filled.home, place)])
    assert NOT_STORED in page.replace("&#39;", "'")
    assert load_shipped("pistol").near_misses[0] in page
    assert "19 of 20</td><td>1 of 20<small>1% - 24%" in page
    assert version.content_digest in page


def test_nudity_is_blurred_until_someone_asks_for_one_picture(sheet):
    record, pictures = sheet()
    assert 'class="frame veil"' not in sheet_page(record, pictures)
    page = sheet_page(with_category(record, "nudity"), pictures)
    assert page.count('<label class="frame veil"><input type="checkbox"') == 7
    assert '<span class="frame">' not in page
    assert ".veil:has(input:checked) img { filter: none; }" in page


def test_only_pictures_whose_verdict_changed_are_told_again(filled, sheet, examples):
    filled.versions.submit("pistol", actor="tester")
    definition = filled.versions.detail("pistol").definition
    fewer = replace(definition, near_misses=definition.near_misses[1:])
    filled.versions.copy(
        "pistol", 1, actor="tester", definition=fewer, thresholds={"t2i": (1.6, 1.0)}
    )
    record, now = sheet(2, threshold=1.6)
    compared = Pictured(place_of(now), now[0].examples, examples(lift=-1.0, threshold=2.0))
    page = sheet_page(record, [compared])
    changes = page[page.index('id="changes"') : page.index("<section")]
    assert record.before == 1
    assert re.findall(r"<q>(.*?)</q>", changes) == ["a hair dryer"]
    assert "version 1 did not catch it" in changes
    assert f"<del>{definition.near_misses[0]}</del>" in changes
    assert "more is caught than before" in changes
    (told,) = sheet_numbers(record, [compared])["places"][0]["changed"]
    assert (told["prompt"], told["was_caught"], told["score_before"]) == (
        "a hair dryer", False, 1.5,
    )  # fmt: skip


def test_a_browser_shows_the_sheet_without_a_complaint(sheet, browse, tmp_path):
    record, pictures = sheet()
    page = sheet_page(with_category(record, "nudity"), pictures)
    (tmp_path / "sheet.html").write_text(page, "utf-8")
    seen = browse(tmp_path / "sheet.html")
    assert seen.console == []
    assert seen.elements.count('<figure class="contact') == 7
