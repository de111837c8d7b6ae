"""How a script ends when it does not come to its end: a signal, or an error in one line."""

import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_MEMORY = "RESOURCE_EXHAUSTED"  # as XLA says it


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a script as Ctrl-C does, but for its exit status."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Within the context, Ctrl-C raises KeyboardInterrupt and SIGTERM Terminated, unless they are ignored."""
    handlers: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: _terminate}
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        heard = [each for each in handlers if signal.getsignal(each) != signal.SIG_IGN]
        before |= {each: signal.signal(each, handlers[each]) for each in heard}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def fail(message: str, status: int) -> NoReturn:
    """One line on stderr, whatever line breaks and control characters the message holds, and exit."""
    line = "".join(letter if letter.isprintable() else " " for letter in message)
    print("error:", " ".join(line.split()), file=sys.stderr)
    sys.exit(status)


def reason(error: BaseException) -> str:
    """What an error of the machine, not of the program, comes to, and what to do; '' for any other."""
    if full := _disk_full(error):
        return f"the disk is full ({full}); free some space and rerun the same command to resume"
    if isinstance(error, MemoryError) or NO_MEMORY in str(error):
        return f"there is not enough memory ({str(error)[:200]}); try --memory_budget, --batch_size or a smaller model"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return ""


def _terminate(number: int, frame: Any) -> NoReturn:
    raise Terminated


def _disk_full(error: BaseException | None) -> str:
    """What an error in this chain says about a full disk or an exhausted quota; '' if none says so."""
    while error is not None:
        for code in FULL:
            if isinstance(error, OSError) and error.errno == code:
                return str(error)
            if os.strerror(code) in str(error):  # Orbax passes on the text alone, amid much else
                return os.strerror(code)
        error = error.__cause__ or error.__context__
    return ""
