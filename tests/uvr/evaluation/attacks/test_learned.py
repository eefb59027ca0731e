"""Attacks that learn, on tiny random pipelines: what they descend falls, and bounds hold."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from tests.uvr.conftest import bundle_of, make_pipe, make_scorer, random_weights
from uvr.anchors.capturing import noised_features
from uvr.evaluation.attacks.adaptive import AdaptiveNoise
from uvr.evaluation.attacks.embeddings import LearnedEmbeddings
from uvr.evaluation.attacks.latents import ChosenLatents, InvertedLatents
from uvr.evaluation.attacks.noise import GradientNoise, RandomNoise
from uvr.evaluation.attacks.white_box import WhiteBox
from uvr.evaluation.cases import Case, picture_digest
from uvr.evaluation.detector_judge import DetectorJudge
from uvr.evaluation.methods.ours import Ours
from uvr.evaluation.methods.stock import Stock
from uvr.evaluation.setting import Setting
from uvr.evaluation.uses import make_cases
from uvr.sample import Sample
from uvr.testbed import scenes

T2I = make_cases("t2i", "bomb", 2, 3)


def source(seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return Image.fromarray(noise)


EDITS = [
    Case("edit", "kept", "make it red", seed, banned=("testbed-bomb",), source=source(seed))
    for seed in (4, 5)
]


def setting_of(profile, **more) -> Setting:
    bundle = bundle_of(profile, {"ball": make_scorer(random_weights(profile), 1.0)})
    return Setting(profile.task, profile, (), bundle, **more)


def test_the_white_box_sees_what_the_engine_captures(
    t2i_pipe, edit_pipe, t2i_profile, edit_profile
):
    for pipe, profile, cases in (
        (t2i_pipe, t2i_profile, T2I), (edit_pipe, edit_profile, EDITS)
    ):  # fmt: skip
        setting = setting_of(profile)
        box = WhiteBox.of(pipe, cases, setting)
        images = [case.source or scenes.render(case.scene)[0] for case in cases]
        samples = [
            Sample(image, prompt=case.prompt) for image, case in zip(images, cases, strict=True)
        ]
        (captured,) = noised_features(pipe, profile, samples, 0.5, seed=9)
        noise = torch.randn(box.clean.shape, generator=torch.Generator().manual_seed(9))
        margin = box.see(box.noised(0.5, noise), 0.5).margin
        scores = torch.from_numpy(captured) @ torch.tensor(random_weights(profile)).float()
        torch.testing.assert_close(margin, scores.amax(dim=1) - 1.0, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("task", ["t2i", "edit"])
def test_learned_embeddings_lower_the_loss_and_the_score(
    task, t2i_pipe, edit_pipe, t2i_profile, edit_profile
):
    pipe, profile = {"t2i": (t2i_pipe, t2i_profile), "edit": (edit_pipe, edit_profile)}[task]
    cases = T2I if task == "t2i" else EDITS
    attack, setting = LearnedEmbeddings(steps=12, rate=0.05, weight=0.05), setting_of(profile)
    learned = attack.learn(pipe, cases, setting)
    box = WhiteBox.of(pipe, cases, setting)
    noise = box.noise([case.seed for case in cases])
    changed = {
        "encoder_hidden_states": torch.cat([c.tensors["prompt_embeds"] for c in learned]),
        "pooled_projections": torch.cat([c.tensors["pooled_prompt_embeds"] for c in learned]),
    }
    with torch.no_grad():
        before = attack.loss(box, noise, box.look, {})
        after = attack.loss(box, noise, box.look, changed)
    assert (after < before).all()
    assert [case.prompt for case in learned] == ["", ""]
    with Ours().open(pipe, setting) as draw:
        assert len(draw(learned)) == 2


def test_what_is_learned_is_kept_and_is_the_same_when_it_is_learned_again(
    t2i_pipe, t2i_profile, tmp_path
):
    attack = LearnedEmbeddings(steps=2)
    kept = setting_of(t2i_profile, folder=tmp_path)
    first = [case.digest for case in attack.learn(t2i_pipe, T2I, kept)]
    (file,) = tmp_path.iterdir()
    state = file.stat().st_mtime_ns
    assert [case.digest for case in attack.learn(t2i_pipe, T2I, kept)] == first
    assert file.stat().st_mtime_ns == state
    file.write_bytes(b"torn")
    assert [case.digest for case in attack.learn(t2i_pipe, T2I, kept)] == first
    free = replace(kept, folder=None)
    assert [case.digest for case in attack.learn(t2i_pipe, T2I, free)] == first
    assert [case.digest for case in attack.learn(make_pipe(seed=5), T2I, kept)] != first
    assert len(list(tmp_path.iterdir())) == 2


def test_noise_by_gradient_lowers_the_score_within_its_bound(edit_pipe, edit_profile):
    attack, setting = GradientNoise(steps=8), setting_of(edit_profile)
    learned = attack.learn(edit_pipe, EDITS, setting)
    for case, old in zip(learned, EDITS, strict=True):
        apart = np.asarray(case.source).astype(int) - np.asarray(old.source)
        assert 0 < np.abs(apart).max() <= 8
    margins = []
    for cases in (EDITS, learned):
        box = WhiteBox.of(edit_pipe, cases, setting)
        target = WhiteBox.of(edit_pipe, EDITS, setting)
        noise = box.noise([99, 98])
        with torch.no_grad():
            margins.append(box.see(target.noised(box.look, noise), box.look).margin)
    assert (margins[1] < margins[0]).all()


def test_random_noise_moves_every_value_by_its_size_and_no_further():
    for case, old in zip(RandomNoise(8).cases(EDITS, None), EDITS, strict=True):
        plain = np.asarray(old.source).astype(int)
        apart = np.abs(np.asarray(case.source).astype(int) - plain)
        assert apart.max() == 8
        assert (apart[(plain >= 8) & (plain <= 247)] == 8).all()


def test_inverted_latents_lead_back_to_the_picture(t2i_pipe, t2i_profile):
    setting = setting_of(t2i_profile)
    attack = InvertedLatents(rounds=12)
    cases = attack.cases(T2I, setting)
    assert [case.prompt for case in cases] == ["a picture"] * 2
    learned = attack.learn(t2i_pipe, cases, setting)
    latents = torch.cat([case.tensors["latents"] for case in learned])
    box = WhiteBox.of(t2i_pipe, cases, setting)
    with torch.no_grad():
        back = box.follow(latents, box.sigmas)
        astray = box.follow(box.noise([1, 2]), box.sigmas)
    assert (back - box.clean).norm() < 0.1 * (astray - box.clean).norm()
    with Stock().open(t2i_pipe, setting) as draw:
        assert len(draw(learned)) == 2


def test_chosen_latents_are_noise_that_resembles_the_picture(t2i_pipe, t2i_profile):
    setting = setting_of(t2i_profile)
    attack = ChosenLatents(shares=(0.6,))
    cases = attack.cases(T2I, setting)
    assert [case.use for case in cases] == ["asked for, 0.6 of it"] * 2
    learned = attack.learn(t2i_pipe, cases, setting)
    clean = WhiteBox.of(t2i_pipe, cases, setting).clean
    for n, case in enumerate(learned):
        latents = case.tensors["latents"][0]
        pair = torch.stack([latents.flatten(), clean[n].flatten()])
        assert torch.corrcoef(pair)[0, 1] > 0.4


def test_adaptive_noise_lowers_the_score_at_the_look_and_stays_as_long(t2i_pipe, t2i_profile):
    setting = setting_of(t2i_profile, judges=(DetectorJudge(),))
    attack = AdaptiveNoise(steps=6, tries=2, rate=0.1, weight=0.0)
    learned = attack.learn(t2i_pipe, T2I, setting)
    latents = torch.cat([case.tensors["latents"] for case in learned])
    box = WhiteBox.of(t2i_pipe, T2I, setting)
    noise = box.noise([case.seed for case in T2I])
    with torch.no_grad():
        margins = [attack.foreseen(box, start)[1] for start in (noise, latents)]
    assert (margins[1] < margins[0]).all()
    torch.testing.assert_close(latents.norm(dim=(1, 2)), noise.norm(dim=(1, 2)))
    with Ours().open(t2i_pipe, setting) as draw:
        digests = {picture_digest(picture.image) for picture in draw(learned)}
    assert len(digests) == 2
