"""Judges of transformers at tiny random weights, and what is asked of any judge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import processors
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
)

from concepts.errors import NotFoundError, UVRError
from tests.uvr.conftest import make_tokenizer
from uvr.judges.classifier import ClassifierJudge
from uvr.judges.clip import ClipJudge
from uvr.judges.judge import Judgement, ask

TINY = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
TINY |= {"num_attention_heads": 2}
LABELS = ["cup", "pistol", "revolver"]
PICTURES = [
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (20, 30, 3), dtype=np.uint8))
    for seed in range(3)
]


def save_classifier(folder: Path, **options: str) -> ViTForImageClassification:
    torch.manual_seed(0)
    names = dict(enumerate(LABELS))
    config = ViTConfig(
        image_size=32, patch_size=8, **TINY, **options,
        id2label=names, label2id={label: place for place, label in names.items()},
    )  # fmt: skip
    model = ViTForImageClassification(config).eval()
    model.save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return model


@pytest.fixture
def clip_folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={**TINY, "vocab_size": 32, "max_position_embeddings": 16,
                     "eos_token_id": 1, "bos_token_id": 2, "pad_token_id": 0},
        vision_config={**TINY, "image_size": 32, "patch_size": 8},
        projection_dim=8,
    )  # fmt: skip
    folder = tmp_path / "clip"
    CLIPModel(config).save_pretrained(folder)
    images = CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    tokenizer = make_tokenizer(16)
    ending = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    tokenizer.backend_tokenizer.post_processor = ending  # CLIP reads a text at its end
    CLIPProcessor(images, tokenizer).save_pretrained(folder)
    return folder


def test_a_classifier_gives_a_concept_the_probability_of_all_its_labels(tmp_path):
    folder = tmp_path / "weapons"
    model = save_classifier(folder)
    judge = ClassifierJudge(folder, {"gun": ["pistol", "revolver"], "cup": ["cup"]}, 0.4)
    scores = judge.scores(PICTURES)
    pixels = ViTImageProcessorPil.from_pretrained(folder)(PICTURES, return_tensors="pt")
    with torch.no_grad():
        chances = model(**pixels).logits.softmax(-1)
    assert [row["gun"] for row in scores] == pytest.approx(chances[:, 1:].sum(1).tolist())
    assert [row["cup"] for row in scores] == pytest.approx(chances[:, 0].tolist())
    assert (judge.name, judge.thresholds) == ("weapons", {"gun": 0.4, "cup": 0.4})


def test_a_classifier_of_several_labels_gives_a_concept_the_highest(tmp_path):
    model = save_classifier(tmp_path, problem_type="multi_label_classification")
    judge = ClassifierJudge(tmp_path, {"gun": ["pistol", "revolver"]}, {"gun": 0.7})
    pixels = ViTImageProcessorPil.from_pretrained(tmp_path)(PICTURES, return_tensors="pt")
    with torch.no_grad():
        chances = model(**pixels).logits.sigmoid()
    assert [row["gun"] for row in judge.scores(PICTURES)] == pytest.approx(
        chances[:, 1:].amax(1).tolist()
    )


def test_a_judge_s_version_follows_its_weights(tmp_path):
    save_classifier(tmp_path / "one")
    model = save_classifier(tmp_path / "two")
    labels = {"cup": ["cup"]}
    one, two = (ClassifierJudge(tmp_path / name, labels).version for name in ("one", "two"))
    assert (one, len(one)) == (two, 12)
    with torch.no_grad():
        model.classifier.bias += 1
    model.save_pretrained(tmp_path / "two")
    assert ClassifierJudge(tmp_path / "two", labels).version != one


def test_what_is_no_judge_is_refused_with_what_was_expected(tmp_path):
    with pytest.raises(NotFoundError, match=r"a folder with a model that transformers saved"):
        ClassifierJudge(tmp_path / "none", {})
    save_classifier(tmp_path)
    with pytest.raises(NotFoundError, match=r"no label 'pistl'. Did you mean 'pistol'"):
        ClassifierJudge(tmp_path, {"gun": ["pistl"]})
    with pytest.raises(ValueError, match="no threshold for gun"):
        ClassifierJudge(tmp_path, {"gun": ["pistol"]}, {"cup": 0.5})


def test_clip_shares_a_picture_s_likeness_among_texts(clip_folder):
    texts = {"ball": ["a ball", "a red ball"], "cup": ["a cup"]}
    judge = ClipJudge(clip_folder, texts, ["a star"], {"ball": 0.6, "cup": 0.5})
    scores = judge.scores(PICTURES)
    rest = ClipJudge(clip_folder, {"star": ["a star"]}, ["a ball", "a red ball", "a cup"])
    for row, other in zip(scores, rest.scores(PICTURES), strict=True):
        assert row["ball"] + row["cup"] + other["star"] == pytest.approx(1)
    assert len({row["cup"] for row in scores}) == len(PICTURES)
    with pytest.raises(ValueError, match="others is empty"):
        ClipJudge(clip_folder, texts, [])


class Fixed:
    name, version, thresholds = "fixed", "1", {"ball": 0.5, "cup": 0.5}

    def __init__(self, *rows: dict[str, float]) -> None:
        self.rows = rows

    def scores(self, pictures: list[Image.Image]) -> tuple[dict[str, float], ...]:
        return self.rows


def test_a_judgement_fires_from_its_threshold_on():
    ((ball, cup),) = ask(Fixed({"ball": 0.5, "cup": 0.49, "other": 1.0}), PICTURES[:1])
    assert ball == Judgement("ball", 0.5, 0.5, "fixed/1")
    assert (ball.fired, cup.fired) == (True, False)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"ball": 1.0, "cup": 0.0}], "scored 1 of 2 pictures"),
        ([{"ball": 1.0}] * 2, "no finite score for 'cup': found None"),
        ([{"ball": float("nan"), "cup": 0.0}] * 2, "no finite score for 'ball': found nan"),
    ],
)
def test_a_judge_that_does_not_judge_is_an_error(rows, message):
    with pytest.raises(UVRError, match=message):
        ask(Fixed(*rows), PICTURES[:2])


class Placing(Fixed):
    """Says where it sees a ball, whatever picture it is asked of."""

    def __init__(self, heat: object, *rows: dict[str, float]) -> None:
        super().__init__(*rows)
        self.heat, self.asked = heat, []

    def places(self, pictures: list[Image.Image]) -> list[dict[str, object]]:
        self.asked += pictures
        return [{"ball": self.heat}] * len(pictures)


def test_a_judge_is_asked_where_only_for_what_fired():
    heat = np.eye(3)
    judge = Placing(heat, {"ball": 0.0, "cup": 0.0}, {"ball": 0.9, "cup": 0.9})
    (ball, cup), (seen, unplaced) = ask(judge, PICTURES[:2])
    assert judge.asked == PICTURES[1:2]
    assert (ball.heat, cup.heat, unplaced.heat) == (None, None, None)
    assert seen.heat.dtype == np.float32
    assert (seen.heat == heat).all()


@pytest.mark.parametrize("heat", [np.ones(3), np.full((2, 2), np.nan), -np.eye(2), np.eye(0)])
def test_a_place_that_is_no_heat_map_is_an_error(heat):
    with pytest.raises(UVRError, match="fixed/1 gave no heat map for 'ball'"):
        ask(Placing(heat, {"ball": 0.9, "cup": 0.0}), PICTURES[:1])
