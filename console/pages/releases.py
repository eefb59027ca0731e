"""Releases: what each holds and changes, who signed it, and the channels that point to it."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import RedirectResponse, Response

from concepts.instant import now
from console.call import Call, go_to
from registry.answers import NewRelease
from registry.releases.channels import ChannelInfo


def releases(call: Call) -> Response:
    """List the releases, the newest first, with the channels that point to each."""
    channels: dict[tuple[str, int], list[str]] = {}
    for channel in call.registry.channels.list():
        channels.setdefault((channel.bundle, channel.sequence), []).append(channel.name)
    found = call.registry.releases.summaries()[::-1]
    return call.page("releases.html", at=now(), releases=found, channels=channels)


def newest(call: Call) -> Response:
    """Go to a bundle's newest release."""
    found = call.registry.releases.get(call.path["bundle"])
    return RedirectResponse(f"/releases/{found.bundle}/{found.sequence}", 303)


def release(call: Call) -> Response:
    """Show a release: its address stays."""
    registry, bundle, sequence = call.registry, call.path["bundle"], call.path["sequence"]
    found = registry.releases.get(bundle, sequence)
    channels = [item for item in registry.channels.list() if item.bundle == bundle]
    # A release of many concepts takes long to tell; only its number is needed here.
    newest = max(item.sequence for item in registry.releases.summaries() if item.bundle == bundle)
    needed = registry.team.policy().signatures
    signers = {item.key_id: item.name for item in registry.keys.list()}
    return call.page(
        "release.html",
        at=now(),
        release=found,
        channels=channels,
        signers=[signers.get(key_id, key_id[:16]) for key_id in found.signatures],
        needed=needed,
        is_newest=newest == sequence,
        next=next_steps(found, channels, needed) if newest == sequence else [],
    )


def next_steps(release: NewRelease, channels: Sequence[ChannelInfo], needed: int) -> list[str]:
    """Say what is still to be done until engines have the newest release of a bundle.

    Args:
        release: The release.
        channels: Those of its bundle.
        needed: How many signatures the policy asks for.
    """
    name, missing = f"{release.bundle}@{release.sequence}", needed - len(release.signatures)
    steps = []
    if missing > 0:
        what = "signature is" if missing == 1 else "signatures are"
        steps.append(
            f"{missing} {what} missing, made where a key is: `uvr-registry sign {name} --key FILE`."
        )
    here = [item.name for item in channels if item.sequence == release.sequence]
    behind = [f"{item.name} at {item.bundle}@{item.sequence}" for item in channels
              if item.sequence != release.sequence]  # fmt: skip
    if behind:
        steps.append(f"Not live yet in {', '.join(behind)}: point the channel to this release.")
    elif not channels:
        steps.append("Live in no channel: point one to this release, below.")
    steps += [
        f"Live in {channel}. Put the file where engines look: `uvr-registry bundle export "
        f"--channel {channel} --out {channel}.uvr`."
        for channel in here
    ]
    return steps


def move(call: Call) -> Response:
    """Point a channel to a release, if it still points where the page said."""
    form = call.form
    bundle, sequence = call.path["bundle"], call.path["sequence"]
    name = form.text("new_channel") or form.text("channel").partition(" ")[0]
    known = form.text("channel").partition(" ")[2]
    call.registry.channels.move(
        name, bundle, sequence, actor=call.actor, reason=form.text("reason"),
        expect_digest="" if form.text("new_channel") else known,
    )  # fmt: skip
    return go_to(f"/releases/{bundle}/{sequence}", "moved")
