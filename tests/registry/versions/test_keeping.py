"""Pictures that are kept on purpose: their files, their masks, and that they can be forgotten."""

import io
import os
import stat

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from sqlalchemy import text

from concepts.digest import sha256
from concepts.errors import (
    ConflictError,
    ContentError,
    InputError,
    NotFoundError,
    PolicyError,
    UVRError,
    VerificationError,
)
from concepts.instant import parse_instant
from registry.operations import backup, collect_garbage, diagnose, restore
from registry.registry import Registry
from registry.store.db import transaction
from registry.store.home import SCORED
from registry.versions import keeping
from registry.versions.keeping import Ground
from registry.versions.kept_exemplar import GivenPicture

GROUND = Ground("archive://one", "licence 7", parse_instant("30d"))


def png(colour=0, size=(8, 6), mode="RGB", **options):
    data = io.BytesIO()
    Image.new(mode, size, colour).save(data, "PNG", **options)
    return data.getvalue()


def given(number, mask=False):
    shown = png(255, mode="L") if mask else None
    return GivenPicture(sha256(b"%d" % number), png((number, 0, 0)), shown)


@pytest.fixture
def filled(registry, define):
    for slug in ("bomb", "pistol"):
        registry.concepts.add(define(slug), actor="ann")
    return registry


@pytest.fixture
def kept(filled):
    """Two pictures that show it, the second with a mask, and one that does not."""
    filled.exemplars.keep("pistol", [given(1), given(2, mask=True)], GROUND, actor="ann")
    filled.exemplars.keep("pistol", [given(3)], GROUND, actor="ann", benign=True)
    return filled


def files(registry):
    return {path.name for path in (registry.home / "exemplars").rglob("*") if path.is_file()}


def numbers(registry):
    return [item.id for item in registry.exemplars.kept()]


def expire(registry, number):
    with transaction(registry.workspace.engine, write=True) as connection:
        connection.execute(
            text("UPDATE kept_exemplar SET retain_until = '2020-01-01T00:00:00.000000Z' "
                 "WHERE id = :number"), {"number": number}
        )  # fmt: skip


def test_pictures_are_kept_with_their_ground(kept):
    found = kept.exemplars.kept("pistol")
    assert [(item.id, item.benign, item.mask is None, item.usable) for item in found] == [
        (1, False, True, True), (2, False, False, True), (3, True, True, True)
    ]  # fmt: skip
    first = found[0]
    assert (first.origin, first.legal_basis, first.retain_until, first.created_by) == (
        GROUND.origin, GROUND.legal_basis, GROUND.retain_until, "ann"
    )  # fmt: skip
    assert kept.exemplars.files(found[1]) == (png((2, 0, 0)), png(255, mode="L"))
    assert files(kept) == {item.picture for item in found} | {found[1].mask}
    assert kept.exemplars.kept("bomb") == []
    with pytest.raises(NotFoundError, match="Did you mean 'pistol'"):
        kept.exemplars.kept("pistl")


def test_nobody_but_the_owner_may_open_them(kept):
    for path in (kept.home / "exemplars", *(kept.home / "exemplars").rglob("*")):
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


def test_each_change_is_one_event_that_tells_numbers_alone(kept):
    change = kept.exemplars
    change.set_mask(1, png(0, mode="L"), actor="ann")
    change.exclude(1, actor="ann", reason="blurred")
    change.include(1, actor="ann")
    told = [
        (e.action, e.subject, dict(e.details))
        for e in kept.audit.events()
        if e.action.startswith("exemplar")
    ]
    assert told == [
        ("exemplar.keep", "pistol", {"ids": [1, 2], "benign": False}),
        ("exemplar.keep", "pistol", {"ids": [3], "benign": True}),
        ("exemplar.mask", "pistol", {"ids": [1], "mask": True}),
        ("exemplar.exclude", "pistol", {"ids": [1], "reason": "blurred"}),
        ("exemplar.include", "pistol", {"ids": [1]}),
    ]
    trail = "\n".join(kept.audit.export())
    for item in change.kept():
        assert all(word not in trail for word in (item.sha256, item.picture, item.origin))
    assert kept.audit.verify().events == len(kept.audit.events())
    assert diagnose(kept.workspace).ok


def test_a_mask_is_changed_and_the_old_one_goes(kept):
    old = kept.exemplars.kept()[1].mask
    new = kept.exemplars.set_mask(2, png(0, mode="L"), actor="ann")
    assert old not in files(kept)
    assert new.mask in files(kept)
    assert kept.exemplars.set_mask(2, None, actor="ann").mask is None
    assert files(kept) == {item.picture for item in kept.exemplars.kept()}


