"""Given pictures: kept, masked, left out and forgotten in the browser, and collected from."""

from __future__ import annotations

import io
import logging
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from commands.job_kinds import check_arguments
from concepts.digest import sha256
from concepts.instant import parse_instant
from console.evidence.given_pictures import given_picture, wanted_of
from registry.operations import collect_garbage
from registry.store.home import EXEMPLARS, SCORED
from registry.versions.keeping import Ground
from tests.console.conftest import text_of
from tests.console.test_hostile import EVIL, harmless
from tests.registry.versions.test_keeping import expire
from uvr.examples.bare_scores import ScoresAlone

HERE = "/concepts/pistol/exemplars"
FIELDS = {"shows": "yes", "origin": "archive 12", "legal_basis": "licence 7", "until": "2999-01-31"}
GROUND = Ground("archive 12", "licence 7", parse_instant("30d"))


def encoded(picture, kind="PNG", **options):
    data = io.BytesIO()
    picture.save(data, kind, **options)
    return data.getvalue()


def noisy(number, size=(40, 30)):
    random = np.random.default_rng(number)
    small = Image.fromarray(random.integers(0, 256, (5, 5, 3), dtype=np.uint8), "RGB")
    return encoded(small.resize(size, Image.Resampling.BICUBIC))


def boxed(box=(10, 10, 30, 20), size=(40, 30)):
    mask = Image.new("L", size)
    mask.paste(255, box)
    return encoded(mask)


def keep(registry, number, mask=None, slug="pistol", **options):
    given = given_picture(noisy(number), "x", mask)
    (found,) = registry.exemplars.keep(slug, [given], GROUND, actor="ann", **options)
    return found


@pytest.fixture
def own(team):
    """A team's registry with a cache of its own, and pictures: two that show it, one not."""
    (team.home / "cache").unlink()
    keep(team, 1, boxed())
    keep(team, 2)
    keep(team, 3, benign=True)
    return team


def send(visitor, files, path=HERE, **fields):
    return visitor.client.post(
        path, data={"token": visitor.token(), **fields},
        files=[("files", (name, data, "image/png")) for name, data in files],
        headers={"origin": str(visitor.client.base_url).rstrip("/")},
    )  # fmt: skip


def files(registry):
    return {path.name for path in (registry.home / EXEMPLARS).rglob("*") if path.is_file()}


def mask_of(registry, number):
    _, mask = registry.exemplars.files(registry.exemplars.one(number))
    return np.asarray(Image.open(io.BytesIO(mask))) > 0


def test_pictures_are_kept_with_their_ground_and_never_their_names(team, visit):
    visitor = visit(team, "ann")
    assert "Keep pictures These pictures show it" in visitor.page(HERE)
    photo = encoded(Image.new("RGB", (8, 6), (200, 0, 0)), "JPEG", comment=b"somebody")
    found = send(visitor, [("../../x.png", noisy(8)), ("/etc/passwd", photo)], **FIELDS)
    assert (found.status_code, found.headers["location"]) == (303, f"{HERE}?done=kept")
    kept = team.exemplars.kept()
    assert [(p.sha256, p.benign, p.origin, p.legal_basis, p.created_by) for p in kept] == [
        (sha256(data), False, "archive 12", "licence 7", "ann") for data in (noisy(8), photo)
    ]
    assert kept[0].retain_until == "2999-01-31T00:00:00.000000Z"
    assert files(team) == {item.picture for item in kept}
    assert b"somebody" not in team.exemplars.files(kept[1])[0]
    page = visitor.get(f"{HERE}?done=kept").text
    assert "The pictures are kept." in text_of(page)
    assert 'value="archive 12"' in page  # The next ones usually come from there, too.
    assert '<input id="until" name="until" type="date" required value="2999-01-31">' in page
    assert [event.action for event in team.audit.events()][-1] == "exemplar.keep"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"shows": "maybe"}, "Say whether"), ({"origin": " "}, "only with its origin"),
        ({"legal_basis": ""}, "only with its legal basis"), ({"until": "soon"}, "as a date"),
        ({"until": ""}, "as a date"), ({"until": "2020-01-01"}, "is over"),
    ],
    ids=str,
)  # fmt: skip
def test_a_picture_without_ground_is_not_kept(team, visit, wrong, said):
    found = send(visit(team, "ann"), [("x", noisy(8))], **{**FIELDS, **wrong})
    assert (found.status_code, said in text_of(found.text)) == (422, True)
    assert (team.exemplars.kept(), files(team)) == ([], set())


