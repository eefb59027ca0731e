"""Read the files that commands are given: definitions, bundles, keys."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from concepts.errors import ConflictError, NotFoundError, VerificationError, did_you_mean

if TYPE_CHECKING:
    from concepts.bundle import Bundle
    from concepts.definition import ConceptDefinition
    from concepts.gate import Gate
    from concepts.signing.keys import KeyList, PrivateKey
    from uvr.evaluation.suites.suite import Suite
    from uvr.profiles import ModelProfile


def read_bundle_file(file: Path, keys: KeyList | None, at: str | None = None) -> Bundle:
    """Read and check a bundle; what is wrong with it names the file."""
    from concepts.bundle import read_bundle

    if file.is_dir():
        raise click.UsageError(f"'{file}' is a folder, a bundle file is expected.")
    try:
        return read_bundle(file, keys, at=at)
    except VerificationError as error:
        raise type(error)(f"'{file}': {error}") from error


def require_ray() -> None:
    """Refuse `--engine ray` where Ray is not installed, before the slow imports."""
    if find_spec("ray") is None:
        raise NotFoundError("Ray is not installed: pip install '.[ray]' in its source folder.")


def check_model(model: str) -> None:
    """Refuse a name that no model can have, before the slow imports; the hub alone knows more."""
    folder = Path(model)
    if model == "testbed" or (folder / "model_index.json").is_file():
        return
    if folder.is_dir():
        raise NotFoundError(f"The folder '{model}' holds no pipeline: no model_index.json in it.")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", model):
        raise NotFoundError(
            f"No model '{model}': 'testbed', a folder with a pipeline, or a repository of the hub, "
            f"OWNER/NAME, is expected.{did_you_mean(model, ['testbed'])}"
        )


def read_profile(path: Path | None) -> ModelProfile | None:
    """Read a model's profile, if one is given."""
    if path is None:
        return None
    from uvr.profile_file import load_profile

    return load_profile(path)


def read_gate(path: Path) -> Gate:
    """Read a gate; its suite, a shipped one or a file beside the gate, is named by its digest."""
    return read_gate_with_suite(path)[0]


def read_gate_with_suite(path: Path) -> tuple[Gate, Suite]:
    """Read a gate as ``read_gate`` does, and its suite."""
    from concepts.gate import load_gate

    gate = load_gate(path)
    from uvr.evaluation.suites.suite import load_suite

    beside = path.parent / gate.suite
    suite = load_suite(beside if beside.is_file() else gate.suite)
    digest = gate.suite_digest or suite.cases_digest
    if digest != suite.cases_digest:
        raise ConflictError(
            f"'{path}' asks for the suite '{gate.suite}' of digest {digest[:12]}, and it has "
            f"{suite.cases_digest[:12]}. Look at what changed, then leave suite_digest out."
        )
    return replace(gate, suite=suite.name, suite_digest=digest), suite


def read_file(path: Path, what: str) -> bytes:
    """Read a whole file; ``what`` it should be is named where it is missing."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NotFoundError(f"No {what} at '{path}'.") from error


def read_definition(source: str) -> ConceptDefinition:
    """Read a definition from a YAML file, or one that ships with the project."""
    from concepts.definition import load_definition, load_shipped

    path = Path(source)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return load_definition(path)
    try:
        return load_shipped(source)
    except NotFoundError as error:
        hint = "See `uvr-registry concepts --shipped`, or give a YAML file."
        raise NotFoundError(f"{error} {hint}") from error


def read_key_list(path: Path | None) -> KeyList | None:
    """Read a key list, if one is given."""
    if path is None:
        return None
    from concepts.signing.keys import KeyList

    data = read_file(path, "key list")
    if b"-----BEGIN" in data:
        raise VerificationError(
            f"'{path}' is a key; the key list of `uvr-registry key export` is expected."
        )
    try:
        return KeyList.from_bytes(data)
    except VerificationError as error:
        raise VerificationError(f"'{path}': {error}") from error


def read_private_keys(paths: Iterable[Path]) -> list[PrivateKey]:
    """Read private keys, asking for the passphrase of an encrypted one."""
    return [_private_key(path) for path in paths]


def _private_key(path: Path) -> PrivateKey:
    from concepts.signing.keys import PrivateKey

    data, passphrase = read_file(path, "private key"), None
    if b"ENCRYPTED" in data:
        passphrase = os.environ.get("UVR_KEY_PASSPHRASE")
        if not passphrase and not sys.stdin.isatty():
            raise click.UsageError(f"The key '{path}' is encrypted: set UVR_KEY_PASSPHRASE.")
        passphrase = passphrase or click.prompt(f"Passphrase of {path}", hide_input=True, err=True)
    try:
        return PrivateKey.from_pem(data, passphrase)
    except VerificationError as error:
        raise VerificationError(f"'{path}': {error}") from error
