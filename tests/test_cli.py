"""The command line, in-process: whole output, exit codes, and a registry left as it was."""

import json
import os
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers import FluxKontextPipeline, FluxPipeline
from PIL import Image

import cli
from commands import operations, releases
from commands import team as team_commands
from concepts.anchors import AnchorSet
from concepts.bundle import read_bundle
from concepts.definition import load_definition, load_shipped
from concepts.scorer import Scorer
from registry import team
from registry.index import kinds
from registry.registry import Registry
from registry.store import models as models_module
from tests.conftest import Result, Run, toy_collection
from tests.uvr.conftest import make_pipe
from uvr.anchors.collection import Source, collect
from uvr.anchors.pictures import PictureError, read_picture
from uvr.profiles import PROFILES
from uvr.report import ConceptFinding, RegulationReport

BUNDLE_ERRORS = ("bundle inspect", "bundle verify", "generate prompt --bundle")


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


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


on_both = pytest.mark.parametrize("home", ["sqlite", "postgresql"], indirect=True)


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
    assert run("concepts", "--json").json() == []


@on_both
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


@on_both
def test_release_writes_a_bundle_that_verifies(run: Run, filled: Registry, tmp_path: Path):
    released = run("release", "policy", "--out", "policy.uvr", "--json")
    assert (released.code, released.json()["sequence"]) == (0, 1)
    digest = read_bundle(tmp_path / "policy.uvr").digest
    assert run("bundle", "verify", "policy.uvr", "--digest", digest) == Result(
        0,
        f"OK policy release 1 {digest}\n",
        "Who made it was not checked: give --keys.\n",
    )
    found = run("bundle", "inspect", "policy.uvr", "--json").json()
    assert found["digest"] == digest
    assert [member["slug"] for member in found["variants"][0]["members"]] == ["pistol"]
    assert "pistol" in run("bundle", "inspect", "policy.uvr").out


@on_both
def test_a_release_says_what_it_does_not_cover(run: Run, filled: Registry):
    _, scorer = toy_collection()
    anchors = toy_collection(seed=3)[0]
    edit = replace(anchors, space=replace(anchors.space, task="edit"))
    filled.add_version("knife", [(anchors, scorer), (edit, scorer)], actor="tester")
    run("add-concept", "testbed-bomb")
    released = run("release", "policy", "--json")
    assert released.json()["left_out"] == [
        {"slug": "pistol", "why": "no anchors for testbed edit"},
        {"slug": "testbed-bomb", "why": "no anchors yet"},
    ]
    assert released.err == (
        "Warning: pistol is not banned everywhere by this release: no anchors for testbed edit.\n"
        "Warning: testbed-bomb is not banned everywhere by this release: no anchors yet.\n"
    )


def test_a_concept_that_was_not_asked_for_is_no_gap(run: Run, filled: Registry):
    run("submit", "pistol")
    filled.add_version("pistol", [toy_collection(seed=1)], actor="tester")
    filled.add_version("knife", [toy_collection(seed=2)], actor="tester")
    released = run("release", "policy", "--concept", "knife", "--json")
    assert (released.err, released.json()["left_out"]) == (
        "", [{"slug": "pistol", "why": "not asked for"}],
    )  # fmt: skip
    assert "left_out" not in run("release", "policy", "--dry-run", "--json").json()
    run("release", "policy")
    back = run("rollback", "policy", 1, "--reason", "back", "--allow-shrink")
    assert "pistol is not banned everywhere by this release: not asked for" in back.err


def test_a_channels_bundle_is_the_release_that_is_live(run: Run, filled: Registry, tmp_path: Path):
    run("release", "policy", "--out", "one.uvr")
    run("release", "policy")
    run("channel", "move", "prod", "policy")
    back = run("channel", "move", "prod", "policy", "--sequence", 1)
    assert (back.code, "`uvr-registry rollback policy 1`" in back.err) == (0, True)
    assert run("bundle", "export", "--channel", "prod", "--out", "prod.uvr").code == 0
    assert Path("one.uvr").read_bytes() == Path("prod.uvr").read_bytes()


@on_both
def test_a_revoked_version_that_is_live_is_told(run: Run, filled: Registry):
    run("release", "policy")
    run("channel", "move", "prod", "policy")
    revoked = run("revoke", "pistol", "--reason", "fires on hands", "--yes")
    assert "still live in channel 'prod', in release 1 of 'policy'" in revoked.err
    refused = run("release", "policy")
    assert (refused.code, "revoked" in refused.err) == (5, True)
    assert "note  live" in run("doctor").out
    assert "reason: fires on hands; content_digest: " in run("log", "pistol").out


