"""The code of the README and the manual, run as someone who reads it would."""

import ast
import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as gen_ai

from concepts.anchors import AnchorSpace
from concepts.bundle import Bundle, BundleVariant, Member, write_bundle
from concepts.bundle.member import lock_digest, locked_members
from concepts.definition import parse_definition
from concepts.scorer import Scorer
from concepts.signing.keys import KeyList, PrivateKey
from registry.registry import Registry
from tests.conftest import toy_collection
from uvr.decisions.decision import Decision
from uvr.pipelines import load_pipeline
from uvr.verdict import Evidence, Verdict

ROOT = Path(__file__).parent.parent
VERDICTS_PAGE = (ROOT / "docs/verdicts.md").read_text(encoding="utf-8")
FOR_TEAMS = "docs/policy-team.md"


def section(page: str, title: str) -> str:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.split(r"\n##+ ", text.split(f"\n## {title}\n")[1])[0]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(page: str, title: str) -> list[list[str]]:
    """The commands of a section's first shell block, without comments."""
    lines = blocks(section(page, title), "sh")[0].replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def test_the_walk_of_a_team_works_as_written(run, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("uvr.anchors.collection.load_pipeline", lambda *_: (None, _Profile))
    seeds = iter(range(9))
    monkeypatch.setattr("uvr.anchors.collection.collect", lambda *_: toy_collection(next(seeds)))
    quick = [words for words in commands(FOR_TEAMS, "Quick start") if "generate" not in words]
    team = [commands(FOR_TEAMS, title) for title in ("A team's registry", "Signed bundles")]
    done = []
    for words in [*quick, *team[0], *team[1], *commands("docs/operations.md", "Audit")]:
        if words[0] == "export":
            monkeypatch.setenv(*words[1].split("=", 1))
            continue
        assert words[0] == "uvr-registry", words
        extra = {"approve": ["--yes"], "collect-anchors": ["--task", "t2i", "--yes"]}
        more = next((extra[word] for word in words if word in extra), [])
        result = run(*words[1:], *more)
        assert (result.code, result.err) == (0, ""), (words, result)
        done.append(words)
    assert len(done) > 27
    live = Registry.open(Path("home")).channels.live("prod")
    assert [member.approved_by for member in live.release.members] == [("bob",)]


def test_the_readme_begins_as_the_page_for_policy_teams():
    title = "Quick start for a policy team"
    assert commands("README.md", title) == commands(FOR_TEAMS, "Quick start")


def test_the_definition_that_is_shown_is_one():
    (shown,) = blocks(section(FOR_TEAMS, "A definition of your own"), "yaml")
    assert parse_definition(shown).slug == "red-kite"


PYTHON = {  # Each block once, by where it was seen last.
    code: f"{path.stem}-{number}"
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for number, code in enumerate(blocks(path.read_text(encoding="utf-8"), "python"))
}
RUNS = [code for code in PYTHON if "# needs:" not in code]


@pytest.mark.parametrize("code", PYTHON, ids=PYTHON.values())
def test_python_uses_names_that_exist(code):
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(str(node.module))
            assert all(hasattr(module, item.name) for item in node.names), node.module


@pytest.mark.parametrize("code", RUNS, ids=map(PYTHON.get, RUNS))
def test_python_that_needs_only_the_testbed_runs(code, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    Path("demo").mkdir()
    Path("demo/demo.uvr").write_bytes(write_bundle(any_bundle()))
    monkeypatch.delenv("UVR_DATABASE_URL", raising=False)
    exec(code, {})
    assert Path("regulated.png").is_file() == ("regulated.png" in code)
    assert capsys.readouterr().out.strip() == "['testbed-pistol']"


def test_a_source_is_followed_as_written(monkeypatch, tmp_path):
    key = PrivateKey.generate()
    (tmp_path / "prod.uvr").write_bytes(write_bundle(any_bundle().sign(key)))
    (tmp_path / "keys.json").write_bytes(KeyList(1, 1, (key.public,)).to_bytes())
    monkeypatch.chdir(tmp_path)
    pipe, profile = load_pipeline("testbed", "t2i")
    (code,) = blocks(section("docs/serving.md", "Follow a channel"), "python")
    for shown, here in (
        ("https://policy.example/prod.uvr", "prod.uvr"),
        ("/var/lib/uvr", "state"),
        ('pipe("a street at night")', 'pipe("a cat in the middle", **usual)'),
    ):
        assert shown in code
        code = code.replace(shown, here)
    found: dict[str, Any] = {"pipe": pipe, "usual": {**profile.call, "output_type": "latent"}}
    exec(code, found)
    assert found["attached"].last.sequence == 1


def test_verdicts_become_events_of_a_span():
    (code,) = blocks(section("docs/verdicts.md", "OpenTelemetry"), "python")
    found: dict[str, Any] = {}
    exec(code, found)
    evidence = Evidence("look", "ball", "Ball", 1, "enforce", 4.0, 2.0, 0.25)
    tracer = TracerProvider().get_tracer("test")
    with tracer.start_as_current_span("draw") as span:
        verdict = Verdict(0, "regulated", "f" * 64, (evidence,), "Ball was found.")
        about = ("2026-11-24T10:00:00.000000Z", "r-17", "testbed", "t2i", "policy", 5, "ok", "")
        found["tell"](Decision(*about, verdict))
    (event,) = span.events
    assert event.name == "gen_ai.evaluation.result"
    assert dict(event.attributes) == {
        gen_ai.GEN_AI_EVALUATION_NAME: "ball",
        gen_ai.GEN_AI_EVALUATION_SCORE_VALUE: 4.0,
        gen_ai.GEN_AI_EVALUATION_SCORE_LABEL: "regulated",
        gen_ai.GEN_AI_EVALUATION_EXPLANATION: "Ball was found.",
        "uvr.request": "r-17",
        "uvr.release": "policy@5",
    }


def test_the_manual_names_every_field_of_a_decision():
    verdict = Verdict(0, "untouched", "f" * 64, (), "Why.")
    features = {"ball": np.ones(2, dtype=np.float16)}
    about = ("2026-11-24T10:00:00.000000Z", "r-17", "testbed", "t2i", "policy", 5, "ok", "")
    decision = Decision(*about, verdict, prompt="a ball", features=features)
    written = decision.to_dict(text=True, features=True).keys() - verdict.to_dict().keys()
    rows = re.findall(r"^\| (`.*?`) \|", section("docs/verdicts.md", "The decision log"), re.M)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == written


def test_the_manual_names_every_field_of_a_verdict():
    evidence = Evidence("look", "ball", "Ball", 1, "enforce", 4.0, 2.0, 0.25)
    verdict = Verdict(0, "regulated", "f" * 64, (evidence,), "Ball was found.").to_dict()
    rows = re.findall(r"^\| (`.*?`) \|", section("docs/verdicts.md", "What a verdict says"), re.M)
    assert [name for row in rows for name in re.findall(r"`(\w+)`", row)] == list(verdict)
    (fields,) = re.findall(r"^\| `evidence` \|.*first: (.*) \|$", VERDICTS_PAGE, re.M)
    assert re.findall(r"`(\w+)`", fields) == list(verdict["evidence"][0])


def any_bundle() -> Bundle:
    """A bundle for the testbed, whatever its weights, whose concept is found in every picture."""
    pipe, profile = load_pipeline("testbed", "t2i")
    config = pipe.transformer.config
    dim = len(profile.taps) * config["num_attention_heads"] * config["attention_head_dim"]
    space = AnchorSpace(profile.model, "", profile.task, profile.taps, dim, profile.sigma)
    weights = np.ones((1, dim), np.float32)
    scorer = Scorer(
        rule="mean",
        weights=weights,
        offset=np.full(1, 1e6, np.float32),
        seed_threshold=1.0,
        grow_threshold=1.0,
        metadata={},
    )
    member = Member(
        slug="testbed-pistol",
        name="Pistol",
        category="object",
        version=1,
        content_digest="0" * 64,
        scorer=scorer,
    )
    variants = (BundleVariant(space, (member,)),)
    return Bundle("policy", 1, lock_digest(locked_members(variants)), variants)


class _Profile:
    model, task = "testbed", "t2i"
