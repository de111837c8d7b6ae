"""Signals that end a process, put off until what runs is saved."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.experimental.multihost_utils import process_allgather

ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def put_off() -> Iterator[Callable[[], bool]]:
    """Notes the first Ctrl-C or SIGTERM; yields what tells whether there was one, in any process that calls it.

    It is delivered as the context ends, elsewhere as KeyboardInterrupt, and a second one at once. Beside the main
    thread nothing is put off.
    """
    noted: list[int] = []
    elsewhere: list[int] = []
    before: dict[int, Any] = {}

    def note(number: int, frame: Any) -> None:
        if noted:
            restore()
            signal.raise_signal(number)
        else:
            noted.append(number)
            name = signal.Signals(number).name
            logging.info("%s: training ends when this epoch is done and saved; a second one ends it at once", name)

    def restore() -> None:
        for each in [*before]:
            signal.signal(each, before.pop(each))

    def asked() -> bool:
        if jax.process_count() > 1:
            elsewhere[:] = [each for each in process_allgather(np.int32(noted[0] if noted else 0)).tolist() if each]
        return bool(noted or elsewhere)

    if threading.current_thread() is threading.main_thread():
        heard = [each for each in ENDING if signal.getsignal(each) not in (signal.SIG_IGN, None)]
        before |= {each: signal.signal(each, note) for each in heard}
    try:
        yield asked
    finally:
        restore()
        if noted:
            signal.raise_signal(noted[0])
        elif elsewhere:
            raise KeyboardInterrupt
