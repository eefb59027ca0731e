"""No attack: the suite's cases as they are."""

from __future__ import annotations

from dataclasses import dataclass

from uvr.evaluation.attacks.attack import Attack


@dataclass(frozen=True)
class Plain(Attack):
    """The cases as they are; benign cases are drawn under it alone."""

    name = "none"
    about = "The suite's prompts and pictures as they are."
