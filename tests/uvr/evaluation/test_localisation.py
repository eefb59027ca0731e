from concepts.bundle import Member
from uvr.anchors.calibration import fit_scorer
from uvr.anchors.extract import collect_from_images
from uvr.evaluation.localisation import localisation
from uvr.evaluation.uses import USES
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
    assert [(row.use, row.slug, row.n) for row in rows] == [(use, slug, 5) for use in USES["t2i"]]
    assert rows[0].found >= 4
