"""Which suites ship with the package, known without loading any."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from concepts.errors import NotFoundError, did_you_mean


def shipped_suites() -> list[str]:
    """Names of the suites that ship with the package."""
    folder = files("uvr.evaluation.suites")
    return sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".yaml"))


def check_suite(name: Path | str) -> None:
    """Refuse what is neither a shipped suite nor a YAML file; NotFoundError names those there are.

    A file that is not there is refused when it is read.
    """
    path, known = Path(name), shipped_suites()
    if str(name) not in known and not path.exists() and path.suffix not in (".yaml", ".yml"):
        hint = did_you_mean(str(name), known)
        raise NotFoundError(f"No suite '{name}'. There are: {', '.join(known)}.{hint}")