def test_a_shipped_definition_is_a_file_to_begin_with(run: Run, filled: Registry, tmp_path: Path):
    (tmp_path / "mine.yaml").write_text(run("show", "--shipped", "testbed-bomb").out)
    assert run("add-concept", "mine.yaml", "--json").json()["created"]
    assert run("show", "testbed-bomb", "--yaml").out == (tmp_path / "mine.yaml").read_text()
    odd = replace(
        load_shipped("testbed-bomb"), name="\u2067\u05e9\u05dc\u2069", scope="one\u2028two"
    )
    filled.add_concept(odd, actor="tester")
    Path("odd.yaml").write_text(run("show", "testbed-bomb", "--yaml").out)
    assert load_definition("odd.yaml") == odd
    changed = (tmp_path / "mine.yaml").read_text().replace("name: Bomb", "name: Bombs")
    (tmp_path / "mine.yaml").write_text(changed)
    assert run("add-concept", "mine.yaml").out.startswith("Changed testbed-bomb (object): Bombs")


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
        patch.setattr("commands.output.write_file", full)
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


@on_both
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
        ("concepts --home x", 2, "--home goes before the command"),
        ("show pistol@0", 2, "SLUG@NUMBER"),
        ("show pistol@9", 3, "No version 9"),
        ("submit knife", 3, "knife"),
        ("approve pistol", 5, "draft"),
        ("approve pistol --break-glass", 2, "--reason"),
        ("reject pistol", 2, "--reason"),
        ("edit-version pistol", 2, "--threshold"),
        ("edit-version pistol --threshold video 3 2", 3, "video"),
        ("edit-version pistol --threshold t2i 2 9", 2, "grow_threshold"),
        ("edit-version pistol --threshold t2i nan 1", 2, "finite"),
        ("submit pistol --expect-digest 123", 2, "64 lower-case hex digits"),
        ("generate x --seed 99999999999999999999", 2, "--seed"),
        ("generate x --steps 100000000", 2, "--steps"),
        ("generate x --width 99999999", 2, "--width"),
        ("generate x --out .", 1, "'.'"),
        ("generate x --bundle . --report r.json", 2, "is a folder"),
        ("generate x --bundle b --out x.png --report x.png", 2, "one file twice"),
        ("bundle export --out x.uvr", 2, "--channel"),
        ("show pistol@1 --yaml", 2, "@NUMBER"),
        ("diff pistol 1 2", 3, "version 2"),
        ("release policy --mode pistol", 2, "SLUG=MODE"),
        ("release policy --mode pistol=off", 2, "shadow"),
        ("release policy --mode knife=log", 3, "knife"),
        ("release policy --threshold pistol=nan", 2, "'nan'"),
        ("release policy --threshold pistol=1 --threshold pistol/t2i=2", 2, "twice"),
        ("release policy --disable pistol=soon", 2, "30d"),
        ("release policy --disable pistol=7d --enable pistol", 2, "twice"),
        ("release policy --key no-such.pem", 3, "no-such.pem"),
        ("rollback policy 1 --reason x", 3, "policy"),
        ("sign policy", 2, "--key"),
        ("channel move prod policy", 3, "policy"),
        ("channel history prod", 3, "prod"),
        ("live prod", 3, "prod"),
        ("pull x.uvr --state s", 2, "--unsigned"),
        ("pull x.uvr --state s --unsigned", 3, "x.uvr"),
        ("actor set bob --role king", 2, "king"),
        ("actor set bob --role reviewer", 5, "admin"),
        ("policy set", 2, "--approvals"),
        ("policy set --max-shrink 2", 2, "2"),
        ("policy set --approvals 0", 4, "already"),
        ("key add alice no-such.pub", 3, "no-such.pub"),
        ("key rotate --add alice", 2, "--key"),
        ("key export --out keys.json", 3, "key rotate"),
        ("audit verify --keys keys.json", 2, "--against"),
        ("audit verify --against no-such.json", 3, "no-such.json"),
        ("attribute no-such.json", 3, "no-such.json"),
        ("collect-anchors pistol --origin web", 2, "--legal-basis"),
        ("completion csh", 2, "csh"),
    ],
)
def test_bad_input_gets_one_line_and_an_exit_code(
    run: Run, filled: Registry, arguments: str, code: int, message: str
):
    before = filled.audit.events()
    result = run(*arguments.split())
    assert (result.code, result.out, len(result.err.splitlines())) == (code, "", 1), result.err
    assert message in result.err
    assert filled.audit.events() == before


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
    def fail(*arguments: Any, **options: Any) -> None:
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


