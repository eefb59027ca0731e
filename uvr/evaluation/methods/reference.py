"""The paper's UVR (arXiv 2606.06875) as its reference release (github.com/deng12yx/UVR) runs it.

1. Anchors are features of the last step that show the concept; their mean is the concept's anchor.
2. Text-to-image: at each step of the start-up stage output patches are scored anew, by the mean
   over heads of the scaled dot product with the anchor, regulated features included. Editing: at
   the first step alone.
3. Above one threshold set by hand, text-to-image replaces the attention output of the mask by
   noise; editing attends less to the reference picture there (preset "paper").

Otherwise than there: a mask holds from the next pass on, not from the tap on; every component is
kept; noise has the scale of the activations (docs/method.md says why); the stage is the profile's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from uvr.anchors.labels import label_patches
from uvr.evaluation.cases import Case
from uvr.evaluation.drawing import Drawer, Picture, call_arguments
from uvr.evaluation.methods.attention import PassState, Run, own_attention
from uvr.evaluation.methods.drawn_features import draw_features
from uvr.evaluation.methods.method import Method
from uvr.evaluation.setting import Setting
from uvr.families.attention import Action
from uvr.families.known import family_of
from uvr.method.masks import seeds_and_growth
from uvr.method.modulation import seeded_noise
from uvr.method.rewind import Call
from uvr.method.taps import output_taps
from uvr.profiles import ModelProfile


@dataclass(frozen=True)
class Reference(Method):
    """The reference release's look and regulation.

    Attributes:
        threshold_t2i: "score > threshold is a match", for text-to-image; 0.6 there for FLUX.1-dev.
        threshold_edit: The same for editing; 0.2 there for Kontext.
        stage_end: Regulates while sigma >= this; 0.85 there, None for the profile's.
        pictures: Drawn of each concept for its anchors, and as many without it.
    """

    threshold_t2i: float = 0.8
    threshold_edit: float = 0.65
    stage_end: float | None = None
    pictures: int = 8

    name = "paper"
    about = "The paper's UVR: mean anchors, a threshold by hand, looks at every step, noise."
    tuned = (
        "Thresholds chosen from 0.6, 0.7, 0.8 for text-to-image and 0.2, 0.5, 0.65, 0.8 for edits, "
        "on some 30 pictures of seed 31 each; two earlier ends of the stage came to no more."
    )
    code = (
        "uvr.anchors",
        "uvr.evaluation.methods.attention",
        "uvr.evaluation.methods.drawn_features",
        "uvr.families",
        "uvr.method",
    )

    @contextmanager
    def open(self, pipe: Any, setting: Setting) -> Iterator[Drawer]:
        """Draw pictures for the anchors; then look and regulate in every call."""
        profile = setting.profile.with_preset("paper")
        profile = replace(profile, taps=tuple(output_taps(profile.taps)))
        if self.stage_end is not None:
            profile = replace(profile, stage_end=self.stage_end)
        anchors = {
            item.slug: mean_anchor(pipe, setting, item, self.pictures)
            for item in setting.definitions
        }
        threshold = self.threshold_edit if setting.task == "edit" else self.threshold_t2i
        looks = Looks(pipe, profile, anchors, threshold)
        with own_attention(pipe, looks.state, through=looks.through):

            def draw(cases: Sequence[Case]) -> list[Picture]:
                looks.begin(len(cases))
                images = pipe(**call_arguments(pipe, profile, cases)).images
                return [looks.picture(image, place) for place, image in enumerate(images)]

            yield draw


def mean_anchor(pipe: Any, setting: Setting, definition: Any, count: int) -> Tensor:
    """The mean of late features that show a concept, (dim,); all of its pictures' if none do."""
    drawn = draw_features(pipe, setting, definition, count)
    shows, _ = label_patches(np.concatenate([drawn.late, drawn.other_late]), len(drawn.late))
    chosen = drawn.late[shows] if shows.any() else drawn.late.reshape(-1, drawn.late.shape[-1])
    return torch.from_numpy(chosen.mean(axis=0))


@dataclass
class Looks:
    """What the passes of one call look for, and what they found so far.

    Attributes:
        pipe: The pipeline.
        profile: Taps, stage and regulation.
        anchors: For the slug of each concept its mean anchor, (dim,).
        threshold: "score > threshold is a match".
        state: Of the attention layers.
    """

    pipe: Any
    profile: ModelProfile
    anchors: dict[str, Tensor]
    threshold: float
    state: PassState = field(default_factory=PassState)

    def begin(self, pictures: int) -> None:
        """Forget the call before."""
        self.state.taps = frozenset(self.profile.taps)
        self.state.begin()
        self._fired: list[set[str]] = [set() for _ in range(pictures)]
        self._action: Action | None = None
        self._seen: Tensor | None = None

    def through(self, run: Run, call: Call) -> Any:
        """Run one call of the transformer, regulated by what was found before it."""
        stage = self.state.within(self.profile.stage_end)
        looks = stage and self.state.passes == 1
        looks &= self.profile.task != "edit" or self.state.step == 0
        if self.state.step == 0 and self.state.passes == 1:
            latents = family_of(self.pipe).latents(call, self.state.tokens)
            config = self.pipe.transformer.config
            self._heads = config.num_attention_heads * len(self.profile.taps)
            self._head_dim = config.attention_head_dim
            self._noise = seeded_noise(latents, config.num_attention_heads * self._head_dim)
        self.state.capture = looks
        self.state.action = self._action if stage else None
        try:
            output = run(call)
            if looks:
                self._look(self.state.take_features(self.profile.taps).output)
        finally:
            self.state.capture = False
            self.state.action = None
        return output

    def _look(self, features: Tensor) -> None:
        """Score features, (pictures, patches, dim), and set what is regulated from now on."""
        grid = self.state.tokens.grid
        union = torch.zeros(features.shape[:2], dtype=torch.bool, device=features.device)
        for slug, anchor in self.anchors.items():
            product = features @ anchor.to(features.device)
            scores = product / (self._heads * self._head_dim**0.5)
            mask = seeds_and_growth(scores, grid, self.threshold, self.threshold, close_gaps=True)
            for place in mask.any(dim=1).nonzero().flatten().tolist():
                self._fired[place].add(slug)
            union |= mask
        self._seen = union if self._seen is None else self._seen | union
        noise = self._noise.to(union.device) if self.profile.restrict else None
        action = Action(union, noise, self.profile.restrict, self.profile.modulate)
        self._action = action if bool(union.any()) else None

    def picture(self, image: Any, place: int) -> Picture:
        """A picture of the call with what was found in it at any look."""
        fired = tuple(sorted(self._fired[place]))
        mask = None
        if fired and self._seen is not None:
            mask = np.asarray(self._seen[place].cpu()).reshape(self.state.tokens.grid)
        return Picture(image, fired=fired, mask=mask)