def test_all_of_a_form_is_kept_or_nothing(team, visit):
    visitor = visit(team, "ann")
    large, small = encoded(Image.new("1", (8000, 8000))), encoded(Image.new("1", (8, 8)))
    header = b"IHDR" + struct.pack(">II", 60_000, 60_000) + small[24:29]
    bomb = small[:12] + header + struct.pack(">I", zlib.crc32(header)) + small[33:]
    for bad in (b"no picture", b"GIF89a", noisy(8)[:40], large, bomb, b"<svg/>", b"%!PS-Adobe"):
        found = send(visitor, [("a", noisy(8)), ("b", bad)], **FIELDS)
        assert (found.status_code, "Picture 2 of 2" in text_of(found.text)) == (422, True)
    assert send(visitor, [], **FIELDS).status_code == 422
    assert send(visitor, [("a", b"")], **FIELDS).status_code == 422
    assert send(visitor, [("a", noisy(8))] * 21, **FIELDS).status_code == 422
    assert send(visitor, [("a", b"x" * (25 << 20))], **FIELDS).status_code == 413
    assert (team.exemplars.kept(), files(team)) == ([], set())


def test_other_forms_take_one_file(team, visit):
    fields = {"prompt": "a cup", "release": "policy@1", "model": "testbed", "seed": "3"}
    found = send(visit(team, "ann"), [("a", noisy(8))] * 2, "/try", **fields)
    assert (found.status_code, "One file was expected" in text_of(found.text)) == (422, True)


def test_what_they_cover_is_told(own, visit):
    keep(own, 4, boxed((0, 0, 0, 0)))
    own.exemplars.exclude(keep(own, 5, boxed((0, 0, 40, 30))).id, actor="ann", reason="a toy")
    resized = Image.open(io.BytesIO(noisy(2))).resize((60, 45))
    send(visit(own, "ann"), [("x", encoded(resized))], **FIELDS)
    said = visit(own, "dia").page(HERE)
    for part in (
        "4 pictures show it, 1 does not.", "0 small, 1 medium, 0 large",
        "2 without a mask: nothing is collected from them.",
        "1 with an empty mask: nothing is collected from it.",
        "Much alike, so that they add little: 2, 6.",
        "no rate of wrong catches below 50% can be promised",
        "1 is not collected from: left out, over, or not here.",
        "None shows it at: top left, top, top right, right, bottom left, bottom, bottom right.",
        "2 No mask yet. Much like 6.", "4 Its mask is empty.", "5 Left out: a toy",
        "From 1 with a mask, and 1 that does not show it.",
    ):  # fmt: skip
        assert part in said, part


def test_what_the_newest_version_makes_of_them_is_told(own, visit):
    visitor = visit(own, "ann")
    assert "3 were not scored by it yet." in visitor.page(HERE)
    detail = own.versions.detail("pistol", 2)
    (space,) = detail.version.spaces
    scorer = own.versions.scorer("pistol", space.digest, 2)
    for item, score in zip(own.exemplars.kept(), (1.5, 1.49, 1.6), strict=True):
        ScoresAlone(own.home / SCORED).keep_scores(
            wanted_of(item, detail, space), scorer, np.array([[score, 0]], dtype=np.float32)
        )
    page = visitor.get(HERE).text
    assert "wrongly caught 1 (3), missed 1 (2) of 3 that were scored." in text_of(page)
    assert "Have them scored" not in page
    assert "2 Missed." in text_of(page)
    assert "3 Wrongly caught." in text_of(page)
    keep(own, 4)
    assert "1 was not scored by it yet." in visitor.page(HERE)
    visitor.post(f"{HERE}/score", {"model": "testbed"})
    (job,) = own.jobs.list()
    assert (job.kind, job.arguments) == ("score-exemplars", ("pistol@2", "--model=testbed"))
    check_arguments(job.kind, job.arguments)


