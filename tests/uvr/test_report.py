from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from concepts.errors import InputError, NotFoundError
from uvr.report import ConceptFinding, RegulationReport, decode_feature


def finding(slug: str, score: float) -> ConceptFinding:
    mask = np.array([[True, False], [False, False]]) if score >= 2 else np.zeros((2, 2), bool)
    return ConceptFinding(
        slug=slug,
        name=slug.title(),
        version=3,
        mode="enforce",
        fired=bool(mask.any()),
        step=1,
        sigma=0.9,
        score=score,
        threshold=2.0,
        area=float(mask.mean()),
        mask=mask,
        scores=np.array([[score, 0], [0, 0]], dtype=np.float32),
        feature=np.array([score, -0.5], dtype=np.float16) if mask.any() else None,
    )


@pytest.fixture
def report() -> RegulationReport:
    images = [[finding("ball", 4.0), finding("cup", 1.0)], [finding("ball", 0.5)]]
    return RegulationReport("demo", 2, "f" * 64, "tiny", looked=True, images=images)


def test_report_is_plain_json(report, tmp_path):
    report.save(tmp_path / "report.json")
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["fired"] is True
    assert (data["bundle"], data["sequence"], data["notes"]) == ("demo", 2, [])
    assert data["images"][0][0] == {
        "slug": "ball",
        "name": "Ball",
        "version": 3,
        "mode": "enforce",
        "enforced": True,
        "fired": True,
        "step": 1,
        "sigma": 0.9,
        "score": 4.0,
        "threshold": 2.0,
        "area": 0.25,
        "mask": ["10", "00"],
        "feature": "AEQAuA==",
    }
    assert "feature" not in data["images"][0][1]
    assert decode_feature("AEQAuA==").tolist() == [4.0, -0.5]
    assert [report.fired_in(index) for index in range(2)] == [["ball"], []]


def test_a_saved_report_is_read_again(report, tmp_path):
    report.save(tmp_path / "report.json")
    again = RegulationReport.load(tmp_path / "report.json")
    assert again.to_dict() == report.to_dict()
    assert [(picture, found.slug) for picture, found in again.fired_findings()] == [(0, "ball")]


@pytest.mark.parametrize("text", ["", "[]", '{"images": []}', '{"images": 1, "shadow": []}'])
def test_another_file_is_no_report(tmp_path, text):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(InputError, match="is not a report"):
        RegulationReport.load(tmp_path / "report.json")


def test_overlay_reddens_and_outlines_what_fired(report):
    picture = Image.new("RGB", (40, 40), (120, 120, 120))
    overlay = np.asarray(report.overlay(picture, 0)).astype(int)
    assert overlay.shape == (40, 40, 3)
    assert overlay[0, 0].tolist() == [255, 255, 0]
    assert overlay[8, 8, 0] > overlay[8, 8, 2] + 50
    assert np.ptp(overlay[35, 35]) < 5


def test_overlay_of_a_concept_that_is_not_in_the_report_is_refused(
    report,
):
    with pytest.raises(NotFoundError, match="no concept 'bomb'"):
        report.overlay(Image.new("RGB", (8, 8)), 0, "bomb")


def test_what_only_shadows_matched_counts_as_nothing_found():
    report = RegulationReport(
        "demo", 2, "f" * 64, "tiny", images=[[]], shadow=[[finding("b", 4.0)]]
    )
    assert (report.fired, report.fired_in(0)) == (False, [])
    assert report.to_dict()["shadow"][0][0]["slug"] == "b"
    picture = Image.new("RGB", (8, 8), (120, 120, 120))
    assert report.overlay(picture, 0).tobytes() == picture.tobytes()
    assert report.overlay(picture, 0, "b").tobytes() != picture.tobytes()


@pytest.mark.parametrize("text", ["", "A", "AEQA", "????"])
def test_a_text_that_is_no_feature_is_refused(text):
    with pytest.raises(ValueError, match=r"base64|float16|padding|Only"):
        decode_feature(text)