def test_what_is_no_mask_of_a_picture_is_refused(kept):
    before = files(kept)
    for mask, error in (
        (png(0, (8, 7), "L"), "a mask needs the size of its picture"),
        (b"no picture", "a PNG of pixels alone was expected"),
    ):
        with pytest.raises(InputError, match=error):
            kept.exemplars.set_mask(1, mask, actor="ann")
    with pytest.raises(ConflictError, match="without the concept"):
        kept.exemplars.set_mask(3, png(0, mode="L"), actor="ann")
    with pytest.raises(NotFoundError, match="No kept picture 9"):
        kept.exemplars.set_mask(9, None, actor="ann")
    with pytest.raises(InputError, match="has no mask"):
        kept.exemplars.keep("pistol", [given(4, mask=True)], GROUND, actor="ann", benign=True)
    assert (files(kept), numbers(kept)) == (before, [1, 2, 3])


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x89PNG\r\n\x1a\n", png()[:-1], png() + b"\0", png(size=(2049, 1)),
        png(dpi=(300, 300)), b"GIF89a", png()[:12] + b"XXXX" + png()[16:],
    ],
    ids=range(8),
)  # fmt: skip
def test_what_holds_more_than_pixels_is_not_kept(data):
    with pytest.raises(InputError, match=r"The picture (is not kept as it is|has 2049 x 1 pixels)"):
        GivenPicture("0" * 64, data)
    about = PngInfo()
    about.add_text("Author", "somebody")
    with pytest.raises(InputError, match="a PNG of pixels alone"):
        GivenPicture("0" * 64, png(pnginfo=about))


def test_a_picture_without_ground_or_time_is_not_kept(filled):
    for origin, basis, until in (("", "b", "30d"), ("a", " ", "30d")):
        with pytest.raises(InputError, match="is kept only with its"):
            Ground(origin, basis, parse_instant(until))
    with pytest.raises(InputError, match="only until a time"):
        Ground("a", "b", "soon")
    over = Ground("a", "b", "2020-01-01T00:00:00.000000Z")
    with pytest.raises(InputError, match="is over"):
        filled.exemplars.keep("pistol", [given(1)], over, actor="ann")
    assert (files(filled), numbers(filled)) == (set(), [])


def test_a_picture_that_is_kept_already_gets_its_ground_and_kind_anew(kept):
    longer = Ground("archive://two", "consent", parse_instant("90d"))
    (found,) = kept.exemplars.keep("pistol", [given(2)] * 2, longer, actor="bob", benign=True)
    assert (found.id, found.benign, found.mask, found.origin, found.created_by) == (
        2, True, None, "archive://two", "ann"
    )  # fmt: skip
    assert numbers(kept) == [1, 2, 3]
    assert kept.exemplars.keep("bomb", [given(2)], GROUND, actor="ann")[0].id == 4


def test_a_picture_is_left_out_for_a_reason(kept):
    assert kept.exemplars.exclude(1, actor="ann", reason=" blurred ").excluded == "blurred"
    assert [item.id for item in kept.exemplars.kept() if item.usable] == [2, 3]
    with pytest.raises(ConflictError, match="left out already: blurred"):
        kept.exemplars.exclude(1, actor="ann", reason="x")
    for reason, error in ((" ", "needs a reason"), (f"of {GROUND.origin}", "neither hash nor")):
        with pytest.raises(PolicyError, match=error):
            kept.exemplars.exclude(2, actor="ann", reason=reason)
    assert kept.exemplars.include(1, actor="ann").usable
    with pytest.raises(ConflictError, match="is not left out"):
        kept.exemplars.include(1, actor="ann")


def test_forgetting_deletes_picture_mask_and_scores(kept):
    item = kept.exemplars.kept()[1]
    scores = kept.home / SCORED / "space"
    scores.mkdir(parents=True)
    for digest in (item.picture, kept.exemplars.kept()[0].picture):
        (scores / f"{digest}.x.json").write_text("{}")
    assert kept.exemplars.forget(item.sha256, actor="ann", reason="withdrawn") == (2,)
    left = kept.exemplars.kept()
    assert [one.id for one in left] == [1, 3]
    assert files(kept) == {one.picture for one in left}
    assert [path.name for path in scores.iterdir()] == [f"{left[0].picture}.x.json"]
    event = kept.audit.events()[-1]
    assert event.details == {"ids": [], "kept": [2], "reason": "withdrawn"}
    # A number that the trail names is no other picture's, ever.
    kept.exemplars.keep("pistol", [given(2)], GROUND, actor="ann")
    assert numbers(kept) == [1, 3, 4]


