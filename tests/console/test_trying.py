"""A prompt is tried: asked for in the browser, shown once a worker has drawn it."""

from __future__ import annotations

import hashlib
import io
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands.job_kinds import check_arguments
from console.evidence.tried import GIVEN, About, Tried, keep_tried, read_tried
from console.pages.trying import shots_of
from registry.store.home import TRIED
from tests.console.conftest import release_check, text_of
from tests.console.test_hostile import EVIL, harmless
from uvr.anchors.pictures import read_picture
from uvr.checked_picture import CheckedPicture
from uvr.report import ConceptFinding, RegulationReport
from uvr.verdict import Evidence, Verdict, said

FIELDS = {"prompt": "a pistol on the left", "release": "policy@1", "version": "",
          "model": "testbed", "seed": "3"}  # fmt: skip


def finding(slug: str, score: float, mode: str = "enforce") -> ConceptFinding:
    mask = np.zeros((2, 2), dtype=bool)
    mask[0, 0] = score >= 2
    return ConceptFinding(
        slug=slug, name=slug.title(), version=1, mode=mode, fired=score >= 2, step=1, sigma=0.9,
        score=score, threshold=2.0, area=0.25, mask=mask, scores=None,
    )  # fmt: skip


def checked(*findings: ConceptFinding) -> CheckedPicture:
    """What a check says that found this."""
    found = [item for item in findings if item.fired]
    evidence = tuple(
        Evidence("check", f.slug, f.name, 1, f.mode, f.score, 2.0, f.area) for f in found
    )
    outcome = "flagged" if any(item.enforced for item in found) else "untouched"
    reason = f"{said(evidence)}." if evidence else "Nothing banned was found."
    return CheckedPicture(Verdict(0, outcome, "f" * 64, evidence, reason), list(findings), "")


def made(
    *findings: ConceptFinding,
    colour: int = 90,
    prompt: str = "a cup",
    checks: dict[str, CheckedPicture] | None = None,
) -> Tried:
    """Pictures in which something was found; the regulated one has this colour, and stock 90."""
    shadow = [item for item in findings if item.mode == "shadow"]
    report = RegulationReport(
        "policy", 1, "f" * 64, "testbed-t2i", looked=True, shadow=[shadow],
        images=[[item for item in findings if item.mode != "shadow"]],
    )  # fmt: skip
    about = About(prompt, 3, "testbed", "policy", 1, False, tuple(f.slug for f in findings))
    stock, regulated = (Image.new("RGB", (8, 8), (10, value, 40)) for value in (90, colour))
    pictures = {"stock": stock, "regulated": regulated}
    return Tried(about, pictures, report, checks or {}, {})


def only_checked(*findings: ConceptFinding, bundle: str = "f" * 64) -> Tried:
    """A picture that was checked, in which something was found."""
    about = About("", 0, "testbed", "policy", 1, False, tuple(f.slug for f in findings))
    given = Image.new("RGB", (8, 8), (10, 90, 40))
    found = checked(*findings)
    found = replace(found, verdict=replace(found.verdict, bundle=bundle))
    maps = {f.slug: given for f in findings}
    return Tried(about, {"given": given}, None, {"given": found}, maps)


def done(registry, found: Tried | None) -> int:
    """A job that came to this, or to what is no longer there."""
    words = ["--release=policy@1", "--seed=3", "--", "a cup"]
    registry.jobs.add("try", words, actor="ann")
    return finish(registry, found)


def finish(registry, found: Tried | None) -> int:
    """Do the job that waits."""
    job = registry.jobs.claim("w1")
    if found is not None:
        keep_tried(registry.home / TRIED / f"job-{job.id}", found)
    registry.jobs.finish(job.id, "w1", {})
    return job.id


@pytest.fixture
def own(team):
    """A team's registry with a cache of its own."""
    (team.home / "cache").unlink()
    return team


def png(side: int = 8) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (side, side), (200, 0, 0)).save(data, "PNG", dpi=(300, 300))
    return data.getvalue()


