"""The README's commands, run in its order by someone who reads it."""

import re
import shlex
from pathlib import Path

import pytest

from registry.registry import Registry
from tests.conftest import Run, toy_collection

README = Path(__file__).parent.parent / "README.md"


def commands(section: str) -> list[list[str]]:
    """The commands of a section's first shell block, without comments."""
    text = README.read_text(encoding="utf-8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    block = re.search(r"```sh\n(.*?)```", text, re.DOTALL)
    assert block is not None
    lines = block[1].replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def test_the_walk_of_a_team_works_as_written(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("uvr.anchors.collection.load_pipeline", lambda *_: (None, _Profile))
    seeds = iter(range(9))
    monkeypatch.setattr("uvr.anchors.collection.collect", lambda *_: toy_collection(next(seeds)))
    quick = [
        words for words in commands("Quick start for a policy team") if "generate" not in words
    ]
    done = []
    for words in [*quick, *commands("A team's registry"), *commands("Signed bundles")]:
        if words[0] == "export":
            monkeypatch.setenv(*words[1].split("=", 1))
            continue
        assert words[0] == "uvr-registry", words
        extra = {"approve": ["--yes"], "collect-anchors": ["--task", "t2i"]}
        more = next((extra[word] for word in words if word in extra), [])
        result = run(*words[1:], *more)
        assert (result.code, result.err) == (0, ""), (words, result)
        done.append(words)
    assert len(done) > 25
    live = Registry.open(Path("home")).channels.live("prod")
    assert [member.approved_by for member in live.release.members] == [("bob",)]


class _Profile:
    task = "t2i"
