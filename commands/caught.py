"""What engines found in a picture: by a report, by a decision log, or by a check of it now."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from commands.reading import check_model
from concepts.errors import NotFoundError
from concepts.instant import now

if TYPE_CHECKING:
    from PIL import Image

    from concepts.bundle import Bundle
    from evidence.caught import CaughtIn
    from registry.registry import Registry
    from uvr.checking import CheckedPicture
    from uvr.decisions.reading import LoggedDecisions
    from uvr.profiles import ModelProfile


def caught_in(
    registry: Registry, subject: str, log: LoggedDecisions | None, model: str
) -> list[CaughtIn]:
    """Return what was found in the picture or pictures that a subject names.

    Args:
        registry: Where releases are live.
        subject: A report, ``*.json``; the name of a request in the log; or a picture.
        log: A decision log, if there is one.
        model: What a picture that no log has is checked with.

    Raises:
        ConflictError: Many pictures in the log have the pixels of this one.
        NotFoundError: The log has no such request; or a picture is in no log, and nothing is live.
        MismatchError: A picture is in no log, and what is live has no anchors for checking.
    """
    from evidence.caught import caught_by_decisions, caught_by_report, caught_in_pictures
    from uvr.report import RegulationReport

    path = Path(subject)
    if path.suffix == ".json":
        return caught_by_report(RegulationReport.load(path), f"'{path}'")
    if not path.is_file():
        if log is None:
            raise NotFoundError(
                f"No file '{subject}'. To look for a request of that name give --log."
            )
        return caught_by_decisions(log.of_request(subject), f"request '{subject}'")
    from uvr.anchors.pictures import read_picture
    from uvr.decisions.decision import pixels_digest

    image = read_picture(path)
    if log is not None and (decisions := log.of_picture(pixels_digest(image))):
        return caught_in_pictures(decisions, f"'{subject}'")
    return _of_live(registry, image, subject, model)


def _of_live(registry: Registry, image: Image.Image, subject: str, model: str) -> list[CaughtIn]:
    """Check a picture against each release that is live in a channel now."""
    from evidence.caught import CaughtIn
    from registry.operations import Caught

    check_model(model)
    found = []
    channels = registry.channels.list()
    if not channels:
        raise NotFoundError(
            f"No decision log has '{subject}', and no channel is live to check it against: give "
            "--log, or move a channel."
        )
    releases = {(item.bundle, item.sequence): [] for item in channels}  # type: ignore[var-annotated]
    for item in channels:
        releases[item.bundle, item.sequence].append(item.name)
    for (bundle, sequence), names in releases.items():
        seen = checked(image, registry.releases.bundle(bundle, sequence), model)
        caught = [
            Caught(item.slug, item.version, item.mode, item.score, item.threshold,
                   seen.verdict.bundle, now(), seen.space, item.feature)
            for item in seen.findings if item.fired
        ]  # fmt: skip
        where = f"'{subject}', checked by release {sequence} of '{bundle}' ({', '.join(names)})"
        found.append(CaughtIn(where, caught))
    return found


def checked(
    image: Image.Image,
    bundle: Bundle,
    model: str,
    profile: ModelProfile | None = None,
    checks: Sequence[str] = ("features",),
) -> CheckedPicture:
    """Check a picture with a model that is loaded for it; see ``uvr.checking``."""
    from commands.pictures import checks_named
    from uvr.checking import check_picture
    from uvr.pipelines import load_pipeline

    pipe, found = load_pipeline(model, None, profile)
    return check_picture(pipe, found, bundle, image, checks_named(checks))