def send(visitor, data: bytes, **fields: str):
    """Send the form with a picture."""
    return visitor.client.post(
        "/try", data={"token": visitor.token(), **FIELDS, **fields},
        files={"file": ("../../x.png", data, "image/png")},
        headers={"origin": str(visitor.client.base_url).rstrip("/")},
    )  # fmt: skip


def test_a_prompt_is_asked_for_and_waits(team, visit):
    visitor = visit(team, "ann")
    assert "policy@1, live in prod" in visitor.page("/try")
    prompt = "--out=/etc is <b>no</b> option"
    found = visitor.post("/try", {**FIELDS, "prompt": prompt.replace(" is", "\r\n  is")})
    assert (found.status_code, found.headers["location"]) == (303, "/try/1")
    job = team.jobs.show(1)
    assert (job.kind, job.asked_by, job.arguments) == (
        "try", "ann",
        ("--release=policy@1", "--model=testbed", "--seed=3", "--", prompt),
    )  # fmt: skip
    check_arguments(job.kind, job.arguments)
    page = visitor.get("/try/1").text
    assert "It waits for a worker" in text_of(page)
    assert 'hx-get="/try/1" hx-trigger="every 3s"' in page
    assert "--out=/etc is &lt;b&gt;no&lt;/b&gt; option" in page
    assert f"{prompt} policy@1 · waiting · ann" in visitor.page("/try")
    assert f"Try '{prompt}' under policy@1 on the testbed" in visitor.page("/jobs")


@pytest.mark.parametrize(
    ("named", "word"), [("pistol@1", "--version=pistol@1"), ("pistol", "--version=pistol@2")]
)
def test_a_version_alone_is_tried_in_place_of_the_release(team, visit, named, word):
    visit(team, "ann").post("/try", {**FIELDS, "version": named})
    assert team.jobs.show(1).arguments[0] == word


def test_a_picture_to_change_is_kept_by_its_content_until_the_worker_takes_it(own, visit):
    found = send(visit(own, "ann"), png())
    assert found.status_code == 303
    (path,) = (own.home / GIVEN).iterdir()
    assert path.name == f"{hashlib.sha256(path.read_bytes()).hexdigest()}.png"
    with Image.open(path) as kept:
        assert (kept.size, kept.getpixel((0, 0)), kept.info) == ((8, 8), (200, 0, 0), {})
    job = own.jobs.show(1)
    assert job.arguments[-3:] == (f"--picture={path.resolve()}", "--", FIELDS["prompt"])
    check_arguments(job.kind, job.arguments)
    send(visit(own, "ann"), png(4000))
    sizes = {read_picture(path).size for path in (own.home / GIVEN).iterdir()}
    assert sizes == {(8, 8), (2048, 2048)}


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"prompt": "a" * 2001}, 422),
        ({"prompt": "a\0b"}, 422), ({"prompt": "a\x1b[2Jb"}, 422),
        ({"release": ""}, 422), ({"release": "policy"}, 422), ({"release": "policy@9"}, 404),
        ({"release": "nix@1"}, 404), ({"release": "--out=/etc@1"}, 404),
        ({"release": "policy@99999999999"}, 422), ({"version": "pistol@9"}, 404),
        ({"version": "nix"}, 404), ({"version": "--out"}, 422), ({"version": "../x"}, 422),
        ({"version": "pistol@1 --out"}, 422), ({"version": "knife"}, 404),
        ({"model": "/etc"}, 422), ({"model": "--out=/etc"}, 422), ({"model": "a/../b"}, 422),
        ({"seed": "-1"}, 422), ({"seed": "x"}, 422), ({"seed": "1e99"}, 422),
    ],
    ids=repr,
)  # fmt: skip
def test_what_cannot_be_tried_is_refused(own, visit, wrong, status):
    visitor = visit(own, "ann")
    assert visitor.post("/try", {**FIELDS, **wrong}).status_code == status
    assert send(visitor, png(), **wrong).status_code == status
    assert (own.jobs.list(), (own.home / GIVEN).exists()) == ([], False)


