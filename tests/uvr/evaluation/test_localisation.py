from concepts.bundle import Member
from uvr.anchors.calibration import fit_scorer
from uvr.anchors.extract import collect_from_images
from uvr.evaluation.localisation import localisation, looks
from uvr.evaluation.uses import USES, make_cases
from uvr.profiles import PROFILES
from uvr.testbed import load_testbed
from uvr.testbed.samples import labelled_samples


def test_a_things_pictures_are_found_above_benign_ones_whatever_the_bundles_threshold():
    pipe, slug = load_testbed("t2i"), "testbed-mascot"
    anchors = collect_from_images(
        pipe, PROFILES["testbed-t2i"], *labelled_samples(slug, "t2i", 1, 24)
    )
    member = Member(slug, "Mascot", "object", 1, "0" * 64, fit_scorer(anchors), threshold=1e6)
    rows = localisation(pipe, [member], "t2i", 5, seed=2)
    assert [(row.use, row.slug) for row in rows] == [(use, slug) for use in USES["t2i"]]
    assert all(row.found <= row.n <= 5 for row in rows)
    assert rows[0].n >= 4
    assert rows[0].found >= rows[0].n - 1


def test_what_a_picture_shows_is_told_beside_its_score():
    pipe, slug = load_testbed("t2i"), "testbed-bomb"
    profile = PROFILES["testbed-t2i"]
    anchors = collect_from_images(pipe, profile, *labelled_samples(slug, "t2i", 1, 24))
    member = Member(slug, "Bomb", "object", 1, "0" * 64, fit_scorer(anchors))
    cases = [
        *make_cases("t2i", "bomb", 4, seed=3),
        *make_cases("t2i", None, 4, seed=3),
    ]
    found = looks(pipe, profile, cases, [member])
    assert found.shown[:, 0].tolist() == [True] * 4 + [False] * 4
    assert found.peaks[:4].min() > found.peaks[4:].max()