def test_what_cannot_be_collected_from_is_not_offered_and_not_asked_for(own, visit):
    visitor = visit(own, "ann")
    why = "It takes at least 1 picture that shows the concept, with a mask, and 2 that do not; "
    assert f"{why}there are 1 and 1." in visitor.page(HERE)
    assert '<button disabled aria-describedby="too-few">' in visitor.get(HERE).text
    found = visitor.post(f"{HERE}/collect", {"task": "t2i", "model": "testbed"})
    assert (found.status_code, own.jobs.list()) == (422, [])
    keep(own, 9, benign=True)
    assert why not in visitor.page(HERE)
    own.exemplars.set_mask(1, None, actor="ann")
    assert f"{why}there are 0 and 2." in visitor.page(HERE)


def test_a_worker_is_asked_to_collect_from_them(own, visit):
    keep(own, 9, benign=True)
    visitor = visit(own, "ann")
    found = visitor.post(f"{HERE}/collect", {"task": "t2i", "model": "flux.1-dev"})
    assert found.headers["location"] == "/jobs/1?done=asked"
    (job,) = own.jobs.list()
    assert (job.kind, job.arguments) == (
        "collect-anchors",
        ("pistol", "--kept", "--model=black-forest-labs/FLUX.1-dev", "--task=t2i"),
    )
    check_arguments(job.kind, job.arguments)
    for wrong in ({"task": "--out"}, {"model": "/etc"}):
        sent = {"task": "t2i", "model": "testbed", **wrong}
        assert visitor.post(f"{HERE}/collect", sent).status_code == 422


def test_a_mask_is_a_file_or_a_box(own, visit):
    visitor = visit(own, "ann")
    found = send(visitor, [("../m.png", boxed())], f"{HERE}/2/mask")
    assert (found.status_code, found.headers["location"]) == (303, f"{HERE}?done=masked-last")
    assert (mask_of(own, 2).sum(), mask_of(own, 2)[10:20, 10:30].all()) == (200, True)
    box = {"left": "50", "top": "0", "width": "50", "height": "100"}
    found = visitor.post(f"{HERE}/2/mask", box)
    assert (mask_of(own, 2).sum(), mask_of(own, 2)[:, 20:].all()) == (600, True)
    keep(own, 4)
    found = visitor.post(f"{HERE}/1/mask", box).headers["location"]
    assert found == f"{HERE}/4?done=masked&picture=1"
    assert "The mask of picture 1 was saved; this is picture 4." in visitor.page(found)
    for forged in ("x", "²", "<b>", ""):
        page = visitor.get(f"{HERE}/4", params={"done": "masked", "picture": forged}).text
        assert '<p class="notice" role="status">The mask was saved.</p>' in page
    found = visitor.post(f"{HERE}/1/mask", {"none": "yes"}).headers["location"]
    assert "The mask was taken away." in visitor.page(found)
    assert own.exemplars.one(1).mask is None
    page = visitor.get(f"{HERE}/2").text
    assert 'data-width="40" data-height="30"' in page
    assert re.search(r'data-mask="data:image/png;base64,[\w+/=]+"', page)


def test_what_is_no_mask_of_the_picture_is_refused(own, visit):
    visitor, before = visit(own, "ann"), files(own)
    for data in (b"x", boxed(size=(30, 40)), encoded(Image.new("1", (9000, 9000))), noisy(1)[:50]):
        assert send(visitor, [("m", data)], f"{HERE}/2/mask").status_code == 422
    assert send(visitor, [("m", boxed())] * 2, f"{HERE}/2/mask").status_code == 422
    box = {"left": "10", "top": "10", "width": "20", "height": "20"}
    for wrong in (
        {"width": "0"}, {"width": "91"}, {"left": "-1"}, {"top": "nan"}, {"height": ""},
        {"left": "1e999"}, dict.fromkeys(box, ""), {"width": "x"},
    ):  # fmt: skip
        assert visitor.post(f"{HERE}/2/mask", {**box, **wrong}).status_code == 422, wrong
    assert visitor.post(f"{HERE}/3/mask", box).status_code == 409  # It shows it nowhere.
    assert (files(own), own.exemplars.one(2).mask) == (before, None)