def test_what_is_live_and_the_newest_of_each_bundle_are_offered(own, visit):
    own.releases.add("policy", actor="cem", modes={"nudity": "log"})
    shown = visit(own, "ann").page("/try")
    assert "Under policy@1, live in prod policy@2, the newest, live nowhere" in shown


def test_a_form_that_is_refused_keeps_a_release_that_is_not_offered(own, visit):
    own.releases.add("policy", actor="cem", modes={"nudity": "log"})
    own.channels.move("prod", "policy", actor="cem")
    found = visit(own, "ann").post("/try", {**FIELDS, "prompt": ""})
    assert found.status_code == 422
    assert '<option value="policy@2">policy@2, live in prod' in found.text
    assert '<option value="policy@1" selected>policy@1</option></select>' in found.text


@pytest.mark.parametrize("prompt", ["", " \n"])
def test_without_words_a_picture_is_needed_and_is_checked(own, visit, prompt):
    release_check(own)
    visitor = visit(own, "ann")
    assert visitor.post("/try", {**FIELDS, "prompt": prompt}).status_code == 422
    found = send(visitor, png(), prompt=prompt, release="late@1")
    assert found.headers["location"] == "/try/1"
    (path,) = (own.home / GIVEN).iterdir()
    job = own.jobs.show(1)
    assert job.arguments == (
        "--release=late@1", "--model=testbed", "--seed=3", f"--picture={path.resolve()}", "--",
    )  # fmt: skip
    check_arguments(job.kind, job.arguments)
    page = visitor.page("/try/1")
    assert "Is anything banned in this picture?" in page
    assert "It waits for a worker" in page
    assert "a picture that was checked late@1 · waiting · ann" in visitor.page("/try")


@pytest.mark.parametrize(
    "named",
    [
        {"release": "policy@1"}, {"version": "pistol@1"},
        {"version": "knife@1", "model": "flux.1-dev"},
        {"release": "late@1", "model": "flux.1-dev"},
    ],
    ids=repr,
)  # fmt: skip
def test_what_cannot_check_a_picture_is_refused_before_a_worker_tries(own, visit, named):
    release_check(own)
    found = send(visit(own, "ann"), png(), prompt="", **named)
    assert (found.status_code, "holds no examples by which this model" in found.text) == (422, True)
    said, alone = text_of(found.text), "version" in named
    slug = named["version"].partition("@")[0] if alone else "SLUG"
    assert f"collect-anchors {slug} --model " in said
    assert ("then release again" in said, "makes a version that does" in said) == (not alone, alone)
    assert (own.jobs.list(), (own.home / GIVEN).exists()) == ([], False)


def test_the_same_leads_to_its_job_until_that_ends(own, visit):
    visitor = visit(own, "ann")
    assert visitor.post("/try", FIELDS).headers["location"] == "/try/1"
    assert send(visitor, png()).headers["location"] == "/try/2"  # With a picture it is another.
    for again, job in ((visitor.post("/try", FIELDS), 1), (send(visitor, png()), 2)):
        assert again.headers["location"] == f"/jobs/{job}?done=same"
        shown = visitor.get(f"/jobs/{job}?done=same").text
        assert "did not end yet: this is that job." in shown
        assert f'<a href="/try/{job}">' in shown
    own.jobs.cancel(1, actor="ann")
    assert visitor.post("/try", FIELDS).headers["location"] == "/try/3"


def test_what_is_no_picture_or_too_large_is_refused(own, visit):
    visitor, bomb = visit(own, "ann"), io.BytesIO()
    Image.new("1", (8000, 8000)).save(bomb, "PNG")
    for data in (b"no picture", b"GIF89a", png()[:40], bomb.getvalue()):
        assert send(visitor, data).status_code == 422
    assert send(visitor, b"x" * (25 << 20)).status_code == 413
    assert (own.jobs.list(), (own.home / GIVEN).exists()) == ([], False)


