"""What takes long, asked for here and done by a worker: how far it is, and stopping it.

A job is made of choices, never of words that somebody typed as options.
"""

from __future__ import annotations

import re

from starlette.responses import Response

from concepts.errors import InputError
from concepts.words import TASKS
from console.call import Call, go_to

OPEN = ("waiting", "running")
SHOWN = 50
KINDS = {
    "collect-anchors": "collect example pictures",
    "calibrate": "fit anew",
    "draw-examples": "draw example pictures",
    "evaluate": "measure",
    "try": "try a prompt",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")


def jobs(call: Call) -> Response:
    """List what waits and runs, and what ended last."""
    found = call.registry.jobs.list()
    return call.page(
        "jobs.html", kinds=KINDS, open=[item for item in found if item.state in OPEN],
        ended=[item for item in found if item.state not in OPEN][:SHOWN],
    )  # fmt: skip


def collect(call: Call) -> Response:
    """Ask for a concept's next version: its example pictures, drawn and looked at."""
    concept, form = call.registry.concepts.get(call.path["slug"]), call.form
    task = form.text("task")
    if task not in TASKS:
        raise InputError(f"'{task}' is no use of a model: {', '.join(TASKS)}.")
    seed = int(form.number("seed", 0, 2**53))
    words = (concept.slug, f"--model={checked_name(form.text('model'))}", f"--task={task}",
             f"--seed={seed}")  # fmt: skip
    call.registry.jobs.add("collect-anchors", words, actor=call.actor)
    return go_to("/jobs", "asked")


def draw(call: Call) -> Response:
    """Ask for a version's example pictures, as pages show them."""
    version = call.registry.versions.get(call.path["slug"], call.path["number"])
    model = checked_name(call.form.text("model"))
    words = (f"{version.slug}@{version.number}", f"--model={model}")
    call.registry.jobs.add("draw-examples", words, actor=call.actor)
    return go_to("/jobs", "asked")


def measure(call: Call) -> Response:
    """Ask for a version to be measured by a suite."""
    version = call.registry.versions.get(call.path["slug"], call.path["number"])
    words = (checked_name(call.form.text("suite")), f"--record={version.slug}@{version.number}",
             "--method=ours")  # fmt: skip
    call.registry.jobs.add("evaluate", words, actor=call.actor)
    return go_to("/jobs", "asked")


def cancel(call: Call) -> Response:
    """Stop a job."""
    call.registry.jobs.cancel(call.path["job"], actor=call.actor)
    return go_to("/jobs", "stopped")


def checked_name(text: str) -> str:
    """Return a model's or a suite's name.

    Raises:
        InputError: It is none, or could be taken for an option or a path.
    """
    if not _NAME.fullmatch(text) or ".." in text:
        raise InputError(f"'{text[:40]}' is no name of a model or a suite.")
    return text