def test_a_box_that_leaves_the_picture_is_refused_beside_its_field(own, visit):
    box = {"left": "80", "top": "0", "width": "40", "height": "20"}
    found = visit(own, "ann").post(f"{HERE}/2/mask", box)
    why = "A box that begins at 80% has a width of more than 0 and at most 20%"
    field = r'<input id="box-width"[^>]* value="40"[^>]*><p class="refusal" role="alert">' + why
    assert (found.status_code, bool(re.search(field, found.text))) == (422, True)
    thirds = {"left": "66.7", "top": "0", "width": "33.3", "height": "100"}
    assert visit(own, "ann").post(f"{HERE}/2/mask", thirds).status_code == 303


def test_a_picture_is_left_out_taken_in_and_forgotten(own, visit):
    visitor = visit(own, "ann")
    visitor.post(f"{HERE}/1/exclude", {"reason": "shows a toy"})
    assert "Left out: shows a toy" in visitor.page(f"{HERE}/1")
    assert "left out a given picture of pistol" in visitor.page("/audit")
    assert visitor.post(f"{HERE}/1/exclude", {"reason": "x"}).status_code == 409
    assert visitor.post(f"{HERE}/1/include", {}).status_code == 303
    assert visitor.post(f"{HERE}/2/exclude", {"reason": " "}).status_code == 403
    assert visitor.post(f"{HERE}/1/forget", {"reason": ""}).status_code == 403
    item = own.exemplars.one(1)
    assert visitor.post(f"{HERE}/1/forget", {"reason": "withdrawn"}).status_code == 303
    assert not {item.picture, item.mask} & files(own)
    assert visitor.get(f"{HERE}/1").status_code == 404
    trail = "\n".join(own.audit.export())
    assert not [word for word in (item.sha256, item.picture, item.origin) if word in trail]


def test_only_curators_change_and_only_admins_forget(own, visit):
    own.team.set("eva", actor="ann", roles=["curator"])
    keep(own, 8, benign=True)
    before = (files(own), len(own.audit.events()), own.jobs.list())
    for name in ("bob", "cem", "dia"):
        visitor = visit(own, name)
        for path, fields in (
            ("1/exclude", {"reason": "x"}), ("1/mask", {"none": "yes"}), ("1/include", {}),
            ("score", {"model": "testbed"}), ("collect", {"model": "testbed", "task": "t2i"}),
        ):  # fmt: skip
            found = visitor.post(f"{HERE}/{path}", fields)
            assert (found.status_code, "needs the role curator" in text_of(found.text)) == (
                403, True,
            ), (name, path)  # fmt: skip
        assert send(visitor, [("x", noisy(9))], **FIELDS).status_code == 403
    found = visit(own, "eva").post(f"{HERE}/1/forget", {"reason": "x"})
    assert (found.status_code, "needs the role admin" in text_of(found.text)) == (403, True)
    assert (files(own), len(own.audit.events()), own.jobs.list()) == before


def test_a_picture_of_another_concept_is_not_found(own, visit):
    keep(own, 9, slug="nudity")
    visitor = visit(own, "ann")
    for path in ("nix/exemplars", "knife/exemplars/1", "pistol/exemplars/4", "pistol/exemplars/99",
                 "pistol/exemplars/0"):  # fmt: skip
        assert visitor.get(f"/concepts/{path}").status_code == 404, path
    for deed in ("mask", "exclude", "include", "forget", "pictures"):
        fields = {"none": "yes", "reason": "x"}
        for place in ("pistol/exemplars/4", "knife/exemplars/1", "nix/exemplars/1"):
            found = visitor.post(f"/concepts/{place}/{deed}", fields)
            assert found.status_code == 404, (place, deed)
    assert [item.excluded for item in own.exemplars.kept()] == [None] * 4
    for slug in ("..%2f..", "%2e%2e", "pistol%00"):
        assert visitor.get(f"/concepts/{slug}/exemplars").status_code == 404


