"""Train a LoRA on pictures and captions of the testbed's world, put it on a pipeline, take it off.

peft is in the extra ``test``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from concepts.errors import NotFoundError
from uvr.evaluation.attacks.learned import Tensors
from uvr.evaluation.attacks.white_box import WhiteBox
from uvr.profiles import ModelProfile
from uvr.sample import Sample

NAME = "attack"
TARGETS = ["to_q", "to_k", "to_v", "add_k_proj", "add_v_proj", "proj_out", "context_embedder"]


@dataclass(frozen=True)
class Training:
    """How a LoRA is trained.

    Attributes:
        rank: Of its matrices.
        steps: Of AdamW, one pass forward and back of ``batch`` pictures each.
        batch: Pictures a step.
        rate: Of AdamW.
        seed: Of its noise.
    """

    rank: int = 8
    steps: int = 150
    batch: int = 8
    rate: float = 5e-3
    seed: int = 0


def trained_lora(
    pipe: Any, profile: ModelProfile, samples: Sequence[Sample], training: Training
) -> Tensors:
    """Train a LoRA by the flow loss; the pipeline is left as it was.

    Args:
        pipe: A stock pipeline without adapters.
        profile: Its profile.
        samples: Pictures and their captions.
        training: How.

    Returns:
        Its tensors, as the transformer's ``load_lora_adapter`` takes them.

    Raises:
        NotFoundError: peft is not installed.
    """
    peft = _peft()
    box = WhiteBox(pipe, profile, samples)
    transformer, generator = pipe.transformer, torch.Generator().manual_seed(training.seed)
    config = peft.LoraConfig(
        r=training.rank, lora_alpha=training.rank, target_modules=TARGETS, lora_dropout=0.0
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)  # peft draws the first matrices
        transformer.add_adapter(config, adapter_name=NAME)
    try:
        _train(box, transformer, training, generator)
        state = peft.get_peft_model_state_dict(transformer, adapter_name=NAME)
        return {name: tensor.detach().clone() for name, tensor in state.items()}
    finally:
        transformer.unload_lora()


def _train(box: WhiteBox, transformer: Any, training: Training, generator: torch.Generator) -> None:
    learned = [parameter for parameter in transformer.parameters() if parameter.requires_grad]
    adam = torch.optim.AdamW(learned, lr=training.rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        adam, training.rate, total_steps=training.steps + 1
    )
    for _ in range(training.steps):
        rows = torch.randint(len(box.clean), (training.batch,), generator=generator)
        part = box.rows(rows)
        noise = torch.randn(part.clean.shape, generator=generator).to(part.clean)
        sigma = float(torch.sigmoid(torch.randn((), generator=generator)))
        velocity = part.see(part.noised(sigma, noise), sigma).velocity
        loss = (velocity - (noise - part.clean)).square().mean()
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        schedule.step()


@contextmanager
def loaded_lora(pipe: Any, tensors: Tensors) -> Iterator[None]:
    """A LoRA on a pipeline's transformer within the context."""
    _peft()
    pipe.transformer.load_lora_adapter(dict(tensors), prefix=None, adapter_name=NAME)
    pipe.transformer.requires_grad_(requires_grad=False)
    try:
        yield
    finally:
        pipe.transformer.unload_lora()


def _peft() -> Any:
    try:
        import peft  # noqa: PLC0415 (slow to import, and an extra)
    except ImportError as error:
        raise NotFoundError("A LoRA needs peft: pip install 'uvr-registry[test]'.") from error
    return peft
