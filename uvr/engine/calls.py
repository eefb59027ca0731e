"""The calls of one pipeline, and of its transformer within them: one at a time, from end to end.

A pipeline keeps the state of a call in itself and its scheduler, and the attention layers of a
transformer share theirs: two threads in one pipeline would mix their pictures. So calls of other
threads wait, and the transformer runs within a call of its own pipeline or not at all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from concepts.errors import UVRError
from uvr.engine.interception import calls_through, module_calls_through
from uvr.engine.schedule import around_set_timesteps
from uvr.families.attention import NOT_READY

_WITHIN = (
    "A regulated pipeline was called within its own call, as by a callback; its scheduler cannot "
    "serve both. Call it after that call."
)
_BUSY = (
    "The scheduler of a regulated pipeline is in use by a call in another thread. Give each "
    "pipeline a scheduler of its own."
)
_DETACHED = (
    "The regulator was detached before a call of the pipeline ended, and the picture may be "
    "unregulated. Leave the `with` block after the last call."
)


class PipelineCalls:
    """What one pipeline is called for, while it is watched.

    Args:
        pipe: The pipeline.
        start: Called in a call whenever the scheduler got a new schedule: a generation begins.
        transformer_call: Takes the place of calls of the transformer.
        pipeline_call: Takes the place of calls of the pipeline; its first argument is the
            pipeline's own call.
    """

    def __init__(
        self,
        pipe: Any,
        start: Callable[[], None],
        transformer_call: Callable[..., Any],
        pipeline_call: Callable[..., Any],
    ) -> None:
        self._pipe = pipe
        self._transformer = pipe.transformer
        self._start = start
        self._transformer_call = transformer_call
        self._pipeline_call = pipeline_call
        self._turn = threading.RLock()
        self._caller: int | None = None
        self._open = False

    @contextmanager
    def watched(self) -> Iterator[Callable[..., Any]]:
        """Watch the pipeline within the context; gives the transformer's own call.

        The context ends when the call that runs in another thread has ended.
        """
        with ExitStack() as stack:
            transformer = module_calls_through(self._transformer, self._within)
            run_transformer = stack.enter_context(transformer)
            self._run = stack.enter_context(calls_through(self._pipe, self._call))
            self._open = True
            try:
                yield run_transformer
            finally:
                with self._turn:
                    self._open = False
                    stack.close()

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        if self._is_mine:
            raise UVRError(_WITHIN)
        with self._turn:
            self._check_open()
            if self._transformer._compiled_call_impl != self._within:
                raise UVRError(NOT_READY)
            self._caller = threading.get_ident()
            try:
                with around_set_timesteps(self._pipe.scheduler, self._check_thread, self._start):
                    result = self._pipeline_call(self._run, *args, **kwargs)
                self._check_open()
                return result
            finally:
                self._caller = None

    def _within(self, *args: Any, **kwargs: Any) -> Any:
        if not self._is_mine:
            raise UVRError(NOT_READY)
        return self._transformer_call(*args, **kwargs)

    @property
    def _is_mine(self) -> bool:
        return self._caller == threading.get_ident()

    def _check_thread(self) -> None:
        if not self._is_mine:
            raise UVRError(_BUSY)

    def _check_open(self) -> None:
        if not self._open:
            raise UVRError(_DETACHED)