def test_only_curators_try_and_others_leave_no_picture(own, visit):
    for name in ("bob", "cem", "dia"):
        # Nor is anything decoded for them.
        sent = (send(visit(own, name), data) for data in (png(), b"no picture"))
        for found in (visit(own, name).post("/try", FIELDS), *sent):
            assert found.status_code == 403
            assert "this needs the role curator" in text_of(found.text)
    assert (own.jobs.list(), (own.home / GIVEN).exists()) == ([], False)


def test_what_came_of_it_is_shown_to_whoever_may_read(own, visit):
    number = done(own, made(finding("pistol", 3.0), finding("knife", 0.5), colour=20))
    page = visit(own, "dia").get(f"/try/{number}").text
    said = text_of(page)
    assert "Pistol was found and regulated." in said
    assert "Pistol, version 1 regulated found 3.0000 2.0000" in said
    assert "Knife, version 1 regulated not found 0.5000" in said
    assert page.count("<img src=") == 2
    assert page.count('<img class="mask"') == 2
    assert "hx-trigger" not in page


def test_the_check_says_what_would_become_of_both_pictures(own, visit):
    checks = {
        "stock": checked(finding("pistol", 4.0), finding("nudity", 0.5)),
        "regulated": checked(finding("pistol", 1.5), finding("nudity", 0.25)),
    }
    found = made(finding("pistol", 3.0), finding("knife", 0.5), colour=20, checks=checks)
    page = visit(own, "dia").page(f"/try/{done(own, found)}")
    assert (
        "Not regulated: Pistol was found by the check. An engine with this check would deliver "
        "it flagged, draw it again, or put a grey one in its place, as its host chose. Regulated: "
        "Nothing banned was found. An engine with this check would deliver it. The check does "
        "not look for Knife."
    ) in page
    assert "Pistol, version 1 found 4.0000 not found 1.5000 2.0000" in page


def test_a_bundle_without_examples_for_the_check_says_that_nothing_was_checked(own, visit):
    page = visit(own, "dia").page(f"/try/{done(own, made(finding('pistol', 3.0)))}")
    assert "What a check of the finished pictures would say is not known" in page


def test_a_picture_that_was_checked_is_told_with_who_stands_behind_the_ban(own, visit):
    bundle = own.releases.get("policy").bundle_digest
    number = done(own, only_checked(finding("pistol", 3.0), finding("knife", 1.0), bundle=bundle))
    page = visit(own, "dia").get(f"/try/{number}").text
    shown = text_of(page)
    assert "Pistol was found by the check. An engine with this check would deliver it" in shown
    assert "Checked under policy@1, by the model testbed; asked" in shown
    assert "Who stands behind Pistol By policy@1, made" in shown
    assert "Released without review by ann" in shown
    assert "Live now: prod, version 1, regulated." in shown
    assert "Who stands behind Knife" not in shown
    assert (page.count("<img src="), page.count('<img class="mask"')) == (3, 1)


def test_a_checked_picture_that_may_show_nudity_waits_for_somebody_to_ask(own, visit):
    number = done(own, only_checked(finding("pistol", 3.0), finding("nudity", 0.1)))
    visitor = visit(own, "ann")
    assert "<img" not in visitor.get(f"/try/{number}").text
    assert "<img" in visitor.post(f"/try/{number}/pictures", {}).text


def test_what_a_picture_came_to_is_read_as_it_was_kept(tmp_path):
    kept = only_checked(finding("pistol", 3.0), finding("knife", 1.0, "log"))
    keep_tried(tmp_path, kept)
    read = read_tried(tmp_path)
    assert read.to_dict() == kept.to_dict()
    assert [item.slug for item in read.findings] == ["pistol", "knife"]
    assert (read.outline.tolist(), read.identical) == ([[True, False], [False, False]], False)


