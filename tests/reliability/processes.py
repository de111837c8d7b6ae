"""Processes that are forked before JAX uses a device, and how they end."""

import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path


def forked(work: Callable[[], None], said: Path) -> int:
    """Work in a process of its own, which says all to a file: its id."""
    if process := os.fork():
        return process
    try:
        os.setsid()
        with said.open("a") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        work()
        os._exit(0)
    except SystemExit as end:
        os._exit(int(end.code or 0))
    except BaseException:
        traceback.print_exc()
    os._exit(1)


def ended(process: int, wait: float) -> int | None:
    """The exit status of a process, below 0 for a signal; None if it goes on after so many seconds."""
    until = time.monotonic() + wait
    while True:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            return None
        time.sleep(0.01)
