"""The regulator as a technique of eval-unlearn (https://pypi.org/project/eval-unlearn/).

Its runners find the technique ``uvr`` by this package's entry point, make it from the settings of a
run, and call ``generate``; that is all they ask, so nothing of eval-unlearn is imported here.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from concepts.errors import InputError
from uvr.delivery.bundle_file import UNSAID, Keys, open_bundle
from uvr.evaluation.cases import Case
from uvr.evaluation.methods.known import METHODS
from uvr.evaluation.setting import Setting
from uvr.pipelines import TESTBED, load_pipeline


class Technique:
    """Draws prompts by a method of the lab that needs a bundle alone.

    Args:
        bundle: The file.
        keys: Who may have signed it; see ``open_bundle``.
        model: As ``load_pipeline`` takes it.
        method: "ours", "ours-checked", "paper-regulation", or "stock" for the base of a comparison.
        erase_concept: What eval-unlearn calls the run; the bundle says what is banned.

    Raises:
        InputError: The method needs something else, or nobody said who may have signed the bundle.
        NotFoundError: There is no such file, key list or model.
        VerificationError: The bundle is damaged, or not signed by enough of the keys.
        MismatchError: The model draws nothing from prompts.
    """

    def __init__(
        self,
        bundle: Path | str,
        keys: Keys = UNSAID,
        model: str = TESTBED,
        method: str = "ours",
        erase_concept: str = "",
    ) -> None:
        del erase_concept
        self.method = METHODS.make(method)
        if not (self.method.uses_bundle or self.method.name == "stock"):
            raise InputError(f"The method {method!r} needs more than a bundle: run it in the lab.")
        released = open_bundle(bundle, keys)
        self.pipe, profile = load_pipeline(model, "t2i")
        self.setting = Setting("t2i", profile, (), released)

    def generate(
        self, prompts: Sequence[str], seed: int | None = None, **call: Any
    ) -> list[Image.Image]:
        """Draw prompts one by one, as eval-unlearn's own techniques do.

        Args:
            prompts: What to draw.
            seed: Of the first picture; the next one's is higher by one. None is a seed by chance.
            call: More arguments of the pipeline's call, such as ``num_inference_steps``.
        """
        first = secrets.randbits(32) if seed is None else seed
        cases = [Case("t2i", "", text, first + n, call=call) for n, text in enumerate(prompts)]
        with self.method.open(self.pipe, self.setting) as draw:
            return [draw([case])[0].image for case in cases]
