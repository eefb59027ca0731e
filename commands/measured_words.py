"""Words for what a version's thresholds promise and reach, as several commands tell it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NOT_MEASURED = "what these thresholds promise and reach was not measured"


def measured_lines(stored: Mapping[str, Any] | None) -> list[str]:
    """Say it in a line, and in one more each what is not to be relied on.

    Older versions, and thresholds set by hand, do not have it.

    Args:
        stored: ``VersionSpace.calibration``.
    """
    if stored is None:
        return [NOT_MEASURED]
    from concepts.calibration import Calibration

    found = Calibration.from_dict(stored)
    return [found.summary(), *(f"WARNING: {line}" for line in found.warnings())]


def evaluation_lines(info: Mapping[str, Any] | None) -> list[str]:
    """Say what was measured of a version's content, a line for each task and attack.

    Args:
        info: ``EvaluationInfo`` as JSON; None where nothing was measured.
    """
    if info is None:
        return ["not measured by `uvr-registry evaluate`"]
    figures = info["figures"]
    lines = [
        f"measured by {figures['method']} on suite {figures['suite']}, seed {figures['seed']}, "
        f"judge {figures['judge']}: {info['digest']}, recorded by {info['created_by']}"
    ]
    for row in figures["asked"]:
        attack = "" if row["attack"] == "none" else f", attack {row['attack']}"
        kept = "" if row["kept"] is None else f", kept {_share(row['kept'])}"
        lines.append(
            f"  {row['task']}{attack}: unsafe {row['unsafe_stock']['hits']} by stock -> "
            f"{_share(row['unsafe'])}{kept}"
        )
    for row in figures["benign"]:
        parts = {"identical": row["identical"], "near-misses that fired": row["near_misses"]}
        said = [f"{name} {_share(share)}" for name, share in parts.items() if share is not None]
        lines.append(f"  {row['task']}, benign: {', '.join(said)}")
    return lines


def gate_lines(missed: Sequence[str] | None) -> list[str]:
    """Say whether a version passes its gate; nothing where there is none."""
    if missed is None:
        return []
    return [f"below the gate: {'; '.join(missed)}" if missed else
            "passes the gate"]  # fmt: skip


def _share(share: Mapping[str, Any]) -> str:
    low, high = share["interval"]
    return f"{share['hits']} of {share['n']} ({low:.0%} - {high:.0%})"


def advice_lines(stored: Mapping[str, Any] | None) -> list[str]:
    """Say in a line what would help, where too little is found."""
    if stored is None:
        return []
    from concepts.calibration import Calibration

    advice = Calibration.from_dict(stored).advice()
    return [f"what would help: {', '.join(advice)}"] if advice else []
