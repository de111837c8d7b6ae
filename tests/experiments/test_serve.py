"""The service as a process: what it acknowledged survives kill -9, SIGTERM ends it well, and feedback becomes a log."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from experiments import recommend, serve

httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi")
pytestmark = pytest.mark.xdist_group("shop")  # whose runs one worker trains, once


@pytest.fixture
def started(trained, tmp_path):
    """A function that starts a service that keeps feedback: its process and its address."""
    running = []

    def start():
        command = [sys.executable, "-m", "experiments.serve", f"--workdir={trained('itemknn')}", "--port=0"]
        root = Path(serve.__file__).parents[1]
        process = subprocess.Popen(
            [*command, f"--feedback={tmp_path}/feedback.db"], cwd=root, stdout=subprocess.PIPE, text=True
        )
        running.append(process)
        return process, re.search(r"http://\S+", process.stdout.readline())[0]

    yield start
    for process in running:
        process.kill()
        process.wait()


def test_what_was_acknowledged_survives_a_kill_and_a_signal_ends_it_well(started, script, trained, tmp_path):
    process, address = started()
    acknowledged = []

    def tell(worker):
        with suppress(httpx.HTTPError), httpx.Client(base_url=address, timeout=60) as client:
            for n in range(10_000):
                user = f"w{worker} {n}"
                if client.post("feedback", json={"user": user, "item": "p01"}).status_code == 201:
                    acknowledged.append(user)

    threads = [threading.Thread(target=tell, args=(worker,)) for worker in range(3)]
    for thread in threads:
        thread.start()
    while len(acknowledged) < 30 and any(thread.is_alive() for thread in threads):
        threads[0].join(0.01)
    os.kill(process.pid, signal.SIGKILL)
    for thread in threads:
        thread.join()
    assert len(acknowledged) >= 30

    process, address = started()
    with httpx.Client(base_url=address, timeout=60) as client:
        assert all(client.get(f"users/{user}").status_code == 200 for user in acknowledged[-3:])
        assert client.get("health/ready").status_code == 200
    os.kill(process.pid, signal.SIGTERM)
    out = process.communicate(timeout=60)[0]
    assert process.returncode == 0 and json.loads(out.splitlines()[-1])["stopped"] is True

    status, out, err = script(serve, f"--feedback={tmp_path}/feedback.db", f"--export={tmp_path}/log.csv")
    assert status == 0 and json.loads(out.splitlines()[-1])["rows"] >= len(acknowledged), err
    users = {line.split(",")[0].strip('"') for line in (tmp_path / "log.csv").read_text().splitlines()[1:]}
    assert set(acknowledged) <= users
    log = (tmp_path / "log.csv").read_text().replace('"user","item"', '"customer","product"')
    (tmp_path / "rows.csv").write_text(log)
    options = [f"--user={acknowledged[0]}", f"--new_rows={tmp_path}/rows.csv", "--top_k=3"]
    status, out, err = script(recommend, "--workdir", trained("itemknn"), *options)
    assert status == 0 and len(json.loads(out.splitlines()[-1])["users"][acknowledged[0]]) == 3, err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "--workdir is missing"),
        (["--workdir=nowhere"], "config.json does not exist; train a model there first"),
        (["--workdir=nowhere", "--token=a b"], "flag --token: legal are"),
        (["--workdir=nowhere", "--host=no.such.host.invalid"], "flags --host, --port: no.such.host.invalid:0"),
        (["--workdir=nowhere", "--feedback=no/such/feedback.db"], "flag --feedback: no/such/feedback.db cannot be"),
        (["--export=log.csv"], "flag --export: --feedback says what is exported"),
        (["--export=log.txt", "--feedback=f.db"], "flag --export: log.txt is no .parquet or .csv file"),
    ],
)
def test_bad_input(script, given, message):
    status, out, err = script(serve, "--port=0", *given)
    assert status == 2 and out == "" and message in err and err.count("\n") == 1


def test_a_port_that_is_taken(script):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, _, err = script(serve, "--workdir=nowhere", f"--port={port}")
    assert status == 2 and f"127.0.0.1:{port}: Address already in use" in err
