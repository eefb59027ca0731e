"""Words for what ended a command, where the error itself does not say it to its user."""

from __future__ import annotations

import errno

import click


def usage_words(error: click.UsageError) -> str:
    """Say what was wrong about the words of a command."""
    if isinstance(error, click.NoSuchOption) and error.option_name in ("--home", "--actor"):
        return f"{error.option_name} goes before the command."
    return error.format_message()


def error_words(error: Exception) -> str:
    """Write one line for an error that is not the user's, or the disk's."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "The disk is full. Nothing unfinished was recorded."
    if isinstance(error, OSError) and error.filename:
        return f"{error.strerror}: '{error.filename}'"
    first = next(iter(str(error).splitlines()), "")
    return f"internal, {type(error).__name__}: {first} (UVR_TRACEBACK=1 shows where)"
