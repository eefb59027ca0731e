import argparse
import json
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderTiny, FluxTransformer2DModel
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from uvr.testbed import train, trainer
from uvr.testbed.model import TRANSFORMER, VAE, build_text_encoders, build_tokenizer, wrap_tokenizer
from uvr.testbed.pools import Pool, make_pools, vocabulary

PRESET = trainer.PRESETS["smoke"]

# Norms keep float32 weights under bfloat16 autocast; torch says once that this is not fused.
pytestmark = pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")


@pytest.fixture(scope="module")
def vae() -> AutoencoderTiny:
    torch.manual_seed(0)
    return AutoencoderTiny(**VAE).eval()


@pytest.fixture(scope="module")
def vae_file(vae: AutoencoderTiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vae") / "vae.safetensors"
    save_file({k: v.contiguous() for k, v in vae.state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(vocabulary())


@pytest.fixture(scope="module")
def pools(vae: AutoencoderTiny, tokenizer) -> list[Pool]:
    return make_pools(PRESET.pool, vae, tokenizer, "cpu")


def assert_equal_states(found: torch.nn.Module, expected: torch.nn.Module) -> None:
    assert found.state_dict().keys() == expected.state_dict().keys()
    for name, tensor in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor), name


@pytest.fixture(scope="module")
def trained(pools: list[Pool], tokenizer) -> trainer.Trainer:
    run = trainer.Trainer(PRESET, len(tokenizer), 0, "cpu")
    for _ in range(4):
        run.run_step(pools)
    return run


def test_resumed_training_gives_the_weights_of_training_at_once(
    trained, pools, tokenizer, tmp_path
):
    first = trainer.Trainer(PRESET, len(tokenizer), 0, "cpu")
    for _ in range(2):
        first.run_step(pools)
    first.save(tmp_path / "checkpoint.pt")
    second = trainer.Trainer(PRESET, len(tokenizer), 0, "cpu")
    second.load(tmp_path / "checkpoint.pt")
    for _ in range(2):
        second.run_step(pools)
    assert second.step == trained.step == 4
    assert_equal_states(second.model, trained.model)
    assert_equal_states(second.average, trained.average)


def test_a_run_changes_every_trained_part(trained, tokenizer):
    start = trainer.Trainer(PRESET, len(tokenizer), 0, "cpu").model.state_dict()
    moved = {
        name.split(".")[0]
        for name, tensor in trained.model.state_dict().items()
        if not torch.equal(tensor, start[name])
    }
    assert moved == {"transformer", "text_encoder", "text_encoder_2"}


def test_pools_hold_targets_and_for_edits_their_sources(pools):
    t2i, edit = pools
    assert t2i.sources is None
    assert t2i.latents.shape == edit.latents.shape == (PRESET.pool, 64, 64)
    assert edit.sources is not None
    assert edit.sources.shape == edit.latents.shape
    assert t2i.token_ids.shape == edit.token_ids.shape == (PRESET.pool, 32)


def test_position_ids_tell_output_tokens_from_reference_tokens():
    ids = trainer.position_ids(1)
    assert ids.shape == (128, 3)
    assert ids[:, 0].tolist() == [0.0] * 64 + [1.0] * 64
    assert ids[9].tolist() == [0.0, 1.0, 1.0]
    assert torch.equal(ids[:64, 1:], ids[64:, 1:])


def test_learning_rate_warms_up_and_falls_to_zero():
    preset = trainer.Preset(steps=100, batch=1, pool=1, warmup=10, decay=0.5)
    rates = [trainer.learning_rate(step, preset) for step in (0, 9, 50, 75, 100)]
    assert rates == [0.1, 1.0, 1.0, 0.5, 0.0]


def test_export_writes_what_load_state_dict_accepts(trained, vae, tokenizer, tmp_path):
    train.export(trained, vae, tokenizer, tmp_path)
    loaded = wrap_tokenizer(Tokenizer.from_str((tmp_path / "tokenizer.json").read_text()))
    clip, t5 = build_text_encoders(len(loaded))
    modules = {
        "transformer": FluxTransformer2DModel(**TRANSFORMER),
        "text_encoder": clip,
        "text_encoder_2": t5,
        "vae": AutoencoderTiny(**VAE),
    }
    average = trained.average
    sources = {
        "transformer": average.transformer,
        "text_encoder": average.text_encoder,
        "text_encoder_2": average.text_encoder_2,
        "vae": vae,
    }
    for name, module in modules.items():
        tensors = load_file(tmp_path / f"{name}.safetensors")
        assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
        result = module.load_state_dict({k: v.float() for k, v in tensors.items()}, strict=False)
        assert result.unexpected_keys == []
        assert set(result.missing_keys) <= {"encoder.embed_tokens.weight"}  # tied to `shared`
        for key, tensor in sources[name].state_dict().items():
            assert torch.equal(module.state_dict()[key], tensor.half().float()), key
    assert loaded.get_vocab() == tokenizer.get_vocab()
    card = json.loads((tmp_path / "config.json").read_text())
    assert card == {"revision": card["revision"], "steps": 4, "seed": 0}
    assert len(card["revision"]) == 16


def test_training_further_takes_old_weights_and_each_old_word_s_embedding(trained, vae, tmp_path):
    old = build_tokenizer(["star", "cup", "on"])
    before = trainer.Trainer(PRESET, len(old), 1, "cpu")
    train.export(before, vae, old, tmp_path)
    new = build_tokenizer(["a", "cup", "on", "star", "zebra"])
    after = trainer.Trainer(PRESET, len(new), 2, "cpu")
    fresh = {k: v.clone() for k, v in after.model.state_dict().items()}
    after.start_from(tmp_path, new)
    assert after.init == json.loads((tmp_path / "config.json").read_text())["revision"]
    states = before.average.state_dict()
    tables = [name for name in states if "embed_tokens" in name or "token_embedding" in name]
    assert len(tables) >= 2
    for name, tensor in after.model.state_dict().items():
        if name not in tables:
            assert torch.equal(tensor, states[name].half().float()) or "shared" in name, name
    for name in tables:
        table = after.model.state_dict()[name]
        for word in ("star", "cup", "on", "<pad>"):
            row = states[name][old.get_vocab()[word]].half().float()
            assert torch.equal(table[new.get_vocab()[word]], row)
        place = new.get_vocab()["zebra"]
        assert torch.equal(table[place], fresh[name][place])
    assert_equal_states(after.average, after.model)


def test_mixing_takes_a_share_of_the_given_weights(trained, vae, tokenizer, tmp_path):
    train.export(trained, vae, tokenizer, tmp_path)
    mixed = trainer.Trainer(PRESET, len(tokenizer), 5, "cpu")
    before = {k: v.clone() for k, v in mixed.average.state_dict().items()}
    mixed.mix(tmp_path, tokenizer, 0.25)
    given = trained.average.state_dict()
    for name, tensor in mixed.average.state_dict().items():
        if tensor.is_floating_point():
            expected = before[name].lerp(given[name].half().float(), 0.25)
            assert torch.allclose(tensor, expected, atol=1e-5), name
    assert_equal_states(mixed.model, mixed.average)


def test_random_sigmas_are_levels_of_which_a_quarter_is_low():
    torch.manual_seed(0)
    sigma = trainer.random_sigmas(4000)
    assert 0 < sigma.min() < sigma.max() < 1
    assert sigma[1000:2000].mean() < 0.4 < sigma.mean() < sigma[:1000].mean()


def test_smoke_preset_trains_samples_and_exports(vae_file, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train, "STEPS", 1)
    options = argparse.Namespace(
        preset="smoke",
        out=tmp_path / "run",
        vae=vae_file,
        seed=0,
        every=300,
        steps=None,
        mix=None,
        init=None,
        export=tmp_path / "weights",
    )
    train.train(options)
    assert "step 0 of 4 on cpu" in capsys.readouterr().out
    assert {path.name for path in options.out.iterdir()} == {"checkpoint.pt", "samples.png"}
    assert {path.name for path in options.export.iterdir()} == {
        "config.json",
        "text_encoder.safetensors",
        "text_encoder_2.safetensors",
        "tokenizer.json",
        "transformer.safetensors",
        "vae.safetensors",
    }
    before = load_file(options.export / "transformer.safetensors")
    train.train(options)  # it is done: the second run only exports again
    assert "step 4 of 4 on cpu" in capsys.readouterr().out
    after = load_file(options.export / "transformer.safetensors")
    assert all(torch.equal(after[key], before[key]) for key in before)
