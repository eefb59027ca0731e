"""A bundle file that is opened once; ``uvr.delivery.source`` follows one that changes."""

from __future__ import annotations

from pathlib import Path
from types import EllipsisType

from concepts.bundle import Bundle, read_bundle
from concepts.errors import InputError, VerificationError
from concepts.signing.keys import KeyList
from uvr.delivery.matchable import check_matchable
from uvr.delivery.trust import read_keys

UNSAID = ...
"""No answer to who may have signed a bundle: neither keys, nor None for whoever it was."""

Keys = KeyList | Path | str | EllipsisType | None


def open_bundle(path: Path | str, keys: Keys) -> Bundle:
    """Read and verify a bundle file.

    Args:
        path: The file.
        keys: Who may have signed it, or the file with their key list; None checks the file against
            damage alone: only for one that nobody else can write.

    Raises:
        InputError: It is an address, or nobody said who may have signed it.
        NotFoundError: There is no such file, or no such key list.
        VerificationError: It is damaged, or not signed by enough of the keys.
    """
    if "://" in str(path):
        raise InputError(
            f"'{path}' is an address, the path of a bundle file is expected. "
            "uvr.delivery.source.BundleSource follows addresses."
        )
    if isinstance(keys, EllipsisType):
        raise InputError(
            f"Who may have signed '{path}'? Give keys='keys.json', the file that `uvr-registry key "
            "export` writes; or keys=None to check it against damage alone, if nobody else can "
            "write it."
        )
    trusted = read_keys(Path(keys) if isinstance(keys, str) else keys)
    try:
        bundle = read_bundle(path, trusted)
        check_matchable(bundle)
    except VerificationError as error:
        raise type(error)(f"'{path}': {error}") from error
    return bundle
