"""The command line, in-process: whole output, exit codes, and a registry left as it was."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers import FluxKontextPipeline, FluxPipeline
from PIL import Image

import cli
from concepts.anchors import AnchorSet, AnchorSpace, Scorer
from concepts.bundle import read_bundle
from concepts.definition import load_shipped
from registry.registry import Registry
from tests.uvr.conftest import make_pipe
from uvr.collection import Source, collect
from uvr.pictures import PictureError, read_picture
from uvr.profiles import PROFILES
from uvr.report import ConceptFinding, RegulationReport

BUNDLE_ERRORS = ("bundle inspect", "bundle verify", "generate prompt --bundle")


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("UVR_DATABASE_URL", raising=False)
    monkeypatch.setenv("UVR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UVR_ACTOR", "tester")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def run(home: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str | Path) -> Result:
        with pytest.raises(SystemExit) as stopped:
            cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(int(stopped.value.code or 0), captured.out, captured.err)

    return call


@pytest.fixture
def filled(run: Run, home: Path) -> Registry:
    """A registry with the concept 'pistol', one version of it, and the concept 'knife'."""
    run("init")
    run("add-concept", "pistol")
    run("add-concept", "knife")
    registry = Registry.open(home)
    registry.add_version("pistol", [toy_collection()], actor="tester")
    return registry


def toy_collection(seed: int = 0) -> tuple[AnchorSet, Scorer]:
    random = np.random.default_rng(seed)
    space = AnchorSpace("testbed", "", "t2i", ("single_transformer_blocks.0",), 4, 0.9)
    anchors = AnchorSet(
        space=space,
        anchors=random.normal(size=(5, 4)),
        anchor_images=np.arange(5, dtype=np.int32),
        counter_anchors=random.normal(size=(6, 4)),
        counter_images=np.arange(6, dtype=np.int32) + 10,
    )
    scorer = Scorer(
        rule="whitened",
        weights=np.ones((1, 4)),
        offset=np.zeros(1),
        seed_threshold=2.0,
        grow_threshold=1.0,
    )
    return anchors, scorer


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


# Registry commands


def test_init_twice_keeps_the_registry(run: Run, home: Path):
    first, again = run("init"), run("init")
    assert first == again == Result(0, f"Registry ready at {home}\n", "")


def test_home_before_the_command_wins_over_the_environment(run: Run, tmp_path: Path):
    assert run("--home", tmp_path / "other", "init").out == f"Registry ready at {tmp_path}/other\n"
    assert (tmp_path / "other").is_dir()


def test_a_command_without_a_registry_says_how_to_make_one(run: Run, home: Path):
    result = run("concepts")
    assert (result.code, result.out) == (3, "")
    assert "uvr-registry init" in result.err
    assert not home.exists()


def test_add_concept_takes_a_shipped_name(run: Run):
    run("init")
    assert run("add-concept", "pistol") == Result(0, "Added pistol (object): Pistol\n", "")


def test_add_concept_takes_a_file(run: Run, tmp_path: Path):
    run("init")
    file = tmp_path / "mine.yaml"
    file.write_text(
        "slug: kite\nname: Kite\ncategory: object\ndescription: A kite.\n"
        "prompts: [a red kite]\nnear_misses: [a red flag]\n"
    )
    assert run("add-concept", file).out == "Added kite (object): Kite\n"
    assert run("show", "kite", "--json").json()["definition"]["prompts"] == ["a red kite"]


def test_add_concept_takes_flags(run: Run):
    run("init")
    flags = ["--slug", "kite", "--name", "Kite", "--category", "object", "--description", "A kite."]
    result = run("add-concept", *flags, "--prompt", "a red kite", "--near-miss", "a red flag")
    assert result == Result(0, "Added kite (object): Kite\n", "")


def test_add_concept_reports_the_line_of_a_yaml_error(run: Run, tmp_path: Path):
    run("init")
    file = tmp_path / "bad.yaml"
    file.write_text("slug: kite\nname: Kite\ncategory: objet\ndescription: A.\nprompts: [a]\n"
                    "near_misses: [b]\n")  # fmt: skip
    result = run("add-concept", file)
    assert (result.code, len(result.err.splitlines())) == (2, 1)
    assert f"{file}:3" in result.err
    assert "object" in result.err
    assert run("concepts").out == "No concepts yet.\n"


def test_concepts_lists_what_was_added(run: Run, filled: Registry):
    listed = run("concepts", "--json").json()
    assert [(item["slug"], item["latest_version"]) for item in listed] == [
        ("knife", None),
        ("pistol", 1),
    ]
    assert run("concepts").out.splitlines()[0].split() == ["slug", "category", "latest", "version",
                                                           "name"]  # fmt: skip


def test_show_gives_definition_and_versions(run: Run, filled: Registry):
    shown = run("show", "pistol", "--json").json()
    assert shown["definition"] == load_shipped("pistol").to_dict()
    version = shown["versions"][0]
    assert (version["number"], version["anchors"], version["counter_anchors"]) == (1, 5, 6)
    assert "No versions yet" in run("show", "knife").out


def test_release_writes_a_bundle_that_verifies(run: Run, filled: Registry, tmp_path: Path):
    released = run("release", "policy", "--out", "policy.uvr", "--json")
    assert (released.code, released.json()["sequence"]) == (0, 1)
    digest = read_bundle(tmp_path / "policy.uvr").digest
    assert run("bundle", "verify", "policy.uvr", "--digest", digest) == Result(
        0, f"OK policy release 1 {digest}\n", ""
    )
    found = run("bundle", "inspect", "policy.uvr", "--json").json()
    assert found["digest"] == digest
    assert [member["slug"] for member in found["variants"][0]["members"]] == ["pistol"]
    assert "pistol" in run("bundle", "inspect", "policy.uvr").out


def test_export_gives_the_same_bytes(run: Run, filled: Registry, tmp_path: Path):
    run("release", "policy", "--out", "first.uvr")
    assert run("bundle", "export", "policy", "--out", "again.uvr").code == 0
    assert (tmp_path / "first.uvr").read_bytes() == (tmp_path / "again.uvr").read_bytes()


@pytest.mark.parametrize("out", [".", "file/policy.uvr", "locked/new/policy.uvr"])
def test_release_to_a_place_that_cannot_be_written_records_nothing(
    run: Run, filled: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
):
    (tmp_path / "file").touch()
    (tmp_path / "locked").mkdir()
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "locked")  # for root
    result = run("release", "policy", "--out", out)
    assert (result.code, result.out, len(result.err.splitlines())) == (1, "", 1)
    assert f"'{out}'" in result.err
    assert filled.releases() == []
    assert not (tmp_path / "locked" / "new").exists()


def test_release_whose_file_cannot_be_written_says_how_to_write_it(
    run: Run, filled: Registry, monkeypatch: pytest.MonkeyPatch
):
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(cli, "write_file", full)
        result = run("release", "policy", "--out", "policy.uvr")
    assert result == Result(
        1,
        "",
        "Error: Release 1 of 'policy' is recorded, but 'policy.uvr' cannot be written: No space "
        "left on device. Write it with `uvr-registry bundle export policy --sequence 1 "
        "--out FILE`.\n",
    )
    again = run("bundle", "export", "policy", "--sequence", "1", "--out", "policy.uvr")
    assert again.code == 0


def test_release_without_anchors_is_refused(run: Run, home: Path):
    run("init")
    run("add-concept", "pistol")
    assert run("release", "policy", "--out", "policy.uvr").code == 5
    assert not Path("policy.uvr").exists()


# Errors


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("show pistl", 3, "Did you mean 'pistol'?"),
        ("add-concept pistol", 4, "pistol"),
        ("add-concept no-such", 3, "concepts --shipped"),
        ("add-concept no-such.yaml", 3, "no-such.yaml"),
        ("add-concept", 2, "Give a YAML file"),
        ("add-concept knife --slug knife", 2, "Give a YAML file"),
        ("collect-anchors no-such", 3, "no-such"),
        ("collect-anchors pistol --model no-such/", 3, "no-such"),
        ("collect-anchors pistol --task video", 2, "video"),
        ("release policy --concept knife", 5, "knife"),
        ("bundle export no-such --out x.uvr", 3, "no-such"),
        ("bundle verify no-such.uvr", 3, "no-such.uvr"),
        ("generate prompt --heat-map x.png", 2, "--bundle"),
        ("edit no-such.png instruction", 3, "no-such.png"),
        ("search no-such.png", 3, "no-such.png"),
        ("no-such", 2, "No such command"),
    ],
)
def test_bad_input_gets_one_line_and_an_exit_code(
    run: Run, filled: Registry, arguments: str, code: int, message: str
):
    before = filled.audit_events()
    result = run(*arguments.split())
    assert (result.code, result.out, len(result.err.splitlines())) == (code, "", 1), result.err
    assert message in result.err
    assert filled.audit_events() == before


@pytest.mark.parametrize("command", BUNDLE_ERRORS)
def test_a_corrupt_bundle_is_refused(run: Run, filled: Registry, tmp_path: Path, command: str):
    run("release", "policy", "--out", "policy.uvr")
    data = bytearray((tmp_path / "policy.uvr").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "bad.uvr").write_bytes(data)
    result = run(*command.split(), "bad.uvr")
    assert (result.code, len(result.err.splitlines())) == (6, 1)


def test_a_wrong_digest_is_refused(run: Run, filled: Registry):
    run("release", "policy", "--out", "policy.uvr")
    assert run("bundle", "verify", "policy.uvr", "--digest", "0" * 64).code == 6


def test_a_file_that_is_no_picture_is_refused(run: Run, tmp_path: Path):
    (tmp_path / "text.png").write_text("not a picture")
    result = run("edit", "text.png", "make it red")
    assert (result.code, len(result.err.splitlines())) == (2, 1)
    assert "text.png" in result.err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "Stopped"),
        (OSError(28, "No space left on device"), 1, "disk is full"),
        (PermissionError(13, "Permission denied", "/srv/x"), 1, "/srv/x"),
        (RuntimeError("odd\nlines"), 1, "internal, RuntimeError: odd (UVR_TRACEBACK=1"),
    ],
)
def test_what_goes_wrong_inside_a_command_gets_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, message: str
):
    def fail(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(Registry, "open", fail)
    result = run("concepts")
    lines = [line for line in result.err.splitlines() if line]
    assert (result.code, len(lines)) == (code, 1)
    assert message in lines[0]


def test_errors_come_through_the_installed_script():
    script = "import cli; cli.main(['bundle', 'verify', 'no-such.uvr'])"
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False,
        cwd=Path(cli.__file__).parent, env={**os.environ, "PYTHONWARNINGS": "error"},
    )  # fmt: skip
    assert (found.returncode, found.stderr) == (3, "Error: No bundle file at 'no-such.uvr'.\n")


# Commands that run a model; tiny random weights stand in for the testbed's


def test_pictures_become_a_version_and_a_bundle_that_regulates(
    run: Run, models: dict[str, Path], pictures: Path
):
    run("init")
    run("add-concept", "pistol")
    for task, count in (("t2i", 1), ("edit", 2)):
        folders = ["--images", pictures / "with", "--benign", pictures / "without"]
        collected = run("collect-anchors", "pistol", "--model", models[task], *folders, "--json")
        version = collected.json()["pistol"]
        assert (version["number"], version["anchors"] > 0) == (count, True)
    run("release", "policy", "--out", "policy.uvr")

    search = run(
        "search", pictures / "with" / "0.png", "--model", models["t2i"], "-k", "3", "--json"
    )
    assert [item["slug"] for item in search.json()["concepts"]] == ["pistol"]
    assert len(search.json()["anchors"]) == 3
    wide = run("search", pictures / "with" / "0.png", "--model", models["t2i"], "-k", 50, "--json")
    rows = wide.json()["anchors"]
    assert len({(row["slug"], row["version"], row["anchor"]) for row in rows}) == len(rows) > 3

    common = ["--steps", "2", "--bundle", "policy.uvr"]
    drawn = run("generate", "a red ball", "--model", models["t2i"], *common, "--heat-map", "h.png")
    assert (drawn.code, drawn.out.splitlines()[0]) == (0, "Wrote picture.png")
    assert read_picture("h.png").size == read_picture("picture.png").size == (64, 64)
    assert json.loads(Path("picture.json").read_text())["bundle"] == "policy"

    edited = run("edit", "picture.png", "make it red", "--model", models["edit"], *common,
                 "--out", "deep/edited.png", "--report", "r.json")  # fmt: skip
    assert edited.code == 0
    assert read_picture("deep/edited.png").size == (64, 64)
    assert json.loads(Path("r.json").read_text())["bundle"] == "policy"


def test_a_model_of_the_other_task_is_refused(run: Run, models: dict[str, Path]):
    result = run("generate", "a red ball", "--model", models["edit"])
    assert (result.code, len(result.err.splitlines())) == (6, 1)


def test_a_bundle_for_another_model_is_refused_before_a_picture(
    run: Run, filled: Registry, models: dict[str, Path]
):
    run("release", "policy", "--out", "policy.uvr")  # 4 dimensions, as no model has
    result = run("generate", "a red ball", "--model", models["t2i"], "--bundle", "policy.uvr")
    assert (result.code, len(result.err.splitlines())) == (6, 1)
    assert not Path("picture.png").exists()


def test_stopping_a_collection_leaves_the_registry_as_it_was(
    run: Run, filled: Registry, models: dict[str, Path], pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    def stop(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    before = filled.audit_events()
    monkeypatch.setattr("uvr.collection.fit_scorer", stop)
    result = run("collect-anchors", "pistol", "--model", models["t2i"],
                 "--images", pictures / "with", "--benign", pictures / "without")  # fmt: skip
    assert result.code == 130
    assert filled.audit_events() == before
    assert [version.number for version in filled.concept("pistol").versions] == [1]


def test_a_refused_version_does_not_lose_the_other_concepts_anchors(
    run: Run, filled: Registry, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("uvr.pipelines.load_pipeline", lambda *_: (None, PROFILES["testbed-t2i"]))
    monkeypatch.setattr("uvr.collection.collect", lambda *_: toy_collection())
    result = run("collect-anchors", "pistol", "knife", "--task", "t2i", "--json")
    assert (result.code, list(result.json())) == (4, ["knife"])
    assert result.err == "Error: Version 1 of 'pistol' already has exactly this content.\n"
    assert [info.latest_version for info in filled.concepts()] == [1, 1]


def test_a_definition_that_changes_during_collection_is_a_conflict(
    run: Run, filled: Registry, monkeypatch: pytest.MonkeyPatch
):
    def collect_slowly(*arguments: Any) -> tuple[AnchorSet, Scorer]:
        changed = replace(load_shipped("knife"), description="Changed meanwhile.")
        filled.add_concept(changed, actor="other")
        return toy_collection()

    monkeypatch.setattr("uvr.pipelines.load_pipeline", lambda *_: (None, PROFILES["testbed-t2i"]))
    monkeypatch.setattr("uvr.collection.collect", collect_slowly)
    result = run("collect-anchors", "knife", "--task", "t2i")
    assert (result.code, result.out, len(result.err.splitlines())) == (4, "", 1)
    assert "definition of 'knife'" in result.err
    assert filled.concept("knife").versions == ()


def finding(slug: str, *, enforced: bool, fired: bool = True) -> ConceptFinding:
    return ConceptFinding(
        slug=slug, name=slug.title(), version=1, enforced=enforced, fired=fired, step=1, sigma=0.9,
        score=3.0, threshold=2.0, area=1.0, mask=np.full((1, 1), fired), scores=np.ones((1, 1)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("findings", "lines"),
    [
        ([finding("a", enforced=True)], ["Found and regulated: a"]),
        ([finding("a", enforced=False)], ["Found and only observed: a"]),
        (
            [finding("a", enforced=False), finding("b", enforced=True)],
            ["Found and regulated: b", "Found and only observed: a"],
        ),
        ([finding("a", enforced=True, fired=False)], ["Nothing banned was found."]),
    ],
)
def test_only_what_is_enforced_is_called_regulated(
    run: Run, filled: Registry, monkeypatch: pytest.MonkeyPatch,
    findings: list[ConceptFinding], lines: list[str],
):  # fmt: skip
    run("release", "policy", "--out", "policy.uvr")
    report = RegulationReport("policy", 1, "f" * 64, "testbed-t2i", looked=True, images=[findings])
    drawn = Image.new("RGB", (16, 16)), report
    monkeypatch.setattr("uvr.pipelines.load_pipeline", lambda *_: (None, PROFILES["testbed-t2i"]))
    monkeypatch.setattr("uvr.drawing.draw", lambda *_, **__: drawn)
    result = run("generate", "a red ball", "--bundle", "policy.uvr")
    assert result == Result(0, "\n".join(["Wrote picture.png", *lines, ""]), "")


@pytest.mark.parametrize(
    ("missing", "message"), [("with/0.mask.png", "has no mask"), ("without", "compare")]
)
def test_collecting_from_incomplete_folders_says_what_is_missing(
    run: Run, filled: Registry, models: dict[str, Path], pictures: Path, missing: str, message: str
):
    options = ["--images", pictures / "with"]
    if missing != "without":
        (pictures / missing).unlink()
        options += ["--benign", pictures / "without"]
    result = run("collect-anchors", "pistol", "--model", models["t2i"], *options)
    assert (result.code, len(result.err.splitlines())) == (2, 1)
    assert message in result.err


@pytest.mark.parametrize(
    ("profile", "message"), [("flux.1-kontext-dev", "with flux"), ("testbed-edit", "testbed-bomb")]
)
def test_editing_anchors_need_pictures_of_the_concept(profile: str, message: str):
    with pytest.raises(PictureError, match=message):
        collect(None, PROFILES[profile], load_shipped("pistol"), Source())
