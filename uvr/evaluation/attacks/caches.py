"""Caches: layers that a cache skips are not regulated, so a regulator must refuse them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from diffusers import hooks

from uvr.evaluation.attacks.attack import Attack
from uvr.evaluation.attacks.refusal import or_refused
from uvr.evaluation.drawing import Drawer
from uvr.evaluation.methods.method import Method
from uvr.evaluation.setting import Setting


@dataclass(frozen=True)
class CacheBefore(Attack):
    """First-block cache, turned on before the method is opened.

    Attributes:
        threshold: Of the cache: it skips blocks while the first changes less than this.
    """

    threshold: float = 0.1

    name = "cache"
    about = "The caller turns on diffusers' first-block cache before the method is opened."
    code = ("uvr.evaluation.attacks.refusal",)

    @contextmanager
    def open(self, pipe: Any, method: Method, setting: Setting) -> Iterator[Drawer]:
        """Refused by a method that cannot do with it."""
        with self.cached(pipe), or_refused(method.open(pipe, setting), setting.profile) as draw:
            yield draw

    @contextmanager
    def cached(self, pipe: Any) -> Iterator[None]:
        """The cache on, and off again."""
        pipe.transformer.enable_cache(hooks.FirstBlockCacheConfig(threshold=self.threshold))
        try:
            yield
        finally:
            pipe.transformer.disable_cache()


@dataclass(frozen=True)
class CacheAfter(CacheBefore):
    """The same, turned on after the method was opened."""

    name = "cache-after-attach"
    about = "The caller turns the cache on once the method is open."

    @contextmanager
    def open(self, pipe: Any, method: Method, setting: Setting) -> Iterator[Drawer]:
        """Opened, then cached."""
        with or_refused(method.open(pipe, setting), setting.profile) as draw, self.cached(pipe):
            yield draw
