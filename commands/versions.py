"""Commands on versions: compare, review and revoke them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from commands.app import App, pass_app
from commands.options import (
    as_json,
    dry_run,
    expect_digest,
    reason_option,
    reason_required,
    version_argument,
    yes,
)
from commands.output import (
    detail_lines,
    diff_lines,
    show_events,
    show_version,
)
from commands.parameters import NUMBER, SLUG
from commands.table import Table
from commands.text import version_name
from concepts.printable import printable
from concepts.words import so_far_words

if TYPE_CHECKING:
    from registry.registry import Registry

NO_REVIEW = (
    "The policy asks for no approvals; `uvr-registry policy set --approvals 1` changes that."
)


@click.command()
@click.argument("slug", type=SLUG)
@click.argument("before", type=NUMBER)
@click.argument("after", type=NUMBER)
@as_json
@pass_app
def diff(app: App, slug: str, before: int, after: int) -> None:
    """Show what changed between two versions: definition, thresholds, anchors.

    \b
    Example:
      uvr-registry diff testbed-pistol 1 2
    """
    found = app.open().versions.diff(slug, before, after).to_dict()
    app.show(found, diff_lines(found))


@click.command()
@version_argument
@click.option("--note", default="", help="What reviewers should know.")
@expect_digest
@dry_run
@as_json
@pass_app
def submit(app: App, version: tuple[str, int | None], note: str, expect_digest: str | None) -> None:
    """Submit a draft for review, the latest by default; from then on its content is fixed.

    \b
    Example:
      uvr-registry submit testbed-pistol --note "more drawings from the side"
    """
    versions = app.open().versions
    done = versions.submit(*version, actor=app.actor, note=note, expect_digest=expect_digest)
    at_once = done.state == "approved"
    show_version(app, done, *[NO_REVIEW] * at_once)
    if not at_once:
        name = version_name(done.slug, done.number)
        digest = done.content_digest
        app.hint(f"Next, a reviewer: uvr-registry approve {name} --expect-digest {digest}")


@click.command()
@version_argument
@reason_option
@click.option("--break-glass", is_flag=True, help="Approve alone, now; an admin, with --reason.")
@yes
@expect_digest
@click.option(
    "--expect-evaluation",
    metavar="SHA256",
    help="Refuse unless the newest evaluation has this digest, or is 'none'.",
)
@dry_run
@as_json
@pass_app
def approve(
    app: App,
    version: tuple[str, int | None],
    reason: str,
    break_glass: bool,
    expect_digest: str | None,
    expect_evaluation: str | None,
) -> None:
    """Approve a version in review: the content that you looked at, named by its digest.

    `show SLUG@NUMBER` gives the digest. Without --expect-digest this shows what is in review now
    (what differs from the version approved before, or else the definition; anchors, thresholds,
    what was measured and where the concept is live) and asks; --yes approves whatever that is. The
    approval keeps which evaluation was shown. Below the policy's gate the exit code is 9.

    \b
    Examples:
      uvr-registry --actor bob approve testbed-pistol@2 --expect-digest 3e9a...
      uvr-registry approve testbed-pistol --break-glass --reason "incident 12" --yes
    """
    if break_glass and not reason:
        raise click.UsageError("--break-glass needs --reason.")
    registry = app.open()
    if expect_digest is None:
        version, expect_digest, shown = _asked_for_review(app, registry, *version)
        expect_evaluation = expect_evaluation or shown
    done = registry.versions.approve(
        *version,
        actor=app.actor,
        reason=reason,
        break_glass=break_glass,
        expect_digest=expect_digest,
        expect_evaluation=expect_evaluation,
    )
    show_version(app, done)


@click.command()
@version_argument
@reason_required
@expect_digest
@dry_run
@as_json
@pass_app
def reject(
    app: App, version: tuple[str, int | None], reason: str, expect_digest: str | None
) -> None:
    """Send a version in review back to its author, as a draft.

    \b
    Example:
      uvr-registry --actor bob reject testbed-pistol --reason "also fires on water pistols"
    """
    versions = app.open().versions
    done = versions.reject(*version, actor=app.actor, reason=reason, expect_digest=expect_digest)
    show_version(app, done)


@click.command()
@version_argument
@reason_option
@expect_digest
@dry_run
@as_json
@pass_app
def deprecate(
    app: App, version: tuple[str, int | None], reason: str, expect_digest: str | None
) -> None:
    """Take an approved version out of use: a later release takes a newer one.

    Where there is none that is approved, a release names the concept with --drop, or the version
    with --concept.

    \b
    Example:
      uvr-registry deprecate testbed-pistol@1 --reason "version 2 is better"
    """
    versions = app.open().versions
    done = versions.deprecate(*version, actor=app.actor, reason=reason, expect_digest=expect_digest)
    show_version(app, done)


@click.command()
@version_argument
@reason_required
@yes
@expect_digest
@dry_run
@as_json
@pass_app
def revoke(
    app: App, version: tuple[str, int | None], reason: str, expect_digest: str | None
) -> None:
    """Revoke a version for good: no release may hold it again.

    \b
    Example:
      uvr-registry revoke testbed-pistol@1 --reason "fires on half of all hands" --yes
    """
    app.confirm(f"Revoke {version_name(*version)} for good?")
    registry = app.open()
    versions = registry.versions
    done = versions.revoke(*version, actor=app.actor, reason=reason, expect_digest=expect_digest)
    show_version(app, done)
    name = version_name(done.slug, done.number)
    for channel in registry.channels.list():
        held = registry.channels.live(channel.name).release.members
        if (done.slug, done.number) in {(item.slug, item.version) for item in held}:
            app.warn(
                f"{name} is still live in channel '{channel.name}', by "
                f"{channel.bundle}@{channel.sequence}. Release again, then move the channel."
            )


@click.command()
@click.option("--all", "every", is_flag=True, help="Also those that are closed.")
@as_json
@pass_app
def reviews(app: App, every: bool) -> None:
    """List what waits for review, with the approvals so far.

    \b
    Example:
      uvr-registry reviews
    """
    found = [asdict(item) for item in app.open().versions.requests(None if every else "open")]
    rows = [
        {**item, "approvals": so_far_words(item["approvals"], item["needed"])} for item in found
    ]
    columns = ("slug", "version", "state", "approvals", "authors", "opened_by", "note")
    app.show(found, [Table((*columns, "content_digest"), rows, "Nothing waits for review.")])


@click.command()
@click.argument("slug", type=SLUG)
@as_json
@pass_app
def log(app: App, slug: str) -> None:
    """Show a concept's history: its versions, reviews, releases and channels.

    \b
    Example:
      uvr-registry log testbed-pistol
    """
    show_events(app, app.open().audit.history(slug))


def _asked_for_review(
    app: App, registry: Registry, slug: str, number: int | None
) -> tuple[tuple[str, int | None], str | None, str | None]:
    """Show a version in review and ask; return it, its digest and its newest evaluation's."""
    found = [item for item in registry.versions.requests() if item.slug == slug]
    found = [item for item in found if number in (None, item.version)]
    if not found:
        return (slug, number), None, None  # The library says what is wrong.
    item = max(found, key=lambda request: request.version)
    detail = registry.versions.detail(slug, item.version)
    changes = None
    if detail.approved is not None:
        changes = registry.versions.diff(slug, detail.approved, item.version).to_dict()
    what = f"{version_name(slug, item.version)} by {', '.join(item.authors)}"
    note = f', "{item.note}"' if item.note else ""
    # Whatever changes meanwhile, the approval is for this digest alone.
    question = f"Approve {what}{note}, content {detail.version.content_digest}?"
    app.confirm(
        printable(question),
        "--expect-digest with the digest that you looked at, or --yes",
        detail_lines(detail, changes),
    )
    shown = next((item.digest for item in detail.version.evaluations), "none")
    return (slug, item.version), detail.version.content_digest, shown
