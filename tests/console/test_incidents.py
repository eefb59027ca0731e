"""A picture in question: its report, its request, the picture itself; and what can be done."""

from __future__ import annotations

import io
import json
import time

import numpy as np
import pytest
from PIL import Image

from tests.console.conftest import read, release_check, text_of
from uvr.decisions.decision import pixels_digest
from uvr.report import encode_feature


def finding(**changes):
    plain = {
        "slug": "pistol", "name": "Pistol", "version": 1, "mode": "enforce", "enforced": True,
        "fired": True, "step": 2, "sigma": 0.9, "score": 3.25, "threshold": 2.0, "area": 0.25,
        "mask": ["10", "00"],
    }  # fmt: skip
    return {**plain, **changes}


def report(registry, **changes):
    """A report of one picture in which 'pistol' was found by what is live."""
    digest = registry.releases.get("policy").bundle_digest
    plain = {
        "request": "r-17", "time": "2026-12-01T08:00:00.000000Z", "bundle": "policy",
        "sequence": 1, "digest": digest, "profile": "testbed", "model": "testbed", "task": "t2i",
        "space": "", "bundle_state": "ok", "rewound": True, "looked": True, "passes": 4,
        "extra_passes": 1, "notes": [], "images": [[finding()]], "shadow": [[]], "checks": [],
    }  # fmt: skip
    return {**plain, **changes}


PICTURE = Image.new("RGB", (8, 8), (200, 10, 30))


def decision(registry, number, **changes):
    evidence = {
        "stage": "look",
        "concept": "pistol",
        "name": "Pistol",
        "version": 1,
        "mode": "enforce",
        "score": 3.25,
        "threshold": 2.0,
        "area": 0.25,
        "judge": None,
    }
    plain = {
        "schema": "uvr-verdict/1", "time": "2026-12-01T08:00:00.000000Z", "request": f"r-{number}",
        "model": "testbed", "task": "t2i", "state": "ok", "space": "", "picture": 0,
        "outcome": "regulated", "bundle": registry.releases.get("policy").bundle_digest,
        "reason": "Pistol at the look.", "retries": 0, "other_noise": False,
        "evidence": [evidence] if number % 2 else [],
        "release": {"bundle": "policy", "sequence": 1}, "seconds": {}, "prompt_digest": None,
        "pixels": pixels_digest(PICTURE) if number == 3 else None, "labels": {},
    }  # fmt: skip
    return {**plain, **changes}


