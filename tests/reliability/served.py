"""A service that takes feedback, and is killed as it does: what was acknowledged is there, and answers are the same."""

import http.client
import itertools
import json
import os
import random
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

from ancf_jax.serving.service.feedback import all_rows, open_feedback
from tests.reliability.processes import ended, script

ASKED = {"user": 3, "top_k": 10}  # of a user who gives no feedback
LONG = 300.0  # seconds after which a service hangs


class Service:
    """A service in a process of its own, on a free port."""

    def __init__(self, workdir: Path, kept: Path) -> None:
        self.said = kept.with_suffix(".txt")
        self.said.write_text("")
        flags = [f"--workdir={workdir}", f"--feedback={kept}", "--port=0", "--rate=0", "--reload_every=0"]
        self.process = script("serve", flags, self.said)

    def port(self, wait: float) -> int | None:
        """The port that it listens on; None if it does not answer after so many seconds."""
        until = time.monotonic() + wait
        while time.monotonic() < until:
            if found := re.search(r"answers at http://[\d.]+:(\d+)", self.said.read_text()):
                return int(found[1])
            time.sleep(0.01)
        return None


def killed(workdir: Path, kept: Path, which: signal.Signals, acknowledged: list[str], seconds: float) -> int | None:
    """Kill a service at a random moment of so many seconds, from its start on or amid feedback: its exit status."""
    service, name = Service(workdir, kept), f"{len(acknowledged)}-{random.getrandbits(32)}"
    giving = threading.Thread(target=_give, args=(service, name, acknowledged))
    giving.start()
    if random.random() < 0.75:  # a kill that hits the giving of feedback, as most should
        service.port(LONG)
    time.sleep(random.uniform(0.05, seconds))
    os.kill(service.process, which)
    status = ended(service.process, LONG)
    giving.join()
    return status


def answer(workdir: Path, kept: Path) -> tuple[float, Any]:
    """The seconds until a service answers, and what it answers."""
    started, service = time.monotonic(), Service(workdir, kept)
    try:
        port = service.port(LONG)
        if port is None:
            raise RuntimeError(f"no service: {service.said.read_text()}")
        seconds = time.monotonic() - started
        return seconds, [_ask(port, "POST", "/recommend", ASKED), _ask(port, "GET", "/users/3", None)]
    finally:
        os.kill(service.process, signal.SIGTERM)
        ended(service.process, LONG)


def lost(kept: Path, acknowledged: list[str]) -> list[str]:
    """Users whose row was acknowledged and is not there."""
    there = {user for part in all_rows(open_feedback(str(kept))) for user in part["user"]}
    return [user for user in acknowledged if user not in there]


def _give(service: Service, name: str, acknowledged: list[str]) -> None:
    """Give feedback of one new user after another until the service is gone."""
    port = service.port(LONG / 4)
    for n in itertools.count() if port else ():
        user = f"{name}-{n}"
        try:
            _ask(port, "POST", "/feedback", {"user": user, "item": 3})
        except (OSError, http.client.HTTPException, ValueError):
            return
        acknowledged.append(user)


def _ask(port: int | None, method: str, path: str, body: Any) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body and json.dumps(body), {"content-type": "application/json"})
    answered = connection.getresponse()
    content = json.loads(answered.read())
    if answered.status not in (200, 201):
        raise ValueError(content)
    return content
