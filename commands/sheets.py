"""The pictures of a sheet, drawn or given, and what is told of them in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from commands.output import ProgressBar, progress_bar
from commands.text import plural

if TYPE_CHECKING:
    from console.evidence.pictures import Pictured, Place
    from registry.answers import VersionDetail
    from registry.registry import Registry
    from uvr.profiles import ModelProfile


def draw_pictures(
    registry: Registry,
    model: str,
    profile: ModelProfile | None,
    count: int,
    places: list[Place],
    progress: ProgressBar = progress_bar,
) -> dict[str, str]:
    """Draw what the cache lacks; return why a place was not drawn, by the digest of its space."""
    from console.evidence.drawing import draw_lacking  # It loads torch.

    return draw_lacking(
        registry.home, places, model=model, profile=profile, count=count, progress=progress
    )


def given_pictures(
    registry: Registry,
    detail: VersionDetail,
    places: list[Place],
    folders: dict[str, Path],
    model: str,
    profile: ModelProfile | None,
) -> list[Pictured]:
    """Look at the pictures in folders by each place of a version; they are kept nowhere.

    Args:
        registry: The registry.
        detail: The version.
        places: Its models and tasks.
        folders: "images", "benign" and "scratch", as ``console.evidence.drawing.Folders`` has them.
        model: What looks at them.
        profile: Of that model; None for its own.
    """
    from console.evidence.drawing import Folders, look_at_given

    return [
        look_at_given(
            registry, detail, place, Folders(**folders), model=model, profile=profile,
            progress=progress_bar,
        )
        for place in places
    ]  # fmt: skip


def picture_lines(name: str, pictures: Sequence[Pictured]) -> list[str]:
    """Write what a page of pictures says first, a line for each task."""
    lines = []
    for item in pictures:
        where = f"{name} {item.place.task}"
        if item.examples is None:
            lines.append(f"{where}: {item.note}")
            continue
        rates = item.examples.rates()
        told = {
            "must-catch pictures caught": rates.must_catch,
            "look-alikes wrongly caught": rates.look_alikes,
            "ordinary pictures wrongly caught": rates.benign,
        }
        parts = [f"{share} {what}" for what, share in told.items() if share is not None]
        if strayed := item.examples.strayed():
            parts.insert(1, f"{len(strayed)} of them caught for another thing in it")
        changed = item.changed
        if item.before is not None:
            parts.append(f"{plural(len(changed), 'picture')} decided otherwise than before")
        lines.append(f"{where}: {', '.join(parts)}")
    return lines
