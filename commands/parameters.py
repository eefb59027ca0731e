"""Types of arguments and options: names, versions, instants, pairs, paths."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from commands.app import App
from concepts.errors import UVRError
from concepts.files import check_writable
from concepts.instant import parse_instant, parse_moment

if TYPE_CHECKING:
    from registry.registry import Registry

    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType

LARGEST = 2**31 - 1  # that both databases' integers hold


class Named(ParamType):
    """The name of something in the registry, which the shell completes."""

    def __init__(self, name: str, names: Callable[[Registry], Iterable[str]]) -> None:
        self.name = name
        self._names = names

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names that begin like this; none when the registry cannot be read."""
        try:
            found = self._names(App(ctx.find_root().params.get("home")).open())
            return [CompletionItem(name) for name in found if name.startswith(incomplete)]
        except UVRError:
            return []


def _slugs(registry: Registry) -> list[str]:
    return [info.slug for info in registry.concepts.list()]


class VersionName(Named):
    """``NAME`` or ``NAME@NUMBER``; gives both, the number None where there is none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int | None]:
        """Split the slug from the number."""
        slug, at, number = str(value).partition("@")
        if at and not re.fullmatch("[1-9][0-9]{0,8}", number):
            form = self.name.upper()
            self.fail(f"'{value}' is neither {form} nor {form}@NUMBER.", param, ctx)
        return slug, int(number) if at else None


def one_sequence(release: tuple[str, int | None], sequence: int | None) -> tuple[str, int | None]:
    """Return a release that was named in one way or the other; UsageError for both."""
    bundle, number = release
    if number is not None and sequence is not None:
        raise click.UsageError(f"'{bundle}@{number}' says which release: leave {sequence} out.")
    return bundle, sequence if number is None else number


class Instant(ParamType):
    """An instant, a date, or a time from now; gives the instant."""

    name = "instant"
    _read = staticmethod(parse_instant)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Parse the text."""
        try:
            return self._read(str(value))
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


class Moment(Instant):
    """A time to look at; gives the instant, of a date alone the end of that day or now."""

    name = "moment"
    _read = staticmethod(parse_moment)


class Pair(ParamType):
    """``NAME=VALUE``; gives both."""

    def __init__(self, name: str, value: ParamType) -> None:
        self.name = name
        self._value = value

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        """Split the name from the value."""
        name, equals, text = str(value).partition("=")
        if not (name and equals):
            self.fail(f"'{value}' is not {self.name}.", param, ctx)
        return name, self._value.convert(text, param, ctx)


class EngineName(ParamType):
    """``local``, ``ray`` or ``ray=ADDRESS``; gives both words, None for no address."""

    name = "engine"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str | None]:
        """Split the engine from its address."""
        if isinstance(value, tuple):  # the default, once converted
            return value
        name, equals, address = str(value).partition("=")
        if name not in ("local", "ray") or (equals and not (name == "ray" and address)):
            self.fail(f"'{value}' is none of local, ray and ray=ADDRESS.", param, ctx)
        if "://" in address:
            self.fail(f"'{address}' is a client's address; give the head's, HOST:PORT.", param, ctx)
        return name, address or None


class Threshold(ParamType):
    """A number, or "none" for the scorer's own."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | None:
        """Parse the text."""
        if value == "none":
            return None
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if not abs(number) < float("inf"):
            self.fail(f"'{value}' is neither a number nor 'none'.", param, ctx)
        return number


class PathName(click.Path):
    """A path; the empty one, such as an unset variable of a script, is a mistake."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check that it names something."""
        if not os.fspath(value):
            self.fail("the path is empty.", param, ctx)
        return super().convert(value, param, ctx)


class Output(PathName):
    """A place to write; checked before the command begins, since what is recorded stays.

    Args:
        folder: Whether the command writes files into it, and does not write it.
    """

    def __init__(self, *, folder: bool = False, dir_okay: bool = True) -> None:
        super().__init__(dir_okay=dir_okay, path_type=Path)
        self._folder = folder

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check that it is not the registry's own, and that a file there can be written."""
        path: Path = super().convert(value, param, ctx)
        if ctx is not None and (app := ctx.find_object(App)) is not None:
            app.check_output(path)
        if not self._folder:
            check_writable(path)
        return path


SLUG = Named("slug", _slugs)
VERSION = VersionName("slug", _slugs)
BUNDLE = Named("bundle", lambda registry: {info.bundle for info in registry.releases.list()})
RELEASE = VersionName("bundle", lambda registry: {i.bundle for i in registry.releases.list()})
CHANNEL = Named("channel", lambda registry: [info.name for info in registry.channels.list()])
NUMBER = click.IntRange(1, LARGEST)
SIDE = click.IntRange(16, 8192)
PATH = PathName(path_type=Path)
FILE = PathName(dir_okay=False, path_type=Path)
OUT = Output()
OUT_FILE = Output(dir_okay=False)
OUT_FOLDER = Output(folder=True)
