"""Asking a worker to try something: what may be asked for, and the words of the job."""

from __future__ import annotations

import io
import re
import threading
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from concepts.errors import InputError
from console.call import Call
from console.evidence.tried import keep_given
from console.pages.jobs import MODELS, model_place
from registry.answers import Coverage
from registry.jobs import JobInfo
from uvr.anchors.pictures import decode_picture

KIND, CHECK = "try", "check"
MAX_PROMPT = 2000
DECODING = threading.Lock()
"""Held until a picture is decoded and made small: a file of some kB may take hundreds of MB."""
_VERSION = re.compile(r"([a-z0-9][a-z0-9-]*)(?:@([1-9][0-9]{0,8}))?")
_RELEASE = re.compile(r"([^@]+)@([1-9][0-9]{0,8})")


@dataclass(frozen=True)
class Asked:
    """What was asked for, as the form has it; without a prompt a picture is only checked."""

    prompt: str = ""
    release: str = ""
    version: str = ""
    model: str = "testbed"
    seed: str = "0"


def ask_to_draw(call: Call, asked: Asked, picture: bytes | None) -> JobInfo:
    """Ask for a prompt to be drawn, regulated and not, or for a picture to be checked.

    Args:
        call: Who asks.
        asked: For what.
        picture: What the prompt is to change, or what is to be checked.

    Raises:
        InputError: There is neither a prompt nor a picture, or one of them cannot be taken, or
            nothing that the picture could be checked by.
        NotFoundError: There is no such release or version.
    """
    subject, models = _subject(call, asked)
    place = model_place(asked.model)
    words = [subject, f"--model={place}", f"--seed={asked.seed}"]
    # Without a prompt too: it tells these words from what somebody typed.
    last = ["--", *([_prompt(asked.prompt)] if asked.prompt or picture is None else [])]
    if len(last) == 1 and place not in map(MODELS.get, models):
        raise InputError(_no_check(subject, place))
    jobs = call.registry.jobs
    if picture is not None:
        # Whoever may not ask has no picture decoded, and leaves none behind. The same words without
        # a picture are another job.
        call.registry.rehearsal().jobs.add(KIND, [*words, "--picture=", *last], actor=call.actor)
        with DECODING:
            given = decode_picture(io.BytesIO(picture), "The picture")
            words.append(f"--picture={keep_given(call.registry.home, given)}")
    return jobs.add(KIND, [*words, *last], actor=call.actor)


def asked_of(job: JobInfo) -> Asked:
    """Return what a job was asked for; one that the command line asked for has other forms."""
    words = job.arguments
    if "--" not in words:
        return Asked(prompt=" ".join(words))
    place = words.index("--")
    given = dict(word[2:].partition("=")[::2] for word in words[:place])
    names = ("release", "version", "model", "seed")
    return Asked(" ".join(words[place + 1 :]), **{n: given[n] for n in names if n in given})


def live_releases(call: Call) -> Mapping[str, Sequence[str]]:
    """Return the channels in which releases are live, by "BUNDLE@SEQUENCE"."""
    live: dict[str, list[str]] = {}
    for channel in call.registry.channels.list():
        live.setdefault(f"{channel.bundle}@{channel.sequence}", []).append(channel.name)
    return live


def releases_to_try(call: Call) -> Mapping[str, Sequence[str]]:
    """Return the releases that are live, as ``live_releases``, and the newest of each bundle."""
    listed = sorted(call.registry.releases.summaries(), key=lambda item: item.sequence)
    newest = {item.bundle: item.sequence for item in listed}
    others = (f"{bundle}@{sequence}" for bundle, sequence in newest.items())
    live = live_releases(call)
    return {**live, **{name: () for name in others if name not in live}}


def checkable(call: Call) -> Mapping[str, str]:
    """Return the live releases that can check pictures, "BUNDLE@SEQUENCE/MODEL", in words."""
    found = {}
    for name, channels in live_releases(call).items():
        bundle, _, sequence = name.rpartition("@")
        words = f"{name}, live in {', '.join(channels)}"
        for model in _checking(call.registry.releases.get(bundle, int(sequence)).coverage):
            if model in MODELS:
                found[f"{name}/{model}"] = f"{words}, by the model {model}"
    return found


def why_unchecked(call: Call) -> str:
    """Say why nothing that is live can check a picture; "" where something can."""
    if checkable(call):
        return ""
    if not live_releases(call):
        return "No channel is live, so that a picture cannot be checked: point one to a release."
    return (
        "What is live cannot check a picture: it holds no examples for that. `uvr-registry "
        "collect-anchors SLUG --task check`, then release again and move the channel."
    )


def _no_check(subject: str, place: str) -> str:
    """Say that a job's subject holds nothing for checking with a model, and what to do."""
    kind, _, name = subject.partition("=")
    alone = kind == "--version"
    slug = name.partition("@")[0] if alone else "SLUG"
    what = "makes a version that does" if alone else "collects some; then release again"
    return (
        f"{name} holds no examples by which this model could check a finished picture: "
        f"`uvr-registry collect-anchors {slug} --model {place} --task check` {what}."
    )


def _checking(coverage: Iterable[Coverage]) -> set[str]:
    return {item.model for item in coverage if CHECK in item.tasks}


def _subject(call: Call, asked: Asked) -> tuple[str, set[str]]:
    """Return the option that names what is tried, which must be there, and models that check it."""
    if asked.version:
        if not (named := _VERSION.fullmatch(asked.version)):
            raise InputError(f"'{asked.version[:40]}' is neither a concept's name nor NAME@NUMBER.")
        number = int(named[2]) if named[2] else None
        found = call.registry.versions.get(named[1], number)
        spaces = [item.space for item in found.spaces]
        models = {space.model for space in spaces if space.task == CHECK}
        return f"--version={found.slug}@{found.number}", models
    if not (named := _RELEASE.fullmatch(asked.release)):
        raise InputError("Choose a release, or name a version.")
    known = call.registry.releases.get(named[1], int(named[2]))
    return f"--release={known.bundle}@{known.sequence}", _checking(known.coverage)


def _prompt(text: str) -> str:
    """Return a prompt on one line.

    Raises:
        InputError: There is none, or it is too long, or holds what no text does.
    """
    prompt = " ".join(text.split())
    if not prompt:
        raise InputError("Say what to draw, or give a picture to be checked.")
    if len(prompt) > MAX_PROMPT:
        raise InputError(f"Say what to draw in at most {MAX_PROMPT:,} characters.")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in prompt):
        raise InputError("The prompt holds control characters, which no model reads.")
    return prompt
