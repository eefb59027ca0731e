"""Errors a user can fix, each with the exit code that the command line gives it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class UVRError(Exception):
    """Something went wrong that the user can do something about."""

    exit_code: ClassVar[int] = 1


class InputError(UVRError, ValueError):
    """A value is not allowed: what was found, and what is expected."""

    exit_code: ClassVar[int] = 2


class DefinitionError(InputError):
    """A concept definition is not valid: which file, line and field, and what is allowed."""


class NotFoundError(UVRError):
    """A concept, release, file or registry of that name does not exist."""

    exit_code: ClassVar[int] = 3


class ConflictError(UVRError):
    """The same thing exists already, or exists with other content."""

    exit_code: ClassVar[int] = 4


class SameContentError(ConflictError):
    """A version would get the content that it has, or another one of its concept."""


class PolicyError(UVRError):
    """The operation would break a rule of the registry."""

    exit_code: ClassVar[int] = 5


class ContentError(PolicyError):
    """A definition names what this system must not hold."""


class VerificationError(UVRError):
    """Bytes are not what their digest or their format says: a corrupt bundle, blob or payload."""

    exit_code: ClassVar[int] = 6


class MismatchError(VerificationError):
    """A bundle or anchor set was made for another model, task, revision or tap."""


class SignatureError(VerificationError):
    """Bytes are not signed by enough of the trusted keys."""


class ExpiredError(VerificationError):
    """A bundle was valid once; its time is over."""


class RollbackError(VerificationError):
    """A bundle is older than one that was seen before."""


class SchemaError(UVRError):
    """The database schema is not the one this release of the program works with."""

    exit_code: ClassVar[int] = 7


class BusyError(UVRError):
    """Another process holds the registry's write lock."""

    exit_code: ClassVar[int] = 8


class GateError(UVRError):
    """A measured quality is below its gate."""

    exit_code: ClassVar[int] = 9


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the option closest to a word, or "" when none is close."""
    close = difflib.get_close_matches(word, list(options), n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""
