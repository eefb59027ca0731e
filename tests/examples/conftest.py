"""A bundle for the testbed that takes no collecting, and the examples as modules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from concepts.anchors import AnchorSpace
from concepts.bundle import Bundle, BundleVariant, Member, lock_digest, locked_members, write_bundle
from tests.uvr.conftest import make_scorer
from uvr.pipelines import load_pipeline

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def space() -> AnchorSpace:
    """The anchor space of the testbed's own weights for drawing."""
    from uvr.anchors.extract import anchor_space  # noqa: PLC0415 (torch, for those who ask)

    return anchor_space(*load_pipeline("testbed", "t2i"))


@pytest.fixture
def publish(space: AnchorSpace, tmp_path: Path) -> Callable[..., Path]:
    """Write a release of one concept, that every picture shows unless told otherwise."""

    def write(sequence: int = 1, *, threshold: float = -1e9) -> Path:
        scorer = make_scorer(np.ones(space.dim), threshold)
        member = Member("ball", "Ball", "object", 1, "0" * 64, scorer)
        made = Bundle("policy", sequence, "0" * 64, (BundleVariant(space, (member,)),),
                      created="2026-11-24T10:00:00.000000Z")  # fmt: skip
        lock = lock_digest(locked_members(made.variants))
        path = tmp_path / "policy.uvr"
        partial = path.with_suffix(".partial")
        partial.write_bytes(write_bundle(replace(made, lock_digest=lock, digest="")))
        return partial.replace(path)

    return write


def example(name: str) -> ModuleType:
    """An example as a module."""
    spec = spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
