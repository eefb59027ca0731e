"""The command line ``uvr-registry``: its commands by sections, and what errors become.

The commands are in ``commands``, one module a noun. Importing them loads click alone; each command
imports what it needs when it runs.

Exit codes: 0 done, 1 any other error, 2 wrong usage or a bad file, 3 not found, 4 conflict,
5 against the registry's rules, 6 corrupt or made for another model, 7 database schema, 8 busy,
9 a gate failed, 10 a checked picture shows what is banned, 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

# Ctrl-C while the rest is imported ends the program at once, and shows no traceback.
INTERRUPT = signal.getsignal(signal.SIGINT)
IMPORTING = (
    INTERRUPT is signal.default_int_handler
    and threading.current_thread() is threading.main_thread()
)
if IMPORTING:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import click

from commands import (
    analysis,
    anchors,
    audit,
    bundles,
    calibration,
    channels,
    collection,
    concepts,
    console,
    drafts,
    evaluation,
    exemplars,
    incidents,
    jobs,
    keys,
    operations,
    pictures,
    releases,
    reports,
    team,
    trying,
    versions,
    worker,
)
from commands.app import App
from commands.failures import error_words, usage_words
from commands.parameters import PathName
from concepts.errors import UVRError
from concepts.printable import printable

STOPPED = 130
OLD_NAMES = {"sources": "exemplars"}
"""Commands that had another name in an earlier release; scripts may still use that."""
QUIET = ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY")
"""Settings of the libraries: their notices say nothing to whoever types; errors still show."""
SECTIONS: dict[str, tuple[click.Command, ...]] = {
    "Concepts": (
        operations.init, concepts.add_concept, concepts.list_concepts, concepts.show,
        collection.collect_anchors, calibration.calibrate, drafts.edit_version,
        drafts.copy_version, versions.diff,
        anchors.search, anchors.prototypes, pictures.attribute, exemplars.exemplars,
    ),
    "Review": (
        versions.submit, versions.approve, versions.reject, versions.deprecate, versions.revoke,
        versions.reviews, versions.log, reports.report,
    ),
    "Releases": (
        releases.release, releases.rollback, releases.releases, releases.diff_releases,
        releases.sign, channels.channel, channels.live, bundles.bundle, bundles.pull,
    ),
    "Pictures": (
        pictures.generate, pictures.edit, trying.try_prompt, incidents.check, incidents.incident,
        incidents.hits, analysis.analyse, evaluation.demo, evaluation.evaluate,
    ),
    "Team": (team.actor, team.policy, keys.key, audit.audit, console.console),
    "Jobs": (jobs.jobs, worker.worker),
    "Operations": (
        operations.doctor, operations.gc, operations.backup, operations.restore,
        operations.export_concept, operations.import_concept, operations.index,
        operations.completion,
    ),
}  # fmt: skip


class Sections(click.Group):
    """The group of all commands, whose help lists them by what they are for."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, by its name or the one that it had."""
        return super().get_command(ctx, OLD_NAMES.get(cmd_name, cmd_name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each section's commands with their short help."""
        for title, commands in SECTIONS.items():
            rows = [(str(item.name), item.get_short_help_str(200)) for item in commands]
            with formatter.section(title):
                formatter.write_dl(rows)


@click.group(cls=Sections, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="uvr-registry")
@click.option(
    "--home",
    type=PathName(file_okay=False, path_type=Path),
    help="Folder of the registry.  [default: UVR_HOME or ~/.local/share/uvr]",
)
@click.option("--actor", envvar="UVR_ACTOR", help="Who acts, for the audit.  [default: you]")
@click.pass_context
def cli(context: click.Context, home: Path | None, actor: str | None) -> None:
    """Ban visual concepts from FLUX: define, collect, review, release, attach.

    \b
    Examples:
      uvr-registry init
      uvr-registry add-concept testbed-pistol
      uvr-registry collect-anchors testbed-pistol
      uvr-registry release policy --out policy.uvr
      uvr-registry generate "a pistol in the middle on a pink background" --bundle policy.uvr

    UVR_DATABASE_URL names a database other than the SQLite file in the registry's folder.
    """
    context.obj = App(home, actor)


for section in SECTIONS.values():
    for command in section:
        cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; each error is one line on stderr and an exit code."""
    for name in QUIET:
        os.environ.setdefault(name, "error")
    try:
        given = list(sys.argv[1:] if arguments is None else arguments)
        for argument in given:  # databases and JSON hold UTF-8 alone
            if not _is_utf8(argument):
                raise click.UsageError(f"'{argument}' is not UTF-8 text.")
        code = cli.main(given, prog_name="uvr-registry", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = error.exit_code
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "uvr-registry"
        code = _fail(f"{usage_words(error)} See `{path} --help`.", error.exit_code)
    except click.ClickException as error:
        code = _fail(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt) as error:
        told = ["Stopped. Nothing unfinished was recorded.", *map(str, error.args)]
        code = _fail(" ".join(told), STOPPED)
    except UVRError as error:
        code = _fail(str(error), error.exit_code)
    except BrokenPipeError:  # as when `head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:
        if os.environ.get("UVR_TRACEBACK"):
            raise
        code = _fail(error_words(error), 1)
    sys.exit(code if isinstance(code, int) else 0)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fail(message: str, code: int) -> int:
    click.echo(f"Error: {printable(message)}", err=True)
    return code


if IMPORTING:
    signal.signal(signal.SIGINT, INTERRUPT)

if __name__ == "__main__":
    main()