@pytest.fixture
def log(solo, tmp_path):
    """A decision log of five pictures, in two of which a pistol was found."""
    path = tmp_path / "decisions.jsonl"
    lines = [json.dumps(decision(solo, number)) for number in range(5)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_report_is_explained(solo, visit):
    found = visit(solo).post("/incident", {"report": json.dumps(report(solo))})
    shown = text_of(found.text)
    assert "Picture 1 of request 'r-17'" in shown
    assert "Pistol, version 1 regulated By policy@1, made" in shown
    assert "Released without review by ann" in shown
    assert "Live now: prod, version 1, regulated." in shown
    assert "Score 3.2500, caught from 2.0000" in shown
    inputs = {item.get("name"): item.get("value") for _, item in read(found.text).elements}
    assert (inputs["bundle"], inputs["concept"], inputs["way"]) == ("policy", "pistol", "off")


def test_a_request_and_a_picture_are_looked_up_in_the_log(solo, visit, log):
    visitor = visit(solo, decisions=log)
    assert "Picture 1 of request 'r-1'" in text_of(
        visitor.post("/incident", {"request": "r-1"}).text
    )
    assert "Nothing banned was found in it." in visitor.post("/incident", {"request": "r-2"}).text
    assert visitor.post("/incident", {"request": "r-9"}).status_code == 404
    buffer = io.BytesIO()
    PICTURE.save(buffer, "PNG")
    found = visitor.client.post(
        "/incident", data={"token": visitor.token()}, files={"file": ("a.png", buffer.getvalue())},
        headers={"origin": "http://127.0.0.1:8642"},
    )  # fmt: skip
    assert "Picture 1 of request 'r-3'" in text_of(found.text)
    assert visit(solo).post("/incident", {"request": "r-1"}).status_code == 422


def give(visitor, colour=(1, 2, 3), **fields):
    """Send a picture that no log tells of."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return visitor.client.post(
        "/incident", data={"token": visitor.token(), **fields},
        files={"file": ("a.png", buffer.getvalue())},
        headers={"origin": str(visitor.client.base_url).rstrip("/")},
    )  # fmt: skip


@pytest.mark.parametrize("has_log", [True, False])
def test_a_picture_that_no_log_tells_of_is_checked_by_a_worker(solo, visit, log, has_log):
    (solo.home / "cache").unlink()  # It is that of all tests.
    release_check(solo)
    visitor = visit(solo, decisions=log if has_log else None)
    told = "A picture that the log does not tell of" if has_log else "A picture"
    offered = (
        f"{told} is checked by a worker under late@1, live in last, by the model testbed not at all"
    )
    assert offered in visitor.page("/incident")
    assert give(visitor, check="").status_code == (404 if has_log else 422)
    assert give(visitor, check="late@9/testbed").status_code == 404
    for wrong in ("late@1", "late@1/nix", "policy@1/testbed", "/", "--out=/etc/testbed"):
        assert give(visitor, check=wrong).status_code == 422, wrong
    assert solo.jobs.list() == []
    found = give(visitor, check="late@1/testbed")
    assert (found.status_code, found.headers["location"]) == (303, "/try/1")
    job = solo.jobs.show(1)
    assert (job.kind, job.arguments[0], job.arguments[-1]) == ("try", "--release=late@1", "--")
    assert "Is anything banned in this picture?" in visitor.page("/try/1")


def test_a_picture_that_a_log_tells_of_is_not_checked_again(solo, visit, log):
    found = give(visit(solo, decisions=log), (200, 10, 30), check="late@1/testbed")
    assert "Picture 1 of request 'r-3'" in text_of(found.text)
    assert solo.jobs.list() == []


@pytest.mark.parametrize("has_log", [True, False])
def test_why_a_picture_that_no_log_tells_of_cannot_be_checked_is_told(solo, visit, log, has_log):
    visitor = visit(solo, decisions=log if has_log else None)
    why = (
        "What is live cannot check a picture: it holds no examples for that. uvr-registry "
        "collect-anchors SLUG --task check, then release again and move the channel."
    )
    assert why in visitor.page("/incident")
    head = "The log tells of no such picture." if has_log else "console --decisions FILE."
    assert f"{head} {why}" in text_of(give(visitor).text)
    release_check(solo)
    assert why not in visitor.page("/incident")
    assert f"{head} Choose under which release" in text_of(give(visitor, check="").text)


def test_whoever_may_not_ask_a_worker_is_not_offered_a_check(team, visit):
    release_check(team)
    assert "is checked by a worker" in visit(team, "ann").page("/incident")
    visitor = visit(team, "bob")
    assert "is checked by a worker" not in (shown := visitor.page("/incident"))
    assert "You cannot have a picture checked: 'bob' may act as reviewer;" in shown
    assert give(visitor, check="late@1/testbed").status_code == 403
    assert team.jobs.list() == []


def test_an_incident_without_a_feature_says_that_its_nearest_examples_are_not_known(solo, visit):
    shown = text_of(visit(solo).post("/incident", {"report": json.dumps(report(solo))}).text)
    assert "Which examples it is most like is not known: no feature of it was kept." in shown


def test_hits_are_counted_beside_the_pages(solo, visit, log):
    visitor = visit(solo, decisions=log)
    while "are being counted" in (shown := visitor.page("/")):
        time.sleep(0.05)
    assert "of 5 pictures, counted" in shown
    pistol = shown.partition("Pistol regulated")[2].partition("released without review by ann")[2]
    assert pistol.split()[3] == "2"


def test_a_look_alike_is_named_for_the_next_version(team, visit):
    visitor = visit(team, "ann")
    fields = {"text": "a water pistol of glass"}
    found = visitor.post("/concepts/pistol/look-alikes", fields)
    assert found.headers["location"] == "/concepts/pistol/words?done=look-alike"
    assert team.concepts.get("pistol").definition.near_misses[-1] == "a water pistol of glass"
    assert "a water pistol of glass" in visitor.page("/concepts/pistol/words")
    assert "The next version's words differ" in visitor.page("/concepts/pistol/1")
    assert team.audit.events()[-1].action == "concept.define"
    stale = {"text": "another", "definition": "0" * 64}
    assert visitor.post("/concepts/pistol/look-alikes", stale).status_code == 409
    assert visitor.post("/concepts/pistol/look-alikes", {"text": ""}).status_code == 422
    assert visitor.post("/concepts/pistol/look-alikes", fields).status_code == 422
    assert visit(team, "bob").post("/concepts/pistol/look-alikes", {"text": "x"}).status_code == 403


def test_a_pause_is_prepared_from_an_incident(solo, visit):
    query = "bundle=policy&concept=pistol&way=off&until=7"
    inputs = read(visit(solo).get(f"/new-release?{query}").text).elements
    assert [i.get("value") for _, i in inputs if i.get("name") == "until"] == ["7", ""]


@pytest.mark.parametrize(
    "wrong",
    [
        "[]", "{}", "null", "1", "x", "{", "[" * 100_000, '{"images": 1}',
        {"images": [[finding(slug={})]]}, {"images": [[finding(slug=None)]]},
        {"images": [[finding(version="1; DROP TABLE concept")]]},
        {"images": [[finding(mode="eat")]]}, {"images": [[finding(score="high")]]},
        {"images": [[finding(mask=5)]]}, {"images": [[finding(feature="!")]]},
        {"time": "yesterday"}, {"digest": None}, {"images": {}, "shadow": "x"},
        {"verdicts": [{"picture": 9}]}, {"shadow": [[], [finding()]]},
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_report_is_refused(solo, visit, wrong):
    text = wrong if isinstance(wrong, str) else json.dumps(report(solo, **wrong))
    found = visit(solo).post("/incident", {"report": text})
    assert (found.status_code, "That is no report." in text_of(found.text)) == (422, True)


def test_a_report_of_another_registry_or_model_is_told(solo, visit):
    space = solo.versions.get("pistol").spaces[0].digest
    feature = "AAA8" * 2  # three numbers, where the space has four
    for changes, told in (
        ({"digest": "0" * 64}, "By a bundle that this registry did not make."),
        ({"images": [[finding(slug="nix")]]}, "nix, which this registry does not have"),
        ({"images": [[]]}, "Nothing banned was found in it."),
        ({"images": [], "shadow": []}, "That report tells of no picture."),
    ):
        found = visit(solo).post("/incident", {"report": json.dumps(report(solo, **changes))})
        assert told in text_of(found.text), told
    one = {"images": [[finding(feature=feature)]], "space": space}
    found = visit(solo).post("/incident", {"report": json.dumps(report(solo, **one))})
    assert (found.status_code, "are of another model" in found.text) == (422, True)


def test_more_than_a_page_can_tell_is_refused(solo, visit, tmp_path):
    path = tmp_path / "decisions.jsonl"
    one = json.dumps(decision(solo, 1))
    path.write_text(f"{one}\n" * 51)
    visitor = visit(solo, decisions=path)
    for images in ([[finding(slug=f"c{n}") for n in range(51)]], [[]] * 51):
        told = report(solo, images=images, shadow=[[] for _ in images])
        found = visitor.post("/incident", {"report": json.dumps(told)})
        assert (found.status_code, "More than 50 pictures" in found.text) == (422, True)
    assert visitor.post("/incident", {"request": "r-1"}).status_code == 422
    path.write_text(f"{one}\n" * 50)
    assert visitor.post("/incident", {"request": "r-1"}).status_code == 200


def test_the_nearest_examples_are_told(solo, visit):
    version = solo.versions.get("pistol")
    anchor = solo.versions.anchor_set("pistol", version.spaces[0].digest).anchors[0]
    one = finding(feature=encode_feature(np.asarray(anchor, dtype=np.float16)))
    told = report(solo, images=[[one]], space=version.spaces[0].digest)
    shown = text_of(visit(solo).post("/incident", {"report": json.dumps(told)}).text)
    assert "Most like these examples: a, picture 1, picture" in shown
    assert "Without it, the same place would be caught by:" in shown


@pytest.mark.parametrize(
    "data", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"%PDF-1.4", b"{", b"II*\0"]
)
def test_a_file_that_is_no_picture_is_refused(solo, visit, log, data):
    visitor = visit(solo, decisions=log)
    found = visitor.client.post(
        "/incident", data={"token": visitor.token()}, files={"file": ("../../x.png", data)},
        headers={"origin": "http://127.0.0.1:8642"},
    )  # fmt: skip
    assert found.status_code == 422


def test_a_picture_of_very_many_pixels_is_refused(solo, visit, log):
    buffer = io.BytesIO()
    Image.new("1", (10_000, 6_000)).save(buffer, "PNG")
    visitor = visit(solo, decisions=log)
    found = visitor.client.post(
        "/incident", data={"token": visitor.token()}, files={"file": ("x.png", buffer.getvalue())},
        headers={"origin": "http://127.0.0.1:8642"},
    )  # fmt: skip
    assert (found.status_code, "at most 50,000,000 are read" in found.text) == (422, True)
