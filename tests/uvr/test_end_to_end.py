"""From pictures to a bundle file to a regulated pipeline, on a tiny random model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from concepts.bundle import (
    Bundle,
    BundleVariant,
    Member,
    lock_digest,
    locked_members,
    read_bundle,
    write_bundle,
)
from tests.uvr.conftest import call_pipe
from uvr.anchors.calibration import fit_scorer
from uvr.anchors.extract import collect_from_images
from uvr.engine.regulator import Regulator
from uvr.families.flux_pictures import noised_call
from uvr.sample import Sample


def scenes(count: int, *, concept: bool, seed: int) -> list[Sample]:
    """Noise, with a bright square in one corner where the concept is."""
    random = np.random.default_rng(seed)
    samples = []
    for pixels in random.integers(0, 90, (count, 32, 32, 3), dtype=np.uint8):
        mask = np.zeros((32, 32), dtype=bool)
        if concept:
            mask[:16, :16] = True
            pixels[mask] = (255, 60, 0)
        samples.append(Sample(Image.fromarray(pixels), mask if concept else None, "keep it"))
    return samples


def test_a_concept_learned_from_pictures_fires_on_new_ones_only_where_it_is(t2i_pipe, t2i_profile):
    """A random model draws nothing, so generations start from noised pictures of the test."""
    profile = replace(t2i_profile, sigma=0.2)
    t2i_pipe.vae.register_to_config(scaling_factor=60.0)  # a random encoder's latents are faint
    anchors = collect_from_images(
        t2i_pipe, profile, scenes(6, concept=True, seed=0), scenes(60, concept=False, seed=1)
    )
    member = Member("square", "Square", "object", 1, "0" * 64, fit_scorer(anchors))
    variants = (BundleVariant(anchors.space, (member,)),)
    released = Bundle("test", 1, lock_digest(locked_members(variants)), variants)
    bundle = read_bundle(write_bundle(released))
    pictures = [*scenes(1, concept=True, seed=2), *scenes(1, concept=False, seed=3)]
    start = noised_call(t2i_pipe, profile, pictures, 0.2, torch.Generator().manual_seed(4))
    more = {
        "latents": start["hidden_states"].detach(),
        "sigmas": [0.2, 0.1],
        "num_inference_steps": 2,
    }

    stock = call_pipe(t2i_pipe, ["keep it", "keep it"], [1, 2], **more)
    with Regulator(bundle, profile=profile).attach(t2i_pipe) as attachment:
        regulated = call_pipe(t2i_pipe, ["keep it", "keep it"], [1, 2], **more)

    report = attachment.last
    assert [report.fired_in(index) for index in range(2)] == [["square"], []]
    mask = report.images[0][0].mask
    assert mask[:4, :4].mean() > 0.5
    assert mask[5:, 5:].mean() < 0.1
    assert not torch.equal(stock[0], regulated[0])
    assert torch.equal(stock[1], regulated[1])
