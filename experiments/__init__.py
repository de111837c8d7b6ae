"""The scripts: one command each, run from the checkout as python -m experiments.NAME."""

import os
import signal
import sys
from types import FrameType


def _end(number: int, frame: FrameType | None) -> None:
    """End at once: nothing is to be saved before a script runs, nor after."""
    os.write(2, f"error: ended by {signal.Signals(number).name}\n".encode())
    os._exit(128 + number)


if sys.argv[0] == "-m":  # what Python puts there until it knows the script: no other program is meddled with
    for each in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(each) != signal.SIG_IGN:
            signal.signal(each, _end)
