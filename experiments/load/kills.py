"""Kill a service that takes feedback: python -m experiments.load.kills --workdir=checkpoints/ancf --kills=20

Starts the service, gives feedback from several clients at once, and kills it with SIGKILL amid that, so often; then
looks in the database for every row that was acknowledged. Writes OUTPUT.json. Exit status 1 if one is lost.
"""

import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from absl import flags

from experiments import console

CLIENTS = 4
LONGEST = 2.0  # seconds of feedback before a kill, at most


def define() -> None:
    """Which model, and how often."""
    flags.DEFINE_string("workdir", "", "the folder of a trained run", allow_override=True)
    flags.DEFINE_integer("kills", 20, "how often the service is killed", lower_bound=1, allow_override=True)
    flags.DEFINE_string("output", "kills", "path of the JSON file, without .json", allow_override=True)


def main() -> dict[str, Any]:
    """Kill, and count what was acknowledged and what is there."""
    from ancf_jax.serving.service.feedback import all_rows, open_feedback

    acknowledged: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder, "feedback.db")
        for kill in range(flags.FLAGS.kills):
            before = len(acknowledged)
            one_life(kept, f"{kill}", acknowledged)
            console.say(f"kill {kill + 1}: {len(acknowledged) - before:,} rows acknowledged before it")
        there = {user for part in all_rows(open_feedback(str(kept))) for user in part["user"]}
    lost = [user for user in acknowledged if user not in there]
    if lost:
        raise SystemExit(f"error: {len(lost):,} of {len(acknowledged):,} acknowledged rows are lost")
    from ancf_jax.runs.results import provenance

    found = {"kills": flags.FLAGS.kills, "acknowledged": len(acknowledged), "lost": 0}
    content = {**found, "command": console.command("experiments.load.kills"), **provenance()}
    Path(f"{flags.FLAGS.output}.json").write_text(json.dumps(content, indent=1) + "\n")
    return content


def one_life(kept: Path, name: str, acknowledged: list[str]) -> None:
    """Start a service, let clients give feedback, and kill it while they do."""
    command = [sys.executable, "-m", "experiments.serve", f"--workdir={flags.FLAGS.workdir}", f"--feedback={kept}"]
    process = subprocess.Popen([*command, "--port=0", "--rate=0"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found = re.search(r"http://([\d.]+):(\d+)", process.stdout.readline())
    if found is None:
        raise SystemExit("error: the service did not start")
    host, port = found[1], int(found[2])
    item = _ask(host, port, "GET", "/items?limit=1", None)["items"][0]["item"]

    def give(client: int) -> None:
        connection = http.client.HTTPConnection(host, port, timeout=10)
        for n in range(1_000_000):
            row = {"user": f"{name}-{client}-{n}", "item": item}
            try:
                connection.request("POST", "/feedback", json.dumps(row), {"content-type": "application/json"})
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                return
            if answer.status == 201:
                acknowledged.append(row["user"])

    clients = [threading.Thread(target=give, args=(client,)) for client in range(CLIENTS)]
    for client in clients:
        client.start()
    time.sleep(random.uniform(0.1, LONGEST))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for client in clients:
        client.join()


def _ask(host: str, port: int, method: str, path: str, body: Any) -> Any:
    connection = http.client.HTTPConnection(host, port, timeout=60)
    connection.request(method, path, body)
    return json.loads(connection.getresponse().read())


if __name__ == "__main__":
    console.run(define, main)
