"""What takes long, asked for here and done by a worker: how far it is, and stopping it.

A job is made of choices, never of words that somebody typed as options.
"""

from __future__ import annotations

import logging

from starlette.responses import FileResponse, Response

from concepts.errors import InputError, NotFoundError, did_you_mean
from concepts.words import JOB_STATES, TASKS
from console.call import Call, go_to
from console.job_words import command_line, without_home
from registry.jobs.outcome import outcomes_of, warnings_of
from uvr.evaluation.suites.shipped import shipped_suites

OPEN = ("waiting", "running")
SHOWN = 50
USUAL_MODEL = "testbed"
MODELS = {
    "testbed": "testbed",
    "flux.1-dev": "black-forest-labs/FLUX.1-dev",
    "flux.1-schnell": "black-forest-labs/FLUX.1-schnell",
    "flux.1-kontext-dev": "black-forest-labs/FLUX.1-Kontext-dev",
    "flux.2-dev": "black-forest-labs/FLUX.2-dev",
    "flux.2-klein-4b": "black-forest-labs/FLUX.2-klein-4B",
    "chroma1-hd": "lodestones/Chroma1-HD",
    "longcat-image": "meituan-longcat/LongCat-Image",
    "longcat-image-edit": "meituan-longcat/LongCat-Image-Edit",
}
"""Where workers find the models of ``uvr.profiles``; no page asks for any other."""
logger = logging.getLogger("uvr.console")


def jobs(call: Call) -> Response:
    """List what waits and runs, and what ended last."""
    listed = call.registry.jobs.list
    ended = [state for state in JOB_STATES if state not in OPEN]
    home = call.registry.home
    return call.page(
        "jobs.html",
        open=[without_home(item, home) for item in listed(OPEN, limit=SHOWN, results=False)],
        ended=[without_home(item, home) for item in listed(ended, limit=SHOWN)],
    )  # fmt: skip


def job(call: Call) -> Response:
    """Show a job: who asked, how far it is, what came of it."""
    found = without_home(call.registry.jobs.show(call.path["job"]), call.registry.home)
    return call.page(
        "job.html", job=found, open=found.state in OPEN, warnings=warnings_of(found),
        command=command_line(found),
    )  # fmt: skip


def report(call: Call) -> Response:
    """Hand out the report that a job wrote, one file with everything in it."""
    found = call.registry.jobs.show(call.path["job"])
    names = [item.name for item in outcomes_of(found) if item.what == "report"]
    files = [path for path in (call.registry.home / name for name in names) if path.is_file()]
    if not files:
        raise NotFoundError(f"Job {found.id} has no report, or its file is no longer there.")
    logger.info("%r took the report of job %d", call.actor, found.id)
    # As a file: on a page of the console its styles would not be allowed, nor should they be.
    return FileResponse(files[0], media_type="text/html", filename=f"job-{found.id}.html")


def collect(call: Call) -> Response:
    """Ask for a concept's next version, collected from what its words draw."""
    concept, form = call.registry.concepts.get(call.path["slug"]), call.form
    task = form.text("task")
    if task not in TASKS:
        raise InputError(f"'{task}' is no use of a model: {', '.join(TASKS)}.")
    seed = int(form.number("seed", 0, 2**53))
    words = (concept.slug, f"--model={model_place(form.text('model'))}", f"--task={task}",
             f"--seed={seed}")  # fmt: skip
    asked = call.registry.jobs.add("collect-anchors", words, actor=call.actor)
    return go_to(f"/jobs/{asked.id}", "asked")


def draw(call: Call) -> Response:
    """Ask for a version's example pictures, as pages show them."""
    version = call.registry.versions.get(call.path["slug"], call.path["number"])
    model = model_place(call.form.text("model"))
    words = (f"{version.slug}@{version.number}", f"--model={model}")
    asked = call.registry.jobs.add("draw-examples", words, actor=call.actor)
    return go_to(f"/jobs/{asked.id}", "asked")


def measure(call: Call) -> Response:
    """Ask for a version to be measured by a suite."""
    version = call.registry.versions.get(call.path["slug"], call.path["number"])
    words = (_suite(call.form.text("suite")), f"--record={version.slug}@{version.number}",
             "--method=ours")  # fmt: skip
    asked = call.registry.jobs.add("evaluate", words, actor=call.actor)
    return go_to(f"/jobs/{asked.id}", "asked")


def cancel(call: Call) -> Response:
    """Stop a job."""
    call.registry.jobs.cancel(call.path["job"], actor=call.actor)
    return go_to("/jobs", "stopped")


def offered_models(call: Call) -> list[tuple[str, list[str]]]:
    """Return the models that can be asked for, in groups with a title: the registry's own first.

    Of any other a worker needs the weights, which most have not.
    """
    own = [name for name in MODELS if name in call.registry.concepts.models()] or [USUAL_MODEL]
    others = [name for name in MODELS if name not in own]
    return [("", own), ("On a machine with that model", others)]


def model_name(place: str) -> str:
    """Return what forms call a model, by where workers find it; "" for any other."""
    return next((name for name in MODELS if place in (name, MODELS[name])), "")


def model_place(text: str) -> str:
    """Return where workers find a model; InputError for none of ``MODELS``."""
    # A job's own words come back in forms, too.
    return text if text in MODELS.values() else MODELS[_known(text, list(MODELS), "model")]


def _suite(text: str) -> str:
    return _known(text, shipped_suites(), "suite")


def _known(text: str, names: list[str], what: str) -> str:
    if text not in names:
        hint = did_you_mean(text[:40], names)
        raise InputError(
            f"'{text[:40]}' is no {what} of this program: {', '.join(names)}.{hint} Any other is "
            "asked for with `uvr-registry jobs add`."
        )
    return text
