"""Options that several commands take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from commands.parameters import FILE, NUMBER, RELEASE, VERSION, EngineName, Instant, Moment
from concepts.words import TASKS


def _shared(name: str, field: str, text: str) -> Callable[..., Any]:
    """Return a flag that ``App`` remembers, so that commands need no parameter for it."""

    def remember(context: click.Context, _option: click.Parameter, value: bool) -> None:
        if value and context.obj is not None:  # None while the shell completes
            setattr(context.obj, field, True)

    return click.option(name, is_flag=True, expose_value=False, callback=remember, help=text)


as_json = _shared("--json", "json", "Print JSON.")
dry_run = _shared("--dry-run", "dry_run", "Say what would happen, and change nothing.")
yes = _shared("--yes", "yes", "Do not ask.")
version_argument = click.argument("version", type=VERSION, metavar="SLUG[@NUMBER]")
expect_digest = click.option(
    "--expect-digest", metavar="SHA256", help="Refuse unless the present content has this digest."
)
release_argument = click.argument("release_name", metavar="BUNDLE[@SEQUENCE]", type=RELEASE)
sequence_option = click.option(
    "--sequence", type=NUMBER, help="The same as BUNDLE@SEQUENCE.  [default: the latest]"
)
key_option = click.option(
    "--key", "key_files", type=FILE, multiple=True, help="Private key that signs; repeat it."
)
keys_option = click.option(
    "--keys", "keys_file", type=FILE, help="Key list that must have signed: `key export`."
)
drop_option = click.option(
    "--drop", multiple=True, metavar="SLUG", help="Concept that may go; repeat it."
)
allow_shrink_option = click.option(
    "--allow-shrink",
    is_flag=True,
    help="Allow members to be regulated less: by mode, a raised threshold, a task without anchors.",
)
enforce_nothing_option = click.option(
    "--enforce-nothing", is_flag=True, help="Allow a release that regulates no concept at all."
)
expires_option = click.option(
    "--expires",
    type=Instant(),
    metavar="WHEN",
    help="When engines begin to refuse it, such as 30d.",
)
at_option = click.option(
    "--at",
    type=Moment(),
    metavar="WHEN",
    help="The time to look at; of a date alone its end, in UTC, or now.  [default: now]",
)
reason_option = click.option("--reason", default="", help="Why, for the record.")
reason_required = click.option("--reason", required=True, help="Why, for the record.")
model_option = click.option(
    "--model",
    default="testbed",
    show_default=True,
    help="'testbed', a folder with a diffusers pipeline, or a repository of the hub.",
)
profile_option = click.option(
    "--profile",
    "profile_file",
    type=FILE,
    help="Profile of the model, as `analyse` writes it.  [default: the model's own]",
)
seed_option = click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True
)
engine_option = click.option(
    "--engine",
    type=EngineName(),
    metavar="local|ray[=ADDRESS]",
    default="local",
    show_default=True,
    help="What draws: this process, or the workers of a Ray cluster, one a GPU.",
)
progress_option = click.option(
    "--progress",
    "progress_form",
    type=click.Choice(["bar", "json"]),
    default="bar",
    show_default=True,
    help="On stderr: a bar, or a line of JSON for each step.",
)
steps_option = click.option("--steps", type=click.IntRange(1, 1000), help="Inference steps.")
task_choice = click.Choice(TASKS)
