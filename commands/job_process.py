"""The process that does one job: a command of this program, which ends with whoever began it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

from concepts.errors import BusyError

PATIENCE_S = 20.0
"""How long a process may take to stop before it is killed."""
READING_S = 5.0
"""How long its last words are waited for: another process may hold them open."""
LEASE = "UVR_JOB_LEASE"
"""Names in its environment the seconds after which it ends where ``renew`` was not called."""


class JobProcess:
    """A command that runs, told about by what it writes.

    Args:
        words: Of its command line, without the program.
        environment: What to add to this process's environment.

    Attributes:
        step: What it does.
        done: Steps done.
        total: Steps in all, 0 while that is not known.
        said: Its last line that is not about progress, or its error.
    """

    def __init__(self, words: Sequence[str], environment: Mapping[str, str]) -> None:
        self.step, self.said, self.done, self.total = "", "", 0, 0
        self._out = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        self._printed = b""
        self._stopped: float | None = None
        self._killed = False
        try:
            self._process = _begun(words, environment, self._out)
        except (OSError, ValueError):  # Words that the system does not take.
            self._out.close()
            raise
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait(self, seconds: float) -> int | None:
        """Wait so long at most; its exit code, or None while it runs."""
        if self._stopped is not None and time.monotonic() > self._stopped + PATIENCE_S:
            self._end_all()
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        self._end_all()
        self._reader.join(READING_S)
        return code

    def renew(self) -> None:
        """Let it run for another lease."""
        if self._process.stdin is not None:
            with suppress(OSError):  # It ended.
                os.write(self._process.stdin.fileno(), b".")

    def stop(self) -> None:
        """Have it stop as with Ctrl-C."""
        if self._stopped is None:
            self._stopped = time.monotonic()
            self._process.send_signal(signal.SIGINT)

    def close(self) -> None:
        """End it at once, if it still runs, and let go of all but what it printed."""
        self._end_all()
        self._process.wait()
        self._reader.join(READING_S)
        self._out.seek(0)
        self._printed = self._out.read()
        self._out.close()
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._process.stderr is not None and not self._reader.is_alive():
            self._process.stderr.close()

    @property
    def code(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._process.returncode

    def result(self) -> Any:
        """The JSON that it printed, None for anything else; known once it is closed."""
        try:
            return json.loads(self._printed)
        except ValueError:
            return None

    def _end_all(self) -> None:
        """Kill it, and once it ended what it began: that would go on, and hold its words open."""
        if not self._killed:
            self._killed = True
            with suppress(ProcessLookupError, PermissionError):  # All of it is gone.
                os.killpg(self._process.pid, signal.SIGKILL)

    def _read(self) -> None:
        for line in self._process.stderr or ():
            try:
                row = json.loads(line)
                self.step, self.done, self.total = row["step"], row["done"], row["total"]
            except (ValueError, TypeError, KeyError):
                self._hear(line.strip())

    def _hear(self, line: str) -> None:
        """Keep the last line; of an error, which ends a command, all of it."""
        if self.said.startswith("Error: ") and line and not line.startswith("Error: "):
            self.said = f"{self.said} {line}"
        else:
            self.said = line or self.said


def _begun(
    words: Sequence[str], environment: Mapping[str, str], out: IO[bytes]
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        # -P: with -m alone a cli.py in the folder that the worker was started in would be run.
        [sys.executable, "-P", "-m", __name__, *words],
        env={**os.environ, **environment},
        # Held open for as long as this process lives, and written to by ``renew``: see ``main``.
        stdin=subprocess.PIPE,
        stdout=out,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C is for whoever began it to pass on.
    )


def main() -> None:
    """Run a command of this program; end at once when whoever began this process is gone.

    A worker that is killed cannot stop what it began, nor can one that waits for others longer than
    its lease, and another worker begins the same anew.
    """
    # What a worker in the background ignores would be ignored here too, and ``stop`` asks by it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import cli

    cli.main(sys.argv[1:])


def _end_with_parent() -> None:
    lease = float(os.environ[LEASE]) if LEASE in os.environ else None
    # Not by sys.stdin, whose lock would be held when the interpreter ends.
    while select.select([0], [], [], lease)[0]:
        if not os.read(0, 4096):  # The other end is gone.
            os.kill(os.getpid(), signal.SIGKILL)
    os._exit(BusyError.exit_code)  # As where others are at it: whoever claims it tries again.


if __name__ == "__main__":
    main()
