"""Processes that are forked before JAX uses a device, and how they end."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import jax

from experiments import console


def script(name: str, flags: Sequence[str], said: Path) -> int:
    """A script in a process of its own: its id."""
    module = import_module(f"experiments.{name}")

    def work() -> None:
        sys.argv = [name, *flags]
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, lambda number, frame: os._exit(128 + number))  # as experiments/__init__.py
        try:
            console.run(module.define, module.main)
        except SystemExit as end:
            if not end.code and jax.distributed.is_initialized():
                jax.distributed.shutdown()  # as Python does at its exit, which a process that was forked has none of
            raise

    return forked(work, said)


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
