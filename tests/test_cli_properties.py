"""The command line with random input: one clear error, or done; the registry stays whole."""

import contextlib
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cli
from commands import parameters
from registry.operations.doctor import diagnose
from registry.registry import Registry
from tests.conftest import often

CODES = {0, 1, 2, 3, 4, 5, 6, 9}  # Nothing is busy or of another schema.
# They load a model, take a terminal, change this process, or go on until they are stopped.
LEFT_OUT = (
    "check", "collect-anchors", "completion", "console", "demo", "edit", "generate", "search",
    "try", "worker",
)  # fmt: skip
# What a user may type: no NUL, which no shell passes on, and no path out of the test's folder; but
# bytes that are not UTF-8, which Python hands over as lone surrogates.
Command = tuple[tuple[str, ...], list[click.Parameter]]
TEXT = st.text(st.characters(exclude_characters="\0/", exclude_categories=()), max_size=20)
# What fits a parameter of some type, more or less.
FITTING: dict[type, list[str]] = {
    parameters.VersionName: ["pistol", "pistol@1", "pistol@2", "knife", "pistl", "pistol@0"],
    parameters.Named: ["pistol", "knife", "policy", "prod", "stage"],
    parameters.PathName: [
        "alice.pem", "alice.pem.pub", "keys.json", "policy.uvr", "bad.uvr", "concept.uvrc",
        "all.zip", "empty", "folder", "state", "new", "folder/new", "policy.uvr/new", "", ".",
        "..",
    ],
    parameters.Instant: ["30d", "0h", "2026-11-24", "2026-02-30", "2999-01-01T00:00:00Z", "-1d"],
    parameters.Pair: [
        "pistol=log", "pistol=shadow", "pistol=none", "pistol/t2i=2", "pistol=7d", "=",
    ],
    click.IntRange: ["1", "2", "0", "-1", "99999999999999999999"],
    click.FloatRange: ["0.5", "0", "1", "nan", "1e309"],
}  # fmt: skip
KNOWN = st.sampled_from(
    sorted(
        {
            "alice",
            "tester",
            "t2i",
            "0" * 64,
            "-",
            "--",
            "\udcff",
            "\x1b[2J",
            "a\nb",
            "a" * 300,
        }.union(*FITTING.values())
    )
)


def commands(group: click.Group, words: tuple[str, ...] = ()) -> Iterator[Command]:
    """Yield each command's words and parameters."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*words, name))
        elif name not in LEFT_OUT:
            yield (*words, name), command.params


COMMANDS = sorted(commands(cli.cli), key=lambda found: found[0])


@st.composite
def arguments(draw: st.DrawFn) -> list[str]:
    """Draw a command, most often with as many words as it takes, and sometimes with noise."""
    words, params = draw(st.sampled_from(COMMANDS))
    argv = list(words)
    for param in params:
        option = next((text for text in param.opts if text[:2] == "--"), None)
        required = param.required or isinstance(param, click.Argument)
        if draw(st.integers(0, 9)) < (9 if required else 2):
            flag = getattr(param, "is_flag", False)
            fitting = getattr(param.type, "choices", FITTING.get(type(param.type), ["x"]))
            value = st.sampled_from(list(fitting)) if draw(st.integers(0, 5)) else KNOWN | TEXT
            values = [] if flag else [draw(value)]
            argv += [option, *values * max(1, param.nargs)] if option else values
    return argv + draw(st.one_of(st.just([]), st.just(["--yes"]), st.lists(KNOWN | TEXT)))


def call(argv: list[str]) -> tuple[int, str, str]:
    """Run the command line as a shell does, with streams that take UTF-8 alone."""
    out, err = io.BytesIO(), io.BytesIO()
    stdout = io.TextIOWrapper(out, "utf-8", "strict", write_through=True)
    stderr = io.TextIOWrapper(err, "utf-8", "backslashreplace", write_through=True)
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        with pytest.raises(SystemExit) as stopped:
            cli.main(argv)
        return int(stopped.value.code or 0), out.getvalue().decode(), err.getvalue().decode()


@pytest.fixture
def place(request: pytest.FixtureRequest, run: Any, filled: Registry) -> Registry:
    """A folder with a registry, keys, bundles, good and bad, in which random commands run."""
    for command in (
        "key generate alice", "key add alice alice.pem.pub", "key rotate --add alice --key "
        "alice.pem", "key export --out keys.json", "release policy --key alice.pem --out "
        "policy.uvr", "channel move prod policy", "export-concept pistol --out concept.uvrc",
        "backup all.zip",
    ):  # fmt: skip
        assert run(*command.split()).code == 0, command
    data = bytearray(Path("policy.uvr").read_bytes())
    data[len(data) // 2] ^= 1
    Path("bad.uvr").write_bytes(data)
    Path("empty").touch()
    Path("folder").mkdir()
    return filled


@pytest.mark.slow
@pytest.mark.parametrize(
    ("home", "examples"), [("sqlite", often(1500)), ("postgresql", often(300))], indirect=["home"]
)
def test_random_commands_end_with_a_known_code_and_one_line(place, examples):
    seen: Counter[int] = Counter()

    @settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(arguments())
    def check(argv: list[str]) -> None:
        before = len(place.audit.events())
        code, out, err = call(argv)
        seen[code] += 1
        assert (code in CODES, "internal" in err) == (True, False), (code, err)
        changed = len(place.audit.events()) - before
        assert 0 <= changed <= 1
        if code:
            lines = [line for line in err.splitlines() if line.startswith("Error: ")]
            assert (out, len(lines)) == ("", 1), (code, out, err)
            assert changed == 0
        if "--dry-run" in argv:
            assert changed == 0

    check()
    assert diagnose(place.workspace).ok


@pytest.mark.slow
def test_any_file_as_a_definition_is_taken_or_refused_in_one_line(place):
    words = st.sampled_from(
        ["slug", "name", "category", "description", "prompts", "near_misses", ": ", "- ", "\n",
         "  ", "object", "kite", "&a ", "*a", "!!python/object:os.system ", "{", "}", "[", "]",
         "'", '"', "|", "\t", "1e9", "null", "\ufeff", "\0", "\x85"]
    )  # fmt: skip
    content = st.lists(words | st.text(max_size=5), max_size=30).map(
        lambda parts: "".join(parts).encode("utf-8", "surrogatepass")
    )

    @settings(max_examples=often(1000), deadline=None)
    @given(content | st.binary(max_size=60))
    def check(data: bytes) -> None:
        Path("mine.yaml").write_bytes(data)
        code, out, err = call(["add-concept", "mine.yaml"])
        assert (code, out, len(err.splitlines())) == (2, "", 1), (code, out, err)
        assert "mine.yaml" in err

    check()