@pytest.mark.parametrize(
    ("findings", "colour", "said"),
    [
        ([], 90, "Nothing banned was found, and the picture is the same to the bit."),
        ([("a", 1, "enforce")], 80, "Nothing banned was found."),
        (
            [("a", 3, "enforce"), ("b", 4, "enforce"), ("c", 3, "log"), ("d", 3, "shadow")], 80,
            "B and A were found and regulated; C was found, and reported only; D was found, and "
            "tried silently.",
        ),
    ],
)  # fmt: skip
def test_the_verdict_is_a_sentence(findings, colour, said, tmp_path):
    keep_tried(tmp_path, made(*(finding(*item) for item in findings), colour=colour))
    assert read_tried(tmp_path).said == said


def test_a_ban_that_looked_for_nothing_does_not_say_that_it_found_nothing(tmp_path):
    found = made()
    found.report.looked = False
    keep_tried(tmp_path, found)
    assert read_tried(tmp_path).said.startswith("Nothing was looked for")


def test_pictures_that_may_show_nudity_wait_for_somebody_to_ask(own, visit, caplog):
    number = done(own, made(finding("pistol", 3.0), finding("nudity", 0.1, "shadow"), colour=20))
    visitor = visit(own, "ann")
    with caplog.at_level(logging.INFO, "uvr.console"):
        page = visitor.get(f"/try/{number}").text
        assert ("<img" in page, "They may show nudity" in page) == (False, True)
        assert "looked at" not in caplog.text
        assert "<img" in visitor.post(f"/try/{number}/pictures", {}).text
    assert f"'ann' looked at pictures of job {number}" in caplog.text


@pytest.mark.parametrize("left", [None, "tried.json", "report.json", "checks.json", "stock.png"])
def test_a_cache_that_was_emptied_or_damaged_is_told(own, visit, left):
    number = done(own, None if left is None else made(finding("pistol", 3.0)))
    if left is not None:
        (own.home / TRIED / f"job-{number}" / left).write_bytes(b"[]")
    assert "Its pictures are no longer here" in visit(own, "ann").page(f"/try/{number}")


def test_a_job_that_failed_says_why(own, visit):
    own.jobs.add("try", ["a cup", "--release", "policy"], actor="ann")
    own.jobs.claim("w1")
    own.jobs.fail(1, "w1", "There is no <b>GPU</b> here")
    page = visit(own, "ann").page("/try/1")
    assert "It was not drawn. There is no <b>GPU</b> here" in page
    assert "a cup --release policy" in page


def test_a_job_of_another_kind_or_none_is_not_found(own, visit):
    own.jobs.add("draw-examples", ["pistol@1"], actor="ann")
    visitor = visit(own, "ann")
    for path in ("/try/1", "/try/2", "/try/0", "/try/99999999999999999999", "/try/x"):
        assert visitor.get(path).status_code in (404, 422), path
    assert visitor.post("/try/1/pictures", {}).status_code == 404


def test_no_prompt_becomes_a_part_of_a_page(own, visit):
    visitor = visit(own, "ann")
    for evil in EVIL:
        own.jobs.add("try", ["--release=policy@1", "--", evil], actor="ann")
        job = own.jobs.add("try", [f"--release={evil}", f"--seed={evil}", "--", evil], actor="ann")
        assert harmless(visitor.get(f"/try/{job.id}").text)
        assert harmless(visitor.get("/try", params={"release": evil, "version": evil}).text)
        assert harmless(visitor.post("/try", {**FIELDS, "version": evil}).text)
    assert harmless(visitor.get("/try").text)
    assert harmless(visitor.get("/jobs").text)


def test_nothing_is_written_beside_the_cache(own, visit):
    before = {path for path in Path(own.home).rglob("*") if path.is_file()}
    send(visit(own, "ann"), png())
    after = {path for path in Path(own.home).rglob("*") if path.is_file()}
    new = [path for path in after - before if "registry.db" not in path.name]
    assert [path.parent for path in new] == [own.home / GIVEN]


@pytest.mark.parametrize(("colour", "title"), [(90, "With the release"), (80, "Regulated")])
def test_a_picture_that_nothing_changed_is_not_called_regulated(colour, title):
    found = made(finding("pistol", 3.0, "log"), colour=colour)
    assert [shot.title for shot in shots_of(found)] == ["Not regulated", title]
