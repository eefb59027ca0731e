"""Profiles as files: YAML that people read and change, and that is written back the same.

A profile that a file holds is for a model that this project does not know, such as a checkpoint of
one's own; ``uvr-registry analyse`` proposes one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from concepts.printable import printable
from concepts.yaml_text import read_text, read_yaml
from uvr.profile_fields import check
from uvr.profiles import ModelProfile, ProfileError

_HEAD = "A model's profile, for `--profile` and `Regulator(profile=...)`."
_COMMENTS = {
    "name": "Names the profile, in reports.",
    "model": "Names the model, in anchors and bundles: those of another name do not fit.",
    "task": "t2i (text-to-image) or edit.",
    "taps": "Attention layers whose output is scored, joined in this order.",
    "sigma": "Noise level, 0 to 1, at which anchors are taken and generations are looked at.",
    "stage_end": "Regulation goes on while the noise level is at least this.",
    "restrict": "What becomes of masked patches: (1 - strength) as they are + strength * fill.",
    "modulate": "Factors on what is seen of a reference picture under the mask and around it.",
    "dilation": "Patches added around what was found.",
    "close_gaps": "Whether gaps and holes of what was found are filled.",
    "calibration": "How thresholds are fitted, where a concept's definition does not say.",
    "call": "Arguments of a pipeline call for this model's usual pictures.",
}


def parse_profile(text: str, source: str = "<text>") -> ModelProfile:
    """Read a profile from YAML.

    Args:
        text: The YAML document.
        source: What to call it in errors, usually the file's path.

    Raises:
        ProfileError: Says source and line, field, what was found and what is allowed.
    """
    return ModelProfile.from_dict(read_yaml(text, source, check, ProfileError))


def load_profile(path: Path | str) -> ModelProfile:
    """Read a profile from a YAML file.

    Raises:
        NotFoundError: If there is no such file.
        ProfileError: If it cannot be read or is not valid.
    """
    path = Path(path)
    return parse_profile(read_text(path, "profile", ProfileError), str(path))


def dump_profile(profile: ModelProfile, notes: Sequence[str] = ()) -> str:
    """Write a profile as YAML with a comment for each field, which ``parse_profile`` reads.

    Args:
        profile: The profile; the same one is always written the same.
        notes: More comments for the head, such as what was measured.
    """
    lines = [f"# {printable(line)}".rstrip() for line in (_HEAD, *notes)]
    for name, value in profile.to_dict().items():
        if value not in (None, {}):
            lines += ["", f"# {_COMMENTS[name]}", _yaml({name: value})]
    return "\n".join(lines) + "\n"


def _yaml(data: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump(dict(data), sort_keys=True, width=100)
    return text.rstrip()