def test_whoever_is_killed_while_forgetting_leaves_no_row_and_the_garbage_takes_the_file(
    kept, monkeypatch
):
    def killed(*_arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(keeping, "sweep_pictures", killed)
        with pytest.raises(KeyboardInterrupt):
            kept.exemplars.forget(given(1).sha256, actor="ann", reason="withdrawn")
    assert (numbers(kept), sha256(given(1).png) in files(kept)) == ([2, 3], True)
    notes = [note for check in diagnose(kept.workspace).checks for note in check.notes]
    assert "Files of pictures that are no longer kept: 1. `uvr-registry gc` deletes them." in notes
    collect_garbage(kept.workspace, actor="ann")
    assert sha256(given(1).png) not in files(kept)


def test_a_reason_to_forget_tells_neither_the_picture_nor_where_it_is_from(kept):
    short = Ground("a", "licence 7", GROUND.retain_until)
    kept.exemplars.keep("bomb", [given(1)], short, actor="ann")
    for told in (given(1).sha256, sha256(given(1).png), GROUND.origin, "a"):
        with pytest.raises(PolicyError, match="neither hash nor origin"):
            kept.exemplars.forget(given(1).sha256, actor="ann", reason=f"withdrawn: {told}")
    assert numbers(kept) == [1, 2, 3, 4]
    assert kept.exemplars.forget(given(1).sha256, actor="ann", reason="was asked") == (1, 4)


def test_two_concepts_share_a_file_until_both_forget_it(kept):
    kept.exemplars.keep("bomb", [given(1)], GROUND, actor="ann")
    assert len(files(kept)) == 4
    assert kept.exemplars.forget(given(1).sha256, actor="ann", reason="x") == (1, 4)
    assert sha256(given(1).png) not in files(kept)


def test_each_change_needs_its_role(kept):
    for name, role in (("ann", "admin"), ("bob", "reviewer"), ("cem", "curator")):
        kept.team.set(name, actor="ann", roles=[role])
    change, before = kept.exemplars, (files(kept), len(kept.audit.events()))
    for tried in (
        lambda: change.keep("pistol", [given(9)], GROUND, actor="bob"),
        lambda: change.set_mask(1, None, actor="bob"),
        lambda: change.exclude(1, actor="ann", reason="x"),
        lambda: change.include(1, actor="bob"),
        lambda: change.forget(given(1).sha256, actor="cem", reason="x"),
    ):
        with pytest.raises(PolicyError, match=r"this needs the role (curator|admin)"):
            tried()
    assert (files(kept), len(kept.audit.events())) == before


def test_a_dry_run_leaves_nothing_and_takes_nothing(kept):
    before = (files(kept), numbers(kept), len(kept.audit.events()))
    tried = kept.rehearsal().exemplars
    tried.keep("pistol", [given(9)], GROUND, actor="ann")
    tried.set_mask(2, None, actor="ann")
    tried.forget(given(1).sha256, actor="ann", reason="x")
    assert (files(kept), numbers(kept), len(kept.audit.events())) == before


def test_a_concept_keeps_so_many_pictures(kept, monkeypatch):
    for limit, value in (("MOST", 3), ("MOST_BYTES", 250)):
        with monkeypatch.context() as patch:
            patch.setattr(keeping, limit, value)
            with pytest.raises(InputError, match="would be kept for 'pistol': at most"):
                kept.exemplars.keep("pistol", [given(9)], GROUND, actor="ann")
    assert (len(files(kept)), numbers(kept)) == (4, [1, 2, 3])


def test_a_concept_that_names_minors_keeps_no_picture(filled):
    with transaction(filled.workspace.engine, write=True) as connection:
        # As if it had been stored before there were rules.
        connection.execute(text("UPDATE concept SET definition = replace(definition, :a, :b)"),
                           {"a": '"name":"Bomb"', "b": '"name":"Child"'})  # fmt: skip
    with pytest.raises(ContentError):
        filled.exemplars.keep("bomb", [given(1)], GROUND, actor="ann")
    assert files(filled) == set()


def test_what_is_over_is_not_used_and_goes_with_the_garbage(kept):
    expire(kept, 2)
    assert [item.id for item in kept.exemplars.kept() if item.usable] == [1, 3]
    with pytest.raises(NotFoundError, match="The time of picture 2 is over"):
        kept.exemplars.files(kept.exemplars.one(2))
    notes = " ".join(note for check in diagnose(kept.workspace).checks for note in check.notes)
    assert "Kept pictures whose time is over: 1. `uvr-registry gc` deletes them." in notes
    before = files(kept)
    assert collect_garbage(kept.workspace, actor="ann", dry_run=True).exemplars == 1
    assert (files(kept), numbers(kept)) == (before, [1, 2, 3])
    assert collect_garbage(kept.workspace, actor="ann").exemplars == 1
    assert numbers(kept) == [1, 3]
    assert files(kept) == {item.picture for item in kept.exemplars.kept()}
    event = kept.audit.events()[-1]
    assert (event.action, event.details["exemplars"]) == ("gc.collect", 1)


def test_files_that_nothing_names_go_with_the_garbage(kept):
    store = kept.exemplars._pictures
    store.put(b"of a writer that was killed")
    (store.root / "ab").mkdir(exist_ok=True)
    (store.root / "ab" / ".tmp-0123").write_bytes(b"half")
    notes = " ".join(note for check in diagnose(kept.workspace).checks for note in check.notes)
    assert "Files of pictures that are no longer kept: 2. `uvr-registry gc` deletes" in notes
    events = len(kept.audit.events())
    assert collect_garbage(kept.workspace, actor="ann").exemplar_files == 1
    assert files(kept) == {digest for item in kept.exemplars.kept()
                           for digest in (item.picture, item.mask) if digest}  # fmt: skip
    assert len(kept.audit.events()) == events


def test_no_backup_holds_a_picture(kept, tmp_path):
    backup(kept.workspace, tmp_path / "backup.zip")
    restored = Registry(restore(tmp_path / "backup.zip", tmp_path / "other"))
    found = restored.exemplars.kept("pistol")
    assert [(item.id, item.there, item.usable) for item in found] == [
        (1, False, False), (2, False, False), (3, False, False)
    ]  # fmt: skip
    with pytest.raises(NotFoundError, match="keep it again"):
        restored.exemplars.files(found[0])
    diagnosis = diagnose(restored.workspace)
    notes = " ".join(note for check in diagnosis.checks for note in check.notes)
    assert diagnosis.ok
    assert "Files of kept pictures that are not here: 4." in notes
    restored.exemplars.keep("pistol", [given(1), given(2)], GROUND, actor="ann")
    found = restored.exemplars.kept()
    assert [(item.usable, item.mask) for item in found] == [
        (True, None), (True, None), (False, None)
    ]  # fmt: skip


@pytest.mark.parametrize("forgotten", [(3,), (1, 2, 3)])
def test_no_picture_of_a_restored_registry_has_the_number_of_a_forgotten_one(
    kept, tmp_path, forgotten
):
    for number in forgotten:
        kept.exemplars.forget(given(number).sha256, actor="ann", reason="withdrawn")
    backup(kept.workspace, tmp_path / "backup.zip")
    restored = Registry(restore(tmp_path / "backup.zip", tmp_path / "other"))
    (found,) = restored.exemplars.keep("bomb", [given(9)], GROUND, actor="ann")
    assert found.id == 4


def test_pixels_that_another_encoder_wrote_take_the_place_of_the_first(kept):
    again = png((2, 0, 0), compress_level=0)
    before = kept.exemplars.kept()[1]
    (found,) = kept.exemplars.keep(
        "pistol", [GivenPicture(before.sha256, again)], GROUND, actor="ann"
    )
    assert (found.id, found.picture, found.mask) == (2, sha256(again), before.mask)
    assert before.picture not in files(kept)
    larger = GivenPicture(before.sha256, png((2, 0, 0), (9, 9)))
    assert kept.exemplars.keep("pistol", [larger], GROUND, actor="ann")[0].mask is None
    assert before.mask not in files(kept)


def test_a_file_that_was_exchanged_is_not_read(kept):
    item = kept.exemplars.kept()[0]
    kept.exemplars._pictures.path(item.picture).write_bytes(png((9, 9, 9)))
    with pytest.raises(VerificationError, match="is not the one that was kept"):
        kept.exemplars.files(item)


@pytest.mark.parametrize("registry", ["sqlite"], indirect=True)
def test_a_full_disk_leaves_no_row_and_no_file(filled, full_disk):
    with full_disk(), pytest.raises(UVRError, match="The disk is full"):
        filled.exemplars.keep("pistol", [given(1)], GROUND, actor="ann")
    assert (files(filled), numbers(filled)) == (set(), [])
    assert not [name for name in os.listdir(filled.home) if "partial" in name]