@on_both
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

    before = filled.audit.events()
    monkeypatch.setattr("uvr.anchors.collection.fit_scorer", stop)
    result = run("collect-anchors", "pistol", "--model", models["t2i"],
                 "--images", pictures / "with", "--benign", pictures / "without")  # fmt: skip
    assert result.code == 130
    assert filled.audit.events() == before
    assert [version.number for version in filled.concept("pistol").versions] == [1]


def test_a_refused_version_does_not_lose_the_other_concepts_anchors(
    run: Run, filled: Registry, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("uvr.pipelines.load_pipeline", lambda *_: (None, PROFILES["testbed-t2i"]))
    monkeypatch.setattr("uvr.anchors.collection.collect", lambda *_: toy_collection())
    result = run("collect-anchors", "pistol", "knife", "--task", "t2i", "--json")
    assert (result.code, list(result.json())) == (4, ["knife"])
    assert result.err == (
        "Warning: 100% of these anchors of knife lie within 0.05 of pistol version 1: do both ban "
        "the same?\n"
        "Error: Version 1 of 'pistol' already has exactly this content.\n"
    )
    assert [info.latest_version for info in filled.concepts()] == [1, 1]


@pytest.mark.parametrize("tasks", [(), ("--task", "edit")])
def test_a_concept_that_cannot_be_collected_does_not_hold_up_others(
    run: Run, filled: Registry, monkeypatch: pytest.MonkeyPatch, tasks: tuple[str, ...]
):
    def collect(pipe: Any, profile: Any, definition: Any, *_: Any) -> tuple[AnchorSet, Scorer]:
        if (definition.slug, profile.task) == ("pistol", "edit"):
            raise PictureError("no scenes of 'pistol'.")
        anchors, scorer = toy_collection(seed=len(definition.slug))
        return replace(anchors, space=replace(anchors.space, task=profile.task)), scorer

    monkeypatch.setattr(
        "uvr.pipelines.load_pipeline", lambda _, task: (None, PROFILES[f"testbed-{task}"])
    )
    monkeypatch.setattr("uvr.anchors.collection.collect", collect)
    result = run("collect-anchors", "pistol", "knife", *tasks)
    assert result.code == (PictureError.exit_code if tasks else 0)
    assert "no scenes of 'pistol'" in result.err
    assert [info.latest_version for info in filled.concepts()] == [1, 1 if tasks else 2]


def test_a_definition_that_changes_during_collection_is_a_conflict(
    run: Run, filled: Registry, monkeypatch: pytest.MonkeyPatch
):
    def collect_slowly(*arguments: Any) -> tuple[AnchorSet, Scorer]:
        changed = replace(load_shipped("knife"), description="Changed meanwhile.")
        filled.add_concept(changed, actor="other")
        return toy_collection(seed=1)

    monkeypatch.setattr("uvr.pipelines.load_pipeline", lambda *_: (None, PROFILES["testbed-t2i"]))
    monkeypatch.setattr("uvr.anchors.collection.collect", collect_slowly)
    result = run("collect-anchors", "knife", "--task", "t2i")
    assert (result.code, result.out, len(result.err.splitlines())) == (4, "", 1)
    assert "definition of 'knife'" in result.err
    assert filled.concept("knife").versions == ()


def finding(slug: str, *, enforced: bool, fired: bool = True) -> ConceptFinding:
    return ConceptFinding(
        slug=slug, name=slug.title(), version=1, mode="enforce" if enforced else "log",
        fired=fired, step=1, sigma=0.9, score=3.0, threshold=2.0, area=1.0,
        mask=np.full((1, 1), fired), scores=np.ones((1, 1)),
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
    report = RegulationReport(
        "policy", 1, "f" * 64, "testbed-t2i", looked=True, images=[findings],
        notes=["no anchors for this model and task: knife"],
    )  # fmt: skip
    drawn = Image.new("RGB", (16, 16)), report
    monkeypatch.setattr("uvr.pipelines.load_pipeline", lambda *_: (None, PROFILES["testbed-t2i"]))
    monkeypatch.setattr("uvr.drawing.draw", lambda *_, **__: drawn)
    result = run("generate", "a red ball", "--bundle", "policy.uvr")
    written = ["Wrote picture.png", "Wrote picture.json"]
    warned = "Warning: no anchors for this model and task: knife\n"
    assert result == Result(0, "\n".join([*written, *lines, ""]), warned)


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


# Review, releases, keys and the trail


@pytest.fixture
def key(run: Run, filled: Registry) -> Path:
    """A private key that the registry's only key list trusts."""
    run("key", "generate", "alice")
    run("key", "add", "alice", "alice.pem.pub")
    assert run("key", "rotate", "--add", "alice", "--key", "alice.pem").code == 0
    return Path("alice.pem")


@on_both
def test_a_team_takes_a_version_from_draft_to_live(run: Run, filled: Registry):
    assert run("actor", "set", "ann", "--role", "admin", "--role", "curator",
               "--role", "publisher").out == "ann: admin, curator, publisher\n"  # fmt: skip
    ann, bob = ("--actor", "ann"), ("--actor", "bob")
    run(*ann, "actor", "set", "bob", "--role", "reviewer", "--role", "auditor")
    policy = run(*ann, "policy", "set", "--approvals", 1, "--no-self-approval", "--signatures", 1)
    assert policy.out == "approvals: 1\nself-approval: no\nsignatures: 1\nmax-shrink: 0.0\n"

    submitted = run(*ann, "submit", "pistol", "--note", "new", "--json").json()
    (waiting,) = run("reviews", "--json").json()
    assert (waiting["slug"], waiting["approvals"], waiting["needed"]) == ("pistol", [], 1)
    assert run(*ann, "approve", "pistol", "--yes").code == 5
    approved = run(*bob, "approve", "pistol@1", "--expect-digest", submitted["content_digest"])
    assert approved.out == f"pistol@1 is approved ({submitted['content_digest']})\n"
    assert run("reviews").out == "Nothing waits for review.\n"

    run(*ann, "key", "generate", "ann")
    run(*ann, "key", "add", "ann", "ann.pem.pub")
    run(*ann, "key", "rotate", "--add", "ann", "--key", "ann.pem")
    assert run("key", "export", "--out", "keys.json").code == 0
    run(*ann, "release", "policy", "--expires", "90d")
    unsigned = run(*ann, "channel", "move", "prod", "policy")
    assert (unsigned.code, "signed by 0 of the 1" in unsigned.err) == (5, True)
    run(*ann, "sign", "policy", "--key", "ann.pem", "--out", "policy.uvr")
    moved = run(*ann, "channel", "move", "prod", "policy", "--reason", "go")
    assert moved.out == "prod is at policy release 1\n"

    live = run("live", "prod", "--json").json()
    (member,) = live["release"]["members"]
    assert (live["sequence"], live["moved_by"], live["reason"]) == (1, "ann", "go")
    assert (member["slug"], member["approval"], member["approved_by"]) == (
        "pistol", "review", ["bob"],
    )  # fmt: skip
    assert run("live", "prod", "--at", "2000-01-01").code == 3

    verified = run("bundle", "verify", "policy.uvr", "--keys", "keys.json", "--json")
    assert (len(verified.json()["signed_by"]), verified.err) == (1, "")
    late = run("bundle", "verify", "policy.uvr", "--keys", "keys.json", "--at", "2999-01-01")
    assert late.code == 6
    pulled = run("pull", "policy.uvr", "--keys", "keys.json", "--state", "state", "--json")
    assert (pulled.json()["state"], pulled.json()["sequence"]) == ("ok", 1)

    assert run(*bob, "audit", "checkpoint", "--key", "ann.pem", "--out", "c.json").code == 0
    agreed = run("audit", "verify", "--against", "c.json", "--keys", "keys.json", "--json").json()
    events = run("audit", "log", "--limit", 99, "--json").json()
    assert (agreed["events"], agreed["against"]) == (len(events), len(events) - 1)
    assert events[-1]["action"] == "audit.checkpoint"
    assert len(run("audit", "export").out.splitlines()) == len(events)


@on_both
def test_an_approval_is_for_what_was_shown(
    run: Run, filled: Registry, monkeypatch: pytest.MonkeyPatch
):
    run("policy", "set", "--approvals", 1)
    run("submit", "pistol")

    def change(question: str) -> str:
        """Someone edits and submits again while the reviewer reads the question."""
        assert filled.concept("pistol").versions[0].content_digest in question
        run("edit-version", "pistol", "--threshold", "t2i", 3, 1)
        run("submit", "pistol")
        return "y"

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.termui.visible_prompt_func", change)
    assert run("approve", "pistol").code == 4
    assert filled.concept("pistol").versions[0].state == "in_review"
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "y")
    assert run("approve", "pistol").code == 0


def test_a_release_that_another_key_signed_is_refused(run: Run, key: Path, tmp_path: Path):
    run("key", "export", "--out", "keys.json")
    run("release", "policy", "--out", "unsigned.uvr")
    run("release", "policy", "--key", key, "--out", "signed.uvr")
    for command in ("bundle verify", "bundle inspect", "generate prompt --bundle"):
        result = run(*command.split(), "unsigned.uvr", "--keys", "keys.json")
        assert (result.code, len(result.err.splitlines())) == (6, 1)
        assert "Signed by 0 of the 1" in result.err
    assert run("bundle", "verify", "signed.uvr", "--keys", "keys.json").code == 0


def test_pull_refuses_an_older_release_and_keeps_the_newer(run: Run, key: Path, tmp_path: Path):
    run("key", "export", "--out", "keys.json")
    run("release", "policy", "--key", key, "--out", "one.uvr")
    run("release", "policy", "--key", key, "--out", "offer.uvr")
    pull = ("pull", "offer.uvr", "--keys", "keys.json", "--state", "state", "--name", "policy")
    assert run(*pull, "--json").json()["sequence"] == 2
    (tmp_path / "offer.uvr").write_bytes((tmp_path / "one.uvr").read_bytes())
    result = run(*pull, "--out", "new.uvr")
    assert (result.code, result.out, (tmp_path / "new.uvr").exists()) == (6, "", False)


def test_pull_takes_a_bundle_from_a_server(run: Run, key: Path, tmp_path: Path):
    run("key", "export", "--out", "keys.json")
    (tmp_path / "served").mkdir()
    served = tmp_path / "served" / "policy.uvr"
    handler = partial(QuietHandler, directory=str(served.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/policy.uvr"
        pull = ("pull", url, "--keys", "keys.json", "--state", "state", "--out", "pulled.uvr")
        assert run(*pull).code == 3  # Nothing is served yet.
        for sequence in (1, 2):
            run("release", "policy", "--key", key, "--out", served)
            assert run(*pull, "--json").json()["sequence"] == sequence
            assert Path("pulled.uvr").read_bytes() == served.read_bytes()
        served.write_text("<!DOCTYPE html>")
        result = run(*pull)
        server.shutdown()
    assert (result.code, len(result.err.splitlines())) == (6, 1)
    assert "it begins with b'<!DOCTYP'" in result.err
    assert "Release 2 of 'policy', accepted earlier, stays." in result.err


def test_a_release_inherits_what_is_not_given(run: Run, filled: Registry):
    run("release", "policy", "--mode", "pistol=shadow", "--threshold", "pistol/t2i=4")
    again = run("release", "policy", "--enable", "pistol", "--json").json()["members"][0]
    assert (again["mode"], list(again["thresholds"].values())) == ("shadow", [4.0])
    taken_back = run("release", "policy", "--threshold", "pistol=none", "--json").json()
    assert taken_back["members"][0]["thresholds"] == {}


@on_both
def test_a_rollback_is_a_new_release(run: Run, filled: Registry):
    run("release", "policy")
    run("release", "policy", "--mode", "pistol=log", "--allow-shrink")
    result = run("rollback", "policy", 1, "--reason", "back", "--out", "policy.uvr")
    assert result.out.splitlines()[0] == "Rolled back to policy 1, as release 3 with 1 concept"
    found = run("releases", "policy", "--json").json()
    assert [item["rollback_of"] for item in found] == [None, None, 1]
    assert found[2]["lock_digest"] == found[0]["lock_digest"]


@on_both
def test_editing_a_version_in_review_makes_it_a_draft(run: Run, filled: Registry):
    run("policy", "set", "--approvals", 1)
    run("submit", "pistol")
    edited = run("edit-version", "pistol", "--threshold", "t2i", 3.5, 1.5, "--json").json()
    assert edited["state"] == "draft"
    assert edited["spaces"][0]["seed_threshold"] == 3.5
    assert run("reviews", "--all", "--json").json()[0]["state"] == "withdrawn"


def test_diff_tells_what_changed(run: Run, filled: Registry):
    filled.add_version("pistol", [toy_collection(seed=1)], actor="tester")
    lines = run("diff", "pistol", 1, 2).out.splitlines()
    assert lines[:3] == [
        "testbed t2i",
        "  anchors: 5 added, 0 kept, 5 removed",
        "  counter-anchors: 6 added, 0 kept, 6 removed",
    ]
    assert run("diff", "pistol", 1, 1).out.startswith("testbed t2i\n  anchors: 0 added, 5 kept")
    assert run("diff", "pistol", 1, 2, "--json").json()["spaces"][0]["anchors"]["added"] == 5


def test_an_attributed_report_names_the_nearest_anchors(run: Run, filled: Registry):
    anchors, _ = toy_collection()
    fired = replace(finding("pistol", enforced=True), feature=anchors.anchors[3].astype(np.float16))
    report = RegulationReport(
        "policy", 1, "f" * 64, "testbed-t2i", anchors.space.digest, images=[[fired]]
    )
    report.save("report.json")
    rows = run("attribute", "report.json", "-k", 2, "--json").json()
    assert [(row["picture"], row["slug"]) for row in rows] == [(0, "pistol")] * 2
    assert rows[0]["anchor"] == 3


def test_a_file_that_is_no_report_is_refused(run: Run, filled: Registry):
    Path("report.json").write_text('{"images": []}')
    assert run("attribute", "report.json").code == 2


def test_prototypes_share_out_the_anchors(run: Run, filled: Registry):
    rows = run("prototypes", "pistol", "-k", 2, "--json").json()
    assert sum(row["anchors"] for row in rows) == 5
    assert sum(row["share"] for row in rows) == pytest.approx(1)


def test_an_index_says_how_well_it_finds(run: Run, filled: Registry):
    (row,) = run("index", "--json").json()
    assert (row["kind"], row["vectors"], row["recall"]) == ("flat", 5, 1.0)


def test_pictures_are_recorded_by_hash_and_forgotten(
    run: Run, models: dict[str, Path], pictures: Path
):
    run("init")
    run("add-concept", "pistol")
    collected = run(
        "collect-anchors", "pistol", "--model", models["t2i"], "--images", pictures / "with",
        "--benign", pictures / "without", "--origin", "archive 12", "--legal-basis", "licence 7",
        "--retain-until", "30d", "--prototypes", 2, "--json",
    )  # fmt: skip
    digest = collected.json()["pistol"]["content_digest"]
    listed = run("sources", "list", "pistol", "--json").json()
    assert len(listed) == 8
    assert {(item["origin"], item["legal_basis"]) for item in listed} == {
        ("archive 12", "licence 7")
    }
    assert run("sources", "list", "--due", "1d", "--json").json() == []
    forget = ("sources", "forget", listed[0]["sha256"], "--reason", "asked")
    assert run(*forget).code == 2
    assert run(*forget, "--yes").out == "Forgot 1 reference.\n"
    assert len(run("sources", "list", "--json").json()) == 7
    assert run("show", "pistol", "--json").json()["versions"][0]["content_digest"] == digest


# What commands share


CHANGES = (
    "add-concept testbed-bomb",
    "edit-version pistol --threshold t2i 3 2",
    "submit pistol",
    "release policy --out policy.uvr",
    "actor set ann --role admin",
    "policy set --approvals 2",
    "key add ann ann.pem.pub",
    "channel move prod live",
    "rollback live 1 --reason back",
    "sign live --key ann.pem",
    "audit checkpoint --key ann.pem --out checkpoint.json",
)


@on_both
@pytest.mark.parametrize("command", CHANGES)
def test_a_dry_run_says_what_would_be_and_changes_nothing(run: Run, key: Path, command: str):
    run("release", "live", "--concept", "pistol")
    run("release", "live", "--concept", "pistol")
    registry = Registry.open(Path("home"))
    registry.add_version("pistol", [toy_collection(seed=1)], actor="tester")
    command = command.replace("sign live --key ann.pem", f"sign live --key {key}")
    run("key", "generate", "ann")
    before = registry.audit.events(), sorted(Path("home/blobs").rglob("*"))
    result = run(*command.split(), "--dry-run")
    assert (result.code, bool(result.out)) == (0, True), result.err
    assert result.err == "Dry run: nothing was changed.\n"
    assert (registry.audit.events(), sorted(Path("home/blobs").rglob("*"))) == before
    assert not Path("policy.uvr").exists()
    assert not Path("checkpoint.json").exists()
    assert run(*command.split()).code == 0


@on_both
@pytest.mark.parametrize(
    "command",
    [
        "add-concept changed.yaml",
        "edit-version pistol@2 --threshold t2i 3 2",
        "submit pistol@2",
        "approve pistol@3",
        "reject pistol@3 --reason x",
        "deprecate pistol@1",
        "revoke pistol@1 --reason x --yes",
        "release live",
        "rollback live 1 --reason x",
        "channel move prod live",
    ],
)
def test_another_digest_than_expected_is_a_conflict(run: Run, filled: Registry, command: str):
    run("release", "live", "--concept", "pistol")
    run("channel", "move", "prod", "live")
    run("release", "live")
    for seed in (1, 2):
        filled.add_version("pistol", [toy_collection(seed=seed)], actor="tester")
    run("policy", "set", "--approvals", 1)
    run("submit", "pistol@3")
    changed = replace(load_shipped("pistol"), description="Changed.").to_dict()
    Path("changed.yaml").write_text(json.dumps(changed))
    before = filled.audit.events()
    result = run(*command.split(), "--expect-digest", "0" * 64)
    assert (result.code, result.out, len(result.err.splitlines())) == (4, "", 1), result.err
    assert "expected 000" in result.err
    assert filled.audit.events() == before


@pytest.mark.parametrize(
    "command",
    [
        "approve pistol",
        "revoke pistol --reason x",
        "sources forget 00 --reason x",
        "gc",
        "restore backup.zip",
        "key rotate --revoke alice --key alice.pem",
    ],
)
def test_what_cannot_be_undone_asks_first(
    run: Run, key: Path, filled: Registry, monkeypatch: pytest.MonkeyPatch, command: str
):
    run("policy", "set", "--approvals", 1)
    run("submit", "pistol")
    Path("backup.zip").touch()
    before = filled.audit.events()
    off_terminal = run(*command.split())
    assert (off_terminal.code, off_terminal.out) == (2, "")
    assert "--yes" in off_terminal.err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "n")
    assert run(*command.split()).code == 130
    assert filled.audit.events() == before


LISTS = (
    "init", "export-concept pistol --out pistol.uvrc",
    "concepts", "concepts --shipped", "show pistol", "show pistol@1", "reviews", "releases",
    "channel list", "sources list", "actor list", "policy show", "key list", "audit log",
    "audit verify", "index",
)  # fmt: skip


@on_both
@pytest.mark.parametrize("command", LISTS)
def test_what_is_listed_is_also_json(run: Run, filled: Registry, command: str):
    plain, machine = run(*command.split()), run(*command.split(), "--json")
    assert (plain.code, machine.code, machine.err) == (0, 0, "")
    assert isinstance(machine.json(), dict | list)
    assert plain.out != machine.out


def test_a_key_is_secret_and_never_overwritten(run: Run, home: Path):
    assert run("key", "generate", "alice", "--out", "deep/alice.pem").code == 0
    written = Path("deep/alice.pem")
    assert written.stat().st_mode & 0o777 == 0o600
    before = written.read_bytes()
    result = run("key", "generate", "alice", "--out", "deep/alice.pem")
    assert (result.code, "never overwritten" in result.err) == (2, True)
    assert written.read_bytes() == before


def test_a_passphrase_guards_a_key(
    run: Run, filled: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("UVR_KEY_PASSPHRASE", "correct horse")
    run("key", "generate", "alice")
    run("key", "add", "alice", "alice.pem.pub")
    rotate = ("key", "rotate", "--add", "alice", "--key", "alice.pem")
    monkeypatch.setenv("UVR_KEY_PASSPHRASE", "wrong")
    assert run(*rotate).code == 6
    monkeypatch.delenv("UVR_KEY_PASSPHRASE")
    assert (run(*rotate).code, "UVR_KEY_PASSPHRASE" in run(*rotate).err) == (2, True)
    monkeypatch.setenv("UVR_KEY_PASSPHRASE", "correct horse")
    assert run(*rotate).out == "Key list 1: 1 of 1 key must sign\n"


def test_a_private_key_is_not_taken_for_a_public_one(run: Run, key: Path):
    result = run("key", "add", "bob", key)
    assert (result.code, len(result.err.splitlines())) == (6, 1)


def test_a_schema_of_another_program_has_its_exit_code(run: Run, filled: Registry, home: Path):
    with sqlite3.connect(home / "registry.db") as database:
        database.execute("UPDATE uvr_alembic_version SET version_num = '9999'")
    database.close()
    result = run("concepts")
    assert (result.code, len(result.err.splitlines())) == (7, 1)
    assert "9999" in result.err


def test_a_registry_that_another_process_writes_to_has_its_exit_code(
    run: Run, filled: Registry, home: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("registry.store.db.SQLITE_PRAGMAS", ("PRAGMA busy_timeout = 10",))
    database = sqlite3.connect(home / "registry.db", isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    result = run("submit", "pistol")
    database.close()
    assert (result.code, result.err.count("\n")) == (8, 1)
    assert run("submit", "pistol").code == 0


def test_an_index_below_its_gate_has_its_exit_code(
    run: Run, filled: Registry, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("registry.index.build.GATE", 1.01)
    result = run("index", "--kind", "fp16")
    assert (result.code, result.out, len(result.err.splitlines())) == (9, "", 1)


def test_every_choice_offered_is_the_librarys():
    assert releases.MODES == models_module.MODES
    assert team_commands.ROLES == team.ROLES
    assert operations.INDEX_KINDS == kinds.KINDS


def test_every_command_is_in_one_section_of_the_help(run: Run):
    named = [command.name for commands in cli.SECTIONS.values() for command in commands]
    assert sorted(named) == sorted(cli.cli.commands)
    shown = run("--help").out
    assert all(f"\n  {name} " in shown for name in named)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_shells_script(run: Run, shell: str):
    assert "_UVR_REGISTRY_COMPLETE" in run("completion", shell).out


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("uvr-registry show p", ["plain,pistol"]),
        ("uvr-registry --home no-such show p", []),
        ("uvr-registry release p", ["plain,policy"]),
        ("uvr-registry channel m", ["plain,move"]),
    ],
)
def test_the_shell_completes_what_the_registry_holds(
    run: Run, filled: Registry, monkeypatch: pytest.MonkeyPatch, words: str, found: list[str]
):
    run("release", "policy")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    monkeypatch.setenv("_UVR_REGISTRY_COMPLETE", "bash_complete")
    assert run().out.split() == found


def test_a_reader_that_has_read_enough_is_no_error(filled: Registry):
    command = [sys.executable, "-c", "import cli; cli.main(['audit', 'export'])"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(cli.__file__).parent,
    ) as process:  # fmt: skip
        process.stdout.close()
        errors = process.stderr.read()
    assert (process.returncode, errors) == (1, b"")


# Operations


def test_a_backup_becomes_the_same_registry_elsewhere(run: Run, filled: Registry, home: Path):
    run("release", "policy", "--out", "before.uvr")
    assert run("backup", "all.zip", "--json").json()["blobs"] == 2
    there = ("--home", "elsewhere")
    assert run(*there, "restore", "all.zip", "--yes").out == "Registry ready at elsewhere\n"
    run(*there, "bundle", "export", "policy", "--out", "after.uvr")
    assert Path("before.uvr").read_bytes() == Path("after.uvr").read_bytes()
    assert run(*there, "audit", "log", "--limit", 1, "--json").json()[0]["actor"] == "tester"
    assert run(*there, "restore", "all.zip", "--yes").code == 4
    assert run("--home", "third", "restore", "no-such.zip", "--yes").code == 3


@on_both
def test_garbage_goes_after_its_grace_period(run: Run, filled: Registry):
    filled.store.put(b"named by nothing")
    assert run("gc", "--yes").out == "Deleted 0 blobs (0 bytes) and 0 unfinished files\n"
    would = run("gc", "--grace", "0m", "--dry-run")
    assert would.out == "Would delete 1 blob (16 bytes) and 0 unfinished files\n"
    done = run("gc", "--grace", "0m", "--yes")
    assert done.out == "Deleted 1 blob (16 bytes) and 0 unfinished files\n"
    assert run("gc", "--grace", "soon", "--yes").code == 2


@on_both
def test_a_concepts_log_tells_its_versions_releases_and_channels(run: Run, filled: Registry):
    run("release", "policy")
    run("channel", "move", "prod", "policy")
    told = [event["action"] for event in run("log", "pistol", "--json").json()]
    assert told == ["concept.add", "version.add", "release.add", "channel.move"]
    assert len(run("log", "pistol").out.splitlines()) == 5
    assert run("log", "pistl").code == 3
