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
ENDING = (signal.SIGINT, signal.SIGTERM)
AGAIN = 0.01  # seconds until what was lost is raised once more
NO_MEMORY = "RESOURCE_EXHAUSTED"  # as XLA says it


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a script as Ctrl-C does, but for its exit status."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Within the context, Ctrl-C raises KeyboardInterrupt and SIGTERM Terminated, unless they are ignored.

    Where that is lost in a callback, as XLA has some, it is raised once more; where a library makes another error of
    it, it is what the context ends in.
    """
    noted: list[type[KeyboardInterrupt]] = []

    def end(number: int, frame: Any) -> NoReturn:
        if number != signal.SIGALRM:
            noted[:] = [Terminated if number == signal.SIGTERM else KeyboardInterrupt]
        raise noted[0]

    def lost(unraisable: Any) -> None:
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, AGAIN)
        else:
            hook(unraisable)

    before, hook = dict[int, Any](), sys.unraisablehook
    if threading.current_thread() is threading.main_thread():
        heard = [each for each in (*ENDING, signal.SIGALRM) if signal.getsignal(each) != signal.SIG_IGN]
        before |= {each: signal.signal(each, end) for each in heard}
        sys.unraisablehook = lost
    try:
        yield
    except Exception as error:
        if noted:
            raise noted[0] from error
        raise
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        sys.unraisablehook = hook


def fail(message: str, status: int) -> NoReturn:
    """One line on stderr, whatever line breaks and control characters the message holds, and exit."""
    _say(message)
    sys.exit(status)


def leave(message: str, status: int) -> NoReturn:
    """The same after a signal, at once: threads that still compute crash an interpreter that takes itself down."""
    _say(message)
    sys.stdout.flush()
    os._exit(status)


def _say(message: str) -> None:
    line = "".join(letter if letter.isprintable() else " " for letter in message)
    print("error:", " ".join(line.split()), file=sys.stderr, flush=True)


def reason(error: BaseException) -> str:
    """What an error of the machine, not of the program, comes to, and what to do; '' for any other."""
    if full := _disk_full(error):
        return f"the disk is full ({full}); free some space and rerun the same command to resume"
    if isinstance(error, MemoryError) or NO_MEMORY in str(error):
        return f"there is not enough memory ({str(error)[:200]}); try --memory_budget, --batch_size or a smaller model"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return ""


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
