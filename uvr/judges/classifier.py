"""An image classifier of transformers as a judge: its labels stand for concepts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

from concepts.errors import NotFoundError, did_you_mean
from uvr.judges.judge import Scores, thresholds_of
from uvr.judges.weights import weights_version


class ClassifierJudge:
    """Scores a concept as an image classifier scores the labels that stand for it.

    One label of many (softmax): the sum of their probabilities. Labels that are told apart one by
    one (a multi-label model, sigmoid): the highest of theirs.

    Args:
        folder: What ``save_pretrained`` wrote: the model and its image processor.
        labels: For the slug of each concept, the model's labels that stand for it.
        threshold: "score >= threshold is a match": one for all, or one for each slug.
        device: Where the model runs.

    Raises:
        NotFoundError: The folder holds no model, or the model has no such label.
    """

    def __init__(
        self,
        folder: Path | str,
        labels: Mapping[str, Sequence[str]],
        threshold: float | Mapping[str, float] = 0.5,
        *,
        device: str = "cpu",
    ) -> None:
        folder = Path(folder)
        self.version = weights_version(folder)
        self._processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        model = AutoModelForImageClassification.from_pretrained(folder, local_files_only=True)
        self._model = model.eval().to(device)
        self.name = folder.name
        self.thresholds = thresholds_of(labels, threshold)
        self._classes = {slug: [self._class(label) for label in labels[slug]] for slug in labels}

    @torch.inference_mode()
    def scores(self, pictures: Sequence[Image.Image]) -> Scores:
        """Score pictures, 0 to 1."""
        inputs = self._processor(images=list(pictures), return_tensors="pt")
        logits = self._model(**inputs.to(self._model.device)).logits.float().cpu()
        several = self._model.config.problem_type == "multi_label_classification"
        chances = logits.sigmoid() if several else logits.softmax(dim=-1)
        return [
            {slug: float(row[classes].amax() if several else row[classes].sum())
             for slug, classes in self._classes.items()}
            for row in chances
        ]  # fmt: skip

    def _class(self, label: str) -> int:
        known = self._model.config.label2id
        if label not in known:
            raise NotFoundError(
                f"The classifier {self.name!r} has no label {label!r}.{did_you_mean(label, known)}"
            )
        return int(known[label])
