"""What the tests of the commands share."""

from pathlib import Path

import pytest
from diffusers import FluxKontextPipeline, FluxPipeline
from PIL import Image

from registry.registry import Registry
from tests.conftest import Run
from tests.uvr.conftest import make_pipe

on_both = pytest.mark.parametrize("home", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny random pipelines of both tasks on disk, which the testbed's profiles fit."""
    folder = tmp_path_factory.mktemp("models")
    for task, kind in (("t2i", FluxPipeline), ("edit", FluxKontextPipeline)):
        pipe = make_pipe(kind, singles=3, doubles=3)
        pipe.transformer.register_to_config(_uvr_model="testbed")
        pipe.save_pretrained(folder / task)
    return {task: folder / task for task in ("t2i", "edit")}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two folders: pictures with a red square and its mask, and pictures without."""
    for folder in ("with", "without"):
        (tmp_path / folder).mkdir()
        for index in range(4):
            image = Image.new("RGB", (64, 64), (40 * index, 90, 120))
            if folder == "with":
                mask = Image.new("L", (64, 64))
                image.paste((230, 20, 20), (8, 8, 40, 40))
                mask.paste(255, (8, 8, 40, 40))
                mask.save(tmp_path / folder / f"{index}.mask.png")
            image.save(tmp_path / folder / f"{index}.png")
    return tmp_path


@pytest.fixture
def key(run: Run, filled: Registry) -> Path:
    """A private key that the registry's only key list trusts."""
    run("key", "generate", "alice")
    run("key", "add", "alice", "alice.pem.pub")
    assert run("key", "rotate", "--add", "alice", "--key", "alice.pem").code == 0
    return Path("alice.pem")
