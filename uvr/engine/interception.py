"""Have every call of one object go to a function, and of no other object of its class."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from concepts.errors import UVRError

Function = Callable[..., Any]

_THROUGH = "_uvr_through"


@contextmanager
def module_calls_through(module: Any, through: Function) -> Iterator[Function]:
    """Have calls of a module go to a function, within the context; gives the module's own call.

    This is around ``module.compile()``, which would trace hooks of the module, and the module keeps
    its class, which ``from_pipe`` compares.
    """
    compiled = module._compiled_call_impl
    module._compiled_call_impl = through
    try:
        yield compiled or module._call_impl
    finally:
        if module._compiled_call_impl is through:  # Not compiled meanwhile.
            module._compiled_call_impl = compiled


@contextmanager
def calls_through(target: Any, through: Function) -> Iterator[Function]:
    """Have calls of an object go to a function, within the context; gives the object's own call.

    Python looks ``__call__`` up on the class, so the object gets a class of its own for as long.
    """
    original: Any = type(target)
    vars(target)[_THROUGH] = through
    target.__class__ = _intercepted(original)
    try:
        yield functools.partial(original.__call__, target)
    finally:
        target.__class__ = original
        del vars(target)[_THROUGH]


@functools.cache
def _intercepted(cls: Any) -> Any:
    """A class like another one whose objects may have their calls go to a function."""

    @functools.wraps(cls.__call__)
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807
        through = vars(self).get(_THROUGH)  # None for what was made of the class meanwhile.
        return cls.__call__(self, *args, **kwargs) if through is None else through(*args, **kwargs)

    def __reduce_ex__(self: Any, protocol: Any) -> Any:  # noqa: N807
        raise UVRError(
            f"A {cls.__name__} cannot be copied or pickled while a regulator is attached. Leave "
            "the `with` block first."
        )

    names = {name: getattr(cls, name) for name in ("__doc__", "__module__", "__qualname__")}
    own = {"__call__": __call__, "__reduce_ex__": __reduce_ex__}
    return type(cls.__name__, (cls,), {**names, **own})
