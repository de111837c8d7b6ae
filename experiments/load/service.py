"""A service under load: python -m experiments.load.service --workdir=checkpoints/ancf --rate=100 --seconds=120

Starts the service, waits until it is ready, and sends it the requests of experiments/load/recommend.py by locust on
the same machine, for users drawn at random from all that the run knows. Writes OUTPUT.json: the seconds from start to
ready, percentiles of the milliseconds from request to answer, failures, the share of lists that had been computed
before, and the service's memory and seconds of CPU. --warm are seconds of load beforehand that do not count.
--distinct asks for nobody twice, so every list is computed. --reload saves newer checkpoints in a copy of the run
meanwhile, which the service is to take. Exit status 1 if a request failed.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from ancf_jax.types import InputError
from experiments import console

LOCUST = Path(__file__).with_name("recommend.py")
PERCENTILES = (50, 90, 95, 99, 99.9)
CLOCK, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


def define() -> None:
    """Which model, and how much load."""
    flags.DEFINE_string("workdir", "", "the folder of a trained run", allow_override=True)
    flags.DEFINE_integer("rate", 100, "requests a second", lower_bound=1, allow_override=True)
    flags.DEFINE_integer("seconds", 120, "of load", lower_bound=1, allow_override=True)
    flags.DEFINE_integer("warm", 5, "seconds of load that do not count", lower_bound=0, allow_override=True)
    flags.DEFINE_boolean("distinct", False, "ask for nobody twice", allow_override=True)
    flags.DEFINE_boolean("reload", False, "save newer checkpoints meanwhile, in a copy of the run", allow_override=True)
    flags.DEFINE_string("output", "serving", "path of the JSON file, without .json", allow_override=True)


def main() -> dict[str, Any]:
    """Start, load, and write what was measured."""
    options = flags.FLAGS
    if not options.workdir or shutil.which("locust", path=str(Path(sys.executable).parent)) is None:
        raise InputError("--workdir is missing, or locust (pip install '.[check]')")
    with tempfile.TemporaryDirectory() as folder:
        workdir = Path(options.workdir)
        if options.reload:
            workdir = Path(shutil.copytree(workdir, Path(folder, "run")))
        found = measured(workdir, Path(folder))
    from ancf_jax.runs.results import provenance  # which imports jax, beside nothing that is timed

    content = {**found, "command": console.command("experiments.load.service"), **provenance()}
    Path(f"{options.output}.json").write_text(json.dumps(content, indent=1) + "\n")
    print(f"wrote {options.output}.json")
    if found["failures"]:
        raise SystemExit(f"error: {found['failures']:,} of {found['requests']:,} requests failed")
    return content


def measured(workdir: Path, folder: Path) -> dict[str, Any]:
    """What a service of a run does under load."""
    options, people, others = flags.FLAGS, folder / "people", folder / "others"
    every, first = ids(workdir), options.rate * options.warm if options.distinct else 0
    people.write_text("\n".join(map(str, every[first:])))
    others.write_text("\n".join(map(str, every[:first] or every)))
    started = time.perf_counter()
    command = [sys.executable, "-m", "experiments.serve", f"--workdir={workdir}", f"--feedback={folder}/feedback.db"]
    command += ["--port=0", "--rate=0", "--reload_every=1"]
    service = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert service.stdout is not None
        said = re.search(r"http://[\d.]+:\d+", service.stdout.readline())
        if said is None:
            raise SystemExit("error: the service did not start")
        ask(f"{said[0]}/health/ready")
        ready = time.perf_counter() - started
        console.say(f"ready after {ready:.1f} s")
        if options.warm:
            load(said[0], others, options.warm, folder / "warm.json")
        before, known = usage(service.pid), number(ask(f"{said[0]}/metrics"), "ancf_lists_kept")
        stop = threading.Event()
        newer = threading.Thread(target=save_newer, args=(workdir, stop)) if options.reload else None
        if newer:
            newer.start()
        told = load(said[0], people, options.seconds, folder / "told.json")
        after, metrics = usage(service.pid), ask(f"{said[0]}/metrics")
        if newer:
            stop.set()
            newer.join()
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait()
    took = told.pop("milliseconds")
    shown = {f"p{p:g}": round(float(np.percentile(took, p)), 2) for p in PERCENTILES} | {"max": round(max(took), 2)}
    console.say(f"{told['requests']:,} requests, {told['failures']:,} failed; milliseconds: {shown}")
    about = {"workdir": flags.FLAGS.workdir, "rate": options.rate, "seconds": options.seconds}
    kept = (number(metrics, "ancf_lists_kept") - known) / max(told["requests"], 1)
    cpu = 1000 * (after["cpu_seconds"] - before["cpu_seconds"]) / max(told["requests"], 1)
    return {
        **about,
        "seconds_to_ready": round(ready, 2),
        **told,
        "milliseconds": shown,
        "cpu_milliseconds_of_a_request": round(cpu, 2),
        "memory_mb": {"before": before["mb"], "after": after["mb"]},
        "share_of_lists_kept": round(kept, 3),
        "reloads": int(number(metrics, "ancf_reloads_total")),
    }


def ids(workdir: Path) -> list[Any]:
    """The ids of the users of a run."""
    from ancf_jax.data.store import load_dataset
    from ancf_jax.runs.run import STORED

    return list(load_dataset(workdir / STORED).user_ids.tolist())


def load(host: str, people: Path, seconds: int, report: Path) -> dict[str, Any]:
    """Send requests for some seconds, by locust in a process of its own."""
    options = ["--headless", f"--host={host}", f"--users={flags.FLAGS.rate}", f"--spawn-rate={flags.FLAGS.rate}"]
    command = [sys.executable, "-m", "locust", "-f", str(LOCUST), *options, f"--run-time={seconds}s", "--only-summary"]
    given = os.environ | {"PEOPLE": str(people), "REPORT": str(report), "DISTINCT": "1" * flags.FLAGS.distinct}
    subprocess.run(command, env=given, capture_output=True, check=False)
    return dict(json.loads(report.read_text()))


def save_newer(workdir: Path, stop: threading.Event) -> None:
    """Save the same parameters as a better checkpoint, again and again."""
    import jax.numpy as jnp

    from ancf_jax.runs.run import folder_of, open_trained
    from ancf_jax.training.checkpoint import save
    from ancf_jax.training.loop import TrainState

    params = open_trained(workdir)[4]
    for number in range(1_000_000, 2_000_000):
        save(folder_of(workdir), TrainState(jnp.int32(number), params, ()), float(number))
        if stop.wait(5):
            return


def usage(process: int) -> dict[str, float]:
    """Megabytes in memory and seconds of CPU that a process has."""
    times = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return {"mb": round(pages * PAGE / 1e6, 1), "cpu_seconds": sum(map(int, times)) / CLOCK}


def number(metrics: str, name: str) -> float:
    """A number that Prometheus would read."""
    found = re.search(rf"^{name} (\S+)", metrics, re.MULTILINE)
    return float(found[1]) if found else 0.0


def ask(url: str) -> str:
    """What a URL answers."""
    with urllib.request.urlopen(url, timeout=60) as answer:
        return str(answer.read().decode())


if __name__ == "__main__":
    console.run(define, main)
