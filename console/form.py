"""What a form holds: short texts, and perhaps pictures; read within limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from concepts.errors import InputError

MAX_FIELDS = 4000
MAX_TEXT = 200_000
"""Characters of one field: a report of many pictures is the longest."""
MAX_FILES = 20
MAX_FORM = 1 << 20
"""Bytes of a form without files."""


class FieldError(InputError):
    """A field of a form holds what it cannot mean; its page says so beside it."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(why)
        self.field = field


@dataclass(frozen=True)
class Form:
    """The fields of a form by name, each with its values, and the files that were given.

    What a file was called where it came from is not kept: no name becomes a path.
    """

    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    files: tuple[bytes, ...] = ()

    @property
    def file(self) -> bytes | None:
        """The only file; None where none was given, and InputError where there are several."""
        if len(self.files) > 1:
            raise InputError(f"One file was expected, not {len(self.files)}.")
        return self.files[0] if self.files else None

    def text(self, name: str, otherwise: str = "") -> str:
        """Return a field's text without blanks around it; InputError where it is given twice."""
        values = self.fields.get(name, ())
        if len(values) > 1:
            raise InputError(f"The field '{name}' was given {len(values)} times.")
        return values[0].strip() if values else otherwise

    def many(self, name: str) -> tuple[str, ...]:
        """Return all values of a field."""
        return tuple(value.strip() for value in self.fields.get(name, ()))

    def flag(self, name: str) -> bool:
        """Whether a box was ticked."""
        return bool(self.text(name))

    def number(self, name: str, low: float, high: float) -> float:
        """Return a number within limits; InputError for anything else."""
        text = self.text(name)
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise FieldError(
                name, f"'{name}' must be a number from {low:,.15g} to {high:,.15g}, not '{text}'."
            )
        return value


async def read_form(request: Request) -> Form:
    """Read a request's form.

    Raises:
        InputError: It is no form, or larger than forms are.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _read_parts(request)
    if kind != "application/x-www-form-urlencoded":
        raise InputError("A form was expected.")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_FORM:
            raise InputError(f"A form has at most {MAX_FORM >> 20} MiB.")
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, encoding="utf-8", errors="strict",
            max_num_fields=MAX_FIELDS,
        )  # fmt: skip
    except ValueError as error:  # UnicodeDecodeError is one
        raise InputError("The form cannot be read.") from error
    return Form(_by_name(pairs))


async def _read_parts(request: Request) -> Form:
    try:
        limits = {"max_files": MAX_FILES, "max_fields": 50, "max_part_size": MAX_FORM}
        async with request.form(**limits) as parts:
            pairs = [(name, value) for name, value in parts.multi_items() if isinstance(value, str)]
            given = [value for _, value in parts.multi_items() if isinstance(value, UploadFile)]
            files = [await value.read() for value in given]
    except HTTPException as error:
        raise InputError(f"The form cannot be read: {error.detail}") from error
    return Form(_by_name(pairs), tuple(data for data in files if data))


def _by_name(pairs: list[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        if len(value) > MAX_TEXT:
            raise InputError(f"The field '{name}' has more than {MAX_TEXT:,} characters.")
        # Browsers end the lines of a text with two characters.
        found[name] = (*found.get(name, ()), value.replace("\r\n", "\n"))
    return found
