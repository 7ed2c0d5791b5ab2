"""A command in a terminal of its own, of a width that the test says."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from types import TracebackType
from typing import Final

from tests.patience import PROCESS_SECONDS

_STYLE: Final = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """`perdure` with its three streams on a pseudo-terminal; leaving it ends the process."""

    def __init__(self, *arguments: str, columns: int = 100, program: tuple[str, ...] = (), **environment: str) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        known = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        try:
            self._process = subprocess.Popen(
                program or (sys.executable, "-m", "perdure", *arguments),
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                env={**known, "TERM": "xterm-256color", **environment},
                start_new_session=True,
                # The terminal is the process's own, so that Ctrl-C typed into it is a signal.
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,
            )
        finally:
            os.close(theirs)
        self._until = time.monotonic() + PROCESS_SECONDS
        self.shown = ""

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def plain(self) -> str:
        """What is shown, without its colours and bells."""
        return _STYLE.sub("", self.shown).replace("\r\n", "\n").replace("\a", "")

    def wait_for(self, text: str) -> None:
        """Until the terminal has shown it."""
        while text not in self.plain:
            assert self._read(), f"the command ended and never showed {text!r}: {self.shown!r}"

    def enter(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def wait(self) -> int:
        """Until the command has ended; gives its status."""
        while self._read():
            pass
        return self._process.wait(PROCESS_SECONDS)

    def _read(self) -> bool:
        """Whether more was shown, rather than the end come."""
        ready, _, _ = select.select([self._ours], [], [], max(0.0, self._until - time.monotonic()))
        assert ready, f"nothing came in time: {self.shown!r}"
        try:
            piece = os.read(self._ours, 65_536)
        except OSError:  # what Linux says when nobody has the other end open
            return False
        self.shown += piece.decode("utf-8", "replace")
        return bool(piece)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._ours)
