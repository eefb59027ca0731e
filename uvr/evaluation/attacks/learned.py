"""What attacks learn: tensors, found once for a key and kept in the run's folder."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from concepts.digest import json_digest
from concepts.files import write_file
from uvr.evaluation.attacks.attack import Attack
from uvr.evaluation.cases import Case
from uvr.evaluation.catalogue import identity_of
from uvr.evaluation.setting import Setting
from uvr.revision import weights_revision

Tensors = dict[str, Tensor]


class LearnedAttack(Attack):
    """An attack that optimises something for each case, for a whole call at once."""

    code: ClassVar[tuple[str, ...]] = (__name__, "uvr.evaluation.attacks.white_box")

    @abstractmethod
    def optimised(self, pipe: Any, cases: Sequence[Case], setting: Setting) -> list[Tensors]:
        """Find tensors for each case."""

    def applied(self, case: Case, found: Tensors) -> Case:
        """The case with what was found for it, by default as arguments of the call."""
        return replace(case, tensors={**case.tensors, **found})

    def learn(self, pipe: Any, cases: Sequence[Case], setting: Setting) -> list[Case]:
        """Find it, or take what is kept; every method gets the same."""

        def found() -> Tensors:
            each = self.optimised(pipe, cases, setting)
            return {f"{n}.{name}": t for n, row in enumerate(each) for name, t in row.items()}

        whole = kept_or_made(setting, learning_key(self, pipe, setting, cases), found)
        rows: list[Tensors] = [{} for _ in cases]
        for key, tensor in whole.items():
            number, _, name = key.partition(".")
            rows[int(number)][name] = tensor
        return [self.applied(case, row) for case, row in zip(cases, rows, strict=True)]


def learning_key(attack: Attack, pipe: Any, setting: Setting, cases: Sequence[Case] = ()) -> str:
    """SHA-256 of all that decides what an attack learns."""
    bundle = setting.bundle if attack.uses_bundle else None
    judges = setting.judges if attack.uses_judges else ()
    return json_digest(
        {
            "attack": identity_of(attack),
            "weights": weights_revision(pipe.transformer),
            "profile": setting.profile.to_dict(),
            "bundle": None if bundle is None else bundle.digest,
            "judges": [[judge.name, judge.version, judge.thresholds] for judge in judges],
            "seed": setting.seed,
            "cases": [case.digest for case in cases],
        }
    )


def kept_or_made(setting: Setting, key: str, make: Callable[[], Tensors]) -> Tensors:
    """Tensors that are kept under a key; made and kept where there are none, or damaged ones."""
    if setting.folder is None:
        return make()
    path = setting.folder / f"{key}.safetensors"
    if path.exists():
        try:
            return load(path.read_bytes())
        except SafetensorError:
            path.unlink()
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in make().items()}
    write_file(path, save(tensors))
    return tensors
