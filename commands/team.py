"""Commands on actors and the policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.app import App, pass_app
from commands.options import as_json, dry_run
from commands.output import field_lines
from commands.parameters import FILE, LARGEST
from commands.reading import read_gate_with_suite
from commands.table import Table
from concepts.words import ROLES

if TYPE_CHECKING:
    from concepts.gate import Gate
    from registry.change.policy import Policy
    from uvr.evaluation.suites.suite import Suite


@click.group()
def actor() -> None:
    """Say who may do what; while there is no actor, everyone may do everything.

    \b
    Example:
      uvr-registry actor set alice --role admin
    """


@actor.command("set")
@click.argument("name")
@click.option(
    "--role", "roles", multiple=True, type=click.Choice(ROLES), help="All of them; repeat it."
)
@click.option("--active/--inactive", default=None, help="Whether they may act.")
@dry_run
@as_json
@pass_app
def actor_set(app: App, name: str, roles: tuple[str, ...], active: bool | None) -> None:
    """Add an actor, or change one's roles. The first one must be an admin.

    \b
    Examples:
      uvr-registry actor set alice --role admin --role publisher
      uvr-registry --actor alice actor set bob --role reviewer
      uvr-registry --actor alice actor set bob --inactive
    """
    info = app.open().team.set(name, actor=app.actor, roles=roles or None, active=active)
    state = "" if info.active else " (inactive)"
    app.show(asdict(info), [f"{info.name}: {', '.join(info.roles) or 'no roles'}{state}"])


@actor.command("list")
@as_json
@pass_app
def actor_list(app: App) -> None:
    """List the actors and their roles.

    \b
    Example:
      uvr-registry actor list
    """
    rows = [asdict(info) for info in app.open().team.list()]
    nobody = "No actors: everyone may do everything. See `uvr-registry actor set`."
    app.show(rows, [Table(("name", "roles", "active", "created_at", "created_by"), rows, nobody)])


@click.group()
def policy() -> None:
    """Show and set what is asked for before a version is approved and a channel moves.

    \b
    Examples:
      uvr-registry policy show
      uvr-registry policy set --approvals 1 --no-self-approval
    """


@policy.command("show")
@as_json
@pass_app
def policy_show(app: App) -> None:
    """Show the policy.

    \b
    Example:
      uvr-registry policy show
    """
    _show_policy(app, app.open().team.policy())


@policy.command("set")
@click.option(
    "--approvals",
    type=click.IntRange(0, LARGEST),
    help="How many a version needs; 0 lets one person decide.",
)
@click.option(
    "--self-approval/--no-self-approval", default=None, help="Whether an author's own counts."
)
@click.option(
    "--signatures",
    type=click.IntRange(0, LARGEST),
    help="How many a release needs before it goes live.",
)
@click.option(
    "--max-shrink",
    type=click.FloatRange(0, 1),
    help="Share of regulated concepts that a release may lose unasked.",
)
@click.option(
    "--gate", "gate_file", type=FILE, help="What an evaluation must reach before an approval."
)
@click.option("--no-gate", is_flag=True, help="Ask for no evaluation.")
@dry_run
@as_json
@pass_app
def policy_set(app: App, /, gate_file: Path | None, no_gate: bool, **fields: Any) -> None:
    """Change the policy; what is not given stays.

    A gate is a YAML file with the name of a suite and bars by task, which `evaluate --record`
    measures a version against. The policy keeps the suite's digest, so no other one of its name
    will do.

    \b
    Examples:
      uvr-registry policy set --approvals 1 --no-self-approval --signatures 1
      uvr-registry policy set --gate gate.yaml
    """
    changes = {name: value for name, value in fields.items() if value is not None}
    if gate_file is not None and no_gate:
        raise click.UsageError("--gate sets a gate, --no-gate takes it away: give one of them.")
    suite = None
    if no_gate:
        changes["gate"] = None
    elif gate_file is not None:
        changes["gate"], suite = read_gate_with_suite(gate_file)
    if not changes:
        raise click.UsageError("Nothing to change: give --approvals, --signatures or another.")
    registry = app.open()
    _show_policy(app, registry.team.set_policy(actor=app.actor, **changes))
    if suite is not None:
        known = [item.slug for item in registry.concepts.list()]
        _warn_of_unmeasured(app, changes["gate"], suite, known)


def _warn_of_unmeasured(app: App, gate: Gate, suite: Suite, slugs: Sequence[str]) -> None:
    """Warn of the concepts that a gate holds for and its suite does not have."""
    held = {item.slug for item in suite.definitions}
    lacking = [slug for slug in slugs if gate.covers(slug) and slug not in held]
    if lacking:
        app.warn(
            f"The gate cannot measure {', '.join(lacking)}: the suite '{suite.name}' does not have "
            "them, so that no version of them passes. Limit the gate with `concepts:` in its file, "
            "or name a suite of your own that has them."
        )


def _show_policy(app: App, policy: Policy) -> None:
    fields = policy.to_dict()
    app.show(fields, field_lines({**fields, "gate": policy.gate and policy.gate.summary()}))
