"""The attacks that are known here, by name."""

from __future__ import annotations

from uvr.evaluation.attacks.adaptive import AdaptiveNoise
from uvr.evaluation.attacks.attack import Attack
from uvr.evaluation.attacks.beside import BesideTwo
from uvr.evaluation.attacks.caches import CacheAfter, CacheBefore
from uvr.evaluation.attacks.calls import OtherSigmas, OtherSizes, OtherSteps, TrueCfg
from uvr.evaluation.attacks.embeddings import LearnedEmbeddings
from uvr.evaluation.attacks.img2img import ImageToImage, ImageToImageUnnamed
from uvr.evaluation.attacks.indirect import IndirectDescription
from uvr.evaluation.attacks.latents import ChosenLatents, InvertedLatents
from uvr.evaluation.attacks.loras import (
    LoraAfterAttach,
    LoraAfterCollection,
    LoraBeforeCollection,
    PoisonedLora,
)
from uvr.evaluation.attacks.misspelling import Misspelling
from uvr.evaluation.attacks.modifiers import ModifierGrid
from uvr.evaluation.attacks.multi_turn import MultiTurn
from uvr.evaluation.attacks.noise import GradientNoise, RandomNoise
from uvr.evaluation.attacks.paraphrases import Paraphrases
from uvr.evaluation.attacks.plain import Plain
from uvr.evaluation.attacks.references import (
    BenignEdit,
    Cropped,
    OtherStyle,
    Recoloured,
    Rotated,
    SmallThing,
)
from uvr.evaluation.attacks.synonyms import Synonyms
from uvr.evaluation.attacks.typography import TextInPicture
from uvr.evaluation.catalogue import Catalogue

ATTACKS: Catalogue[Attack] = Catalogue(
    "attack",
    [
        Plain, Synonyms, Paraphrases, Misspelling, IndirectDescription, BesideTwo, ModifierGrid,
        BenignEdit, OtherStyle, SmallThing, Cropped, Rotated, Recoloured, TextInPicture,
        ImageToImage, ImageToImageUnnamed, OtherSteps, OtherSigmas, OtherSizes, TrueCfg, MultiTurn,
        InvertedLatents, ChosenLatents, LearnedEmbeddings, RandomNoise, GradientNoise,
        AdaptiveNoise, LoraBeforeCollection, LoraAfterCollection, LoraAfterAttach, PoisonedLora,
        CacheBefore, CacheAfter,
    ],
)  # fmt: skip
"""``ATTACKS.register`` makes one of your own known."""
