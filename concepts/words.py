"""The words that definitions, bundles, the registry and engines share: one list of each."""

from __future__ import annotations

from collections.abc import Collection

TASKS = ("t2i", "edit", "check")
"""What a model is used for: a picture from a text, a picture changed as a text says, or a look at a
finished picture, whatever it was drawn for."""

CATEGORIES = ("nudity", "ip-character", "object")
"""What kind of thing a concept is."""

RULES = ("mean", "whitened", "logistic")
"""How a scorer is fitted; "mean" is the reference's."""

VARIANTS = ("smaller", "cropped", "moved", "flipped", "recoloured")
"""What is made of a reference picture, to collect anchors from as well."""

MODES = ("enforce", "log", "shadow")
"""What happens where a concept is found, as options and files name it."""

MODE_WORDS = {"enforce": "regulated", "log": "reported only", "shadow": "tried silently"}
"""The same as people say it: on pages and sheets alone, in commands beside its name."""

APPROVAL_WORDS = {
    "review": "approved by",
    "break_glass": "approved alone, in an emergency, by",
    "policy": "released without review by",
}
"""How a version was approved, before the names of who did."""

BY_HAND = "strictness set by hand, not measured"
"""What is said of a threshold that nothing was measured at."""

RESIDUAL = ("pass", "flag", "retry", "block", "retry-or-block")
"""What an engine does with a picture in which its check still finds something."""

STATES = ("draft", "in_review", "approved", "deprecated", "revoked")
"""Where a version of a concept stands."""

REQUEST_STATES = ("open", "approved", "rejected", "withdrawn")
"""Where the request to review a version stands."""

JOB_KINDS = (
    "collect-anchors", "calibrate", "draw-examples", "score-exemplars", "evaluate", "try",
)  # fmt: skip
"""What a worker does for an actor."""

JOB_STATES = ("waiting", "running", "done", "failed", "cancelled")
"""Where a job stands."""

ROLES = ("admin", "auditor", "curator", "publisher", "reviewer")
"""What an actor of a registry may do."""

INDEX_KINDS = ("flat", "fp16", "rabitq", "ivf")
"""How an index keeps its vectors, from the most exact to the smallest."""


def approved_words(approval: str, by: Collection[str]) -> str:
    """Write who approved a version, such as "approved by ann, bob"; "" is before reviews."""
    if not by or approval not in APPROVAL_WORDS:
        return "nothing tells who approved it"
    return f"{APPROVAL_WORDS[approval]} {', '.join(by)}"


def so_far_words(by: Collection[str], needed: int) -> str:
    """Write who approved what waits for review, such as "approved by ann (1 of 2)"."""
    return f"approved by {', '.join(by) or 'nobody so far'} ({len(by)} of {needed})"
