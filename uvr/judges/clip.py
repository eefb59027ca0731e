"""CLIP as a judge, without training: does a picture look like a concept's texts?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor

from uvr.judges.judge import Scores, thresholds_of
from uvr.judges.weights import weights_version


class ClipJudge:
    """Scores a concept by the share of a picture's likeness that goes to the concept's texts.

    Args:
        folder: What ``save_pretrained`` wrote: a CLIP model and its processor.
        texts: For the slug of each concept, texts that say it, such as "a photo of a pistol".
        others: Texts of what pictures may show instead; a score is meaningless without any.
        threshold: "score >= threshold is a match": one for all, or one for each slug.
        device: Where the model runs.

    Raises:
        NotFoundError: The folder holds no model.
        ValueError: There are no other texts.
    """

    def __init__(
        self,
        folder: Path | str,
        texts: Mapping[str, Sequence[str]],
        others: Sequence[str],
        threshold: float | Mapping[str, float] = 0.5,
        *,
        device: str = "cpu",
    ) -> None:
        if not others:
            raise ValueError("others is empty; texts of what pictures may show instead are needed")
        folder = Path(folder)
        self.version = weights_version(folder)
        self._processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
        self._model = AutoModel.from_pretrained(folder, local_files_only=True).eval().to(device)
        self.name = folder.name
        self.thresholds = thresholds_of(texts, threshold)
        self._texts = [text for slug in texts for text in texts[slug]] + list(others)
        self._counts = {slug: len(texts[slug]) for slug in texts}

    @torch.inference_mode()
    def scores(self, pictures: Sequence[Image.Image]) -> Scores:
        """Score pictures, 0 to 1."""
        inputs = self._processor(
            text=self._texts,
            images=list(pictures),
            return_tensors="pt",
            padding=True,
            truncation=True,
        )
        logits = self._model(**inputs.to(self._model.device)).logits_per_image
        chances = logits.float().softmax(dim=-1).cpu()
        parts = chances.split_with_sizes(
            [*self._counts.values(), len(self._texts) - sum(self._counts.values())], dim=1
        )
        shares = {slug: part.sum(dim=1).tolist()
                  for slug, part in zip(self._counts, parts, strict=False)}  # fmt: skip
        return [{slug: shares[slug][place] for slug in shares} for place in range(len(pictures))]