def test_nudity_waits_for_somebody_to_ask(own, visit, caplog):
    number = keep(own, 9, boxed(), slug="nudity").id
    visitor = visit(own, "dia")
    for place in ("/concepts/nudity/exemplars", f"/concepts/nudity/exemplars/{number}"):
        caplog.clear()
        with caplog.at_level(logging.INFO, "uvr.console"):
            page = visitor.get(place).text
            assert ("data:image" in page.replace("data:,", ""), "nudity" in page) == (False, True)
            assert "looked at" not in caplog.text
            assert "data:image/" in visitor.post(f"{place}/pictures", {}).text
        assert "'dia' looked at" in caplog.text


def test_nobody_looks_at_a_picture_whose_time_is_over(own, visit):
    visitor = visit(own, "ann")
    shown = visitor.get(HERE).text.count("data:image/")
    expire(own, 1)
    page = visitor.get(HERE).text
    assert "1 Its time is over" in text_of(page)
    assert page.count("data:image/") < shown
    assert "data:image/" not in visitor.get(f"{HERE}/1").text.replace("data:,", "")
    box = {"left": "10", "top": "10", "width": "20", "height": "20"}
    assert visitor.post(f"{HERE}/1/mask", box).status_code == 404


def test_a_picture_that_is_not_here_is_told(own, visit):
    for path in (own.home / EXEMPLARS).rglob(f"{own.exemplars.one(1).picture}"):
        path.unlink()
    (own.home / EXEMPLARS / "sha256" / own.exemplars.one(2).picture[:2]
     / own.exemplars.one(2).picture).write_bytes(b"x")  # fmt: skip
    visitor = visit(own, "ann")
    assert "1 Its file is not here: give it again." in visitor.page(HERE)
    for number, status in ((1, 404), (2, 500)):  # Gone, and damaged.
        assert "Save the mask" not in visitor.page(f"{HERE}/{number}")
        box = {"left": "10", "top": "10", "width": "20", "height": "20"}
        assert visitor.post(f"{HERE}/{number}/mask", box).status_code == status


def test_many_pictures_are_on_several_pages(own, visit):
    for number in range(4, 28):
        keep(own, number, benign=True)
    visitor = visit(own, "ann")
    first, last = visitor.get(HERE).text, visitor.get(f"{HERE}?from=24").text
    assert (first.count('<figure class="contact'), last.count('<figure class="contact')) == (24, 3)
    assert "1 to 24, 25 to 27 of 27" in text_of(first)
    for place in ("99", "-1", "x", "9" * 30, "²"):
        assert visitor.get(HERE, params={"from": place}).text.count('class="contact ') == 24


def test_no_text_of_a_picture_becomes_a_part_of_a_page(own, visit):
    visitor = visit(own, "ann")
    for number, evil in enumerate(EVIL, 10):
        sent = {**FIELDS, "origin": evil, "legal_basis": evil}
        assert send(visitor, [(evil, noisy(number))], **sent).status_code == 303
        item = own.exemplars.kept()[-1]
        visitor.post(f"{HERE}/{item.id}/exclude", {"reason": f"{evil} x"})
        for path in (HERE, f"{HERE}/{item.id}", "/audit", f"{HERE}?from={evil}"):
            page = visitor.get(path).text
            assert harmless(re.sub(r'<img (class="\w+" )?src="data:image/[^>]*>', "", page))


def test_looking_writes_hashes_alone_and_they_go_with_the_picture(own, visit):
    visit(own, "ann").get(HERE)
    cache = {path.name.partition(".")[0] for path in (own.home / SCORED).rglob("*.json")}
    assert cache == {item.picture for item in own.exemplars.kept()}
    first = own.exemplars.one(1)
    own.exemplars.forget(first.sha256, actor="ann", reason="x")
    assert not list(own.home.rglob(f"*{first.picture}*"))
    collect_garbage(own.workspace, actor="ann")
    assert "1 picture shows it" in visit(own, "ann").page(HERE)
