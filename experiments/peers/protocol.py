"""How a benchmark talks to the processes that it times: one JSON object a line. The standard library only.

The parent writes the work's description to the process's stdin and reads what it answers when it is ready; then it
writes one command a line ("go") and reads one answer each. A process ends when its stdin does. So both sides of a
comparison start, load and compile outside the measured time, and their runs can alternate.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

CALLS = 20  # of top-N in a run, unless the work says otherwise

Commands = Mapping[str, Callable[[str], dict]]  # name -> argument -> answer


class Stopped(Exception):
    """A process that ended before it answered: (its name, its exit status, all that it wrote to stderr)."""


@contextmanager
def connect(
    name: str, command: Sequence[str], work: Mapping, environment: Mapping[str, str], folder: str | None = None
) -> Iterator[tuple[dict, Callable[[str], dict]]]:
    """Start a process in `folder` with the description of its work; yields its first answer and ask(command) -> answer.

    Raises Stopped when it ends instead of answering.
    """
    with tempfile.TemporaryFile("w+") as errors:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
        process = subprocess.Popen(command, **pipes, text=True, env=environment, cwd=folder)  # type: ignore[call-overload]

        def ask(line: str) -> dict:
            with suppress(BrokenPipeError):
                process.stdin.write(line + "\n")
                process.stdin.flush()
            answer = process.stdout.readline()
            if not answer:
                status = process.wait()
                errors.seek(0)
                raise Stopped(name, status, errors.read())
            return json.loads(answer)

        try:
            yield ask(json.dumps(work)), ask
        except BaseException:
            process.kill()
            raise
        finally:
            with suppress(BrokenPipeError):
                process.stdin.close()
            process.wait()
            process.stdout.close()


def serve(setup: Callable[[dict], tuple[dict, Commands]]) -> None:
    """The other end: read the work, answer what `setup` says of it, then run one of its commands a line.

    Whatever else is printed goes to stderr, so that a library's messages do not mix with the answers.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(answer: dict) -> None:
        print(json.dumps({"peak_memory": peak_memory(), **answer}), file=answers, flush=True)

    ready, commands = setup(json.loads(sys.stdin.readline()))
    say(ready)
    for line in sys.stdin:
        name, _, argument = line.strip().partition(" ")
        say(commands[name](argument))


def seconds_of(run: Callable[[], object]) -> dict:
    """Run once: {"seconds": wall-clock seconds}."""
    started = time.perf_counter()
    run()
    return {"seconds": time.perf_counter() - started}


def peak_memory() -> int | None:
    """Bytes of memory that this process has held at most (its own, without what was held before it was started)."""
    with suppress(OSError), open("/proc/self/status") as lines:
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return None
