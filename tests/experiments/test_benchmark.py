"""Benchmarks: what each kind measures, turns with another library, results that gather, and what is refused."""

import json
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from ancf_jax.profiling import profile
from experiments import benchmark
from experiments.peers import own, protocol
from experiments.suites import SUITES

TINY = ["--users=20", "--items=30", "--interactions=300", "--model=gmf", "--factors=4", "--negatives=2", "--runs=2"]

PEER = """
import sys
sys.path.insert(0, {folder!r})
from protocol import serve

def setup(work):
    print("a library's chatter")
    rate = 1000 * work.get("train", {{"learning_rate": 0.001}})["learning_rate"]  # a number, whoever decides it
    go = lambda _: {{"seconds": 0.5 * work["batch"] * rate, "peak_memory": 7}}
    return {{"version": "1.0"}}, {{"go": go, "crash": lambda _: sys.exit("out of luck")}}

{start}
serve(setup)
"""


@contextmanager
def in_process(name, command, work, environment, folder=None):
    """Our side without a process of its own."""
    if name != "own":
        with protocol.connect(name, command, work, environment, folder) as peer:
            yield peer
        return
    ready, commands = own.setup(json.loads(json.dumps(work)))

    def ask(line):
        name, _, argument = line.partition(" ")
        return json.loads(json.dumps({"peak_memory": 5, **commands[name](argument)}))

    yield ready, ask


@pytest.fixture(autouse=True)
def quick_machine(monkeypatch):
    """Our side in this process, and rates of small arrays."""
    small = profile.machine_rates
    monkeypatch.setattr(profile, "machine_rates", lambda dtype: small(dtype, size=64, copied=2**16))
    monkeypatch.setattr(benchmark, "connect", in_process)


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """A function that puts a peer of the name 'json', which every Python can import, in place."""

    def put(start=""):
        text = PEER.format(folder=str(benchmark.FOLDER), start=start)
        (tmp_path / "json_peer.py").write_text(text)
        monkeypatch.setitem(benchmark.PEERS, "json", {"topn": ("gmf",)})
        monkeypatch.setattr(benchmark, "FOLDER", tmp_path)
        options = ["--what=topn", "--queries=6", "--steps=2", "--against=json", f"--peer_python={sys.executable}"]
        return [*TINY, *options, f"--workdir={tmp_path}"]

    return put


def refused(answer, *messages):
    """Exit status 2 and one line on stderr that says all this."""
    status, _, err = answer
    assert status == 2 and err.splitlines()[-1].startswith("error: ") and err.count("error") == 1
    assert all(message in err for message in messages), err


@pytest.mark.parametrize(
    ("what", "amount", "unit"), [("training", None, "samples"), ("ranking", 20, "users"), ("topn", 12, "users")]
)
def test_what_is_measured(script, tmp_path, what, amount, unit):
    options = ["--queries=6", "--steps=2"] if what == "topn" else []
    status, out, err = script(benchmark, *TINY, *options, f"--what={what}", f"--workdir={tmp_path}")
    assert status == 0, err
    ((name, result),) = json.loads((tmp_path / "results.json").read_text()).items()
    assert name == f"gmf-{what}-20x30" and result["unit"] == unit and len(result["seconds"]) == 2
    if what == "training":
        log = profile.synthetic(20, 30, 300)
        amount = 3 * len(log.train.users)  # a positive and two negatives
    assert result["amount"] == amount
    assert result["rate"] == pytest.approx(np.median(amount / np.array(result["seconds"])))
    assert result["rate_low"] <= result["rate"] <= result["rate_high"]
    positive = ("compile_seconds", "peak_memory", "flops_per_second", "bytes_per_second")
    assert all(result[key] > 0 for key in (*positive, "machine_flops_per_second", "machine_bytes_per_second"))
    last = json.loads(out.splitlines()[-1])
    assert last["benchmarks"][name]["rate"] == result["rate"]
    assert name in out and name in (tmp_path / "report.md").read_text() and not (tmp_path / "plot.svg").exists()


def test_updates_are_counted_in_steps(script, tmp_path):
    options = ["--what=updates", "--steps=3", "--batch_size=16", "--lazy_rows", f"--workdir={tmp_path}"]
    status, _, err = script(benchmark, *TINY, *options)
    assert status == 0, err
    (result,) = json.loads((tmp_path / "results.json").read_text()).values()
    assert (result["amount"], result["unit"]) == (3, "steps")


def test_a_trace_says_where_the_time_goes(script, tmp_path):
    status, out, err = script(benchmark, *TINY, "--steps=2", "--trace", f"--workdir={tmp_path}")
    assert status == 0, err
    ((name, result),) = json.loads((tmp_path / "results.json").read_text()).items()
    assert result["operations"]["total"] > result["operations"]["gathers"] > 0
    assert "where the time goes" in out and list((tmp_path / "traces" / name).rglob("perfetto_trace.json.gz"))


def test_turns_with_a_peer(script, fake, tmp_path):
    options = fake()
    status, out, err = script(benchmark, *options, "--batch_size=10")
    assert status == 0, err
    assert script(benchmark, *options, "--against=")[0] == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert list(results) == ["gmf-topn-20x30-json", "gmf-topn-20x30"]
    result = results["gmf-topn-20x30-json"]
    assert result["peer"]["seconds"] == [5.0, 5.0] and result["peer"]["peak_memory"] == 7
    assert result["ratio_low"] == pytest.approx(5.0 / max(result["seconds"]))
    assert result["ratio_high"] == pytest.approx(5.0 / min(result["seconds"]))
    assert "json 1.0" in out and "json 1.0" in (tmp_path / "report.md").read_text()
    assert "<svg" in (tmp_path / "plot.svg").read_text()


@pytest.mark.parametrize("start", ["sys.exit('out of luck')", "1 / 0", "import os; os._exit(3)"])
def test_a_peer_that_stops(script, fake, start):
    said = {"1": "ZeroDivisionError: division by zero", "s": "out of luck", "i": "exit status 3"}[start[0]]
    refused(script(benchmark, *fake(start)), "--against=json: json_peer.py stopped: " + said)


def test_our_side_has_a_process_of_its_own(script, monkeypatch, tmp_path):
    monkeypatch.setattr(benchmark, "connect", protocol.connect)
    monkeypatch.chdir(Path(benchmark.__file__).parents[1])
    options = ["--users=0", "--items=0", "--interactions=0", f"--dataset={tmp_path}/none.csv"]
    refused(script(benchmark, *TINY, *options), "none.csv", "no such file")


def test_answers_come_without_a_librarys_chatter(fake, tmp_path):
    fake()
    command = [sys.executable, str(tmp_path / "json_peer.py")]
    with protocol.connect("json", command, {"batch": 4}, {}) as (ready, ask):
        assert ready["version"] == "1.0" and ready["peak_memory"] > 2**20
        assert [ask("go")["seconds"] for _ in range(2)] == [2.0, 2.0]
        with pytest.raises(protocol.Stopped) as stopped:
            ask("crash")
    assert stopped.value.args == ("json", 1, "a library's chatter\nout of luck\n")


def test_factors_learnt_elsewhere_are_ranked_as_our_own(tmp_path):
    values = parsed(*TINY, "--what=training")
    work = benchmark.benchmark_of("", values).work
    _, commands = own.setup({**work, "log": str(tmp_path / "log.npz")})
    commands["go"]("")
    job_metrics = commands["metrics"]("")
    with np.load(tmp_path / "log.npz") as log:
        dataset = profile.synthetic(20, 30, 300)
        np.testing.assert_array_equal(np.sort(log["items"][log["part"] == 2]), np.sort(dataset.test.items))
        last = [log["items"][log["users"] == user][-1] for user in dataset.test.users]
    np.testing.assert_array_equal(last, dataset.test.items)
    item = np.eye(30, dtype=np.float32)
    user = np.zeros((20, 30), np.float32)
    user[dataset.test.users, dataset.test.items] = 1  # the test item scores 1, all others 0
    np.savez(tmp_path / "factors.npz", user=user, item=item)
    metrics = commands["metrics"](str(tmp_path / "factors.npz"))
    assert metrics["ndcg@10"] == metrics["mrr"] == 1.0 and 0 < job_metrics["mrr"] < 1


def parsed(*arguments):
    values = benchmark.flags.FlagValues()
    benchmark.define(values)
    values(["benchmark", *arguments])
    return values


@pytest.mark.parametrize("name", [name for suite in SUITES.values() for name in suite])
def test_suites_are_legal(name, script):
    made = []

    class Parsed:
        define = staticmethod(benchmark.define)

        @staticmethod
        def main():
            made.extend(benchmark.suite_of([name]))
            return {}

    assert script(Parsed, "--runs=7")[0] == 0
    (made,) = made
    assert made.name == name and made.runs == 7 and made.against == ""


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        (["--against=torch"], ["--against=torch needs --peer_python"]),
        (["--against=torch", "--peer_python=/no/such/python"], ["/no/such/python", "No such file"]),
        (["--against=torch", f"--peer_python={sys.executable}"], ["cannot import torch", "requirements-torch.txt"]),
        (["--against=tensorflow"], ["tensorflow is unknown", "torch, implicit, recbole"]),
        (["--against=implicit"], ["does not do training of gmf", "training of bpr, ials"]),
        (["--against=recbole", "--model=neumf", "--steps=3"], ["--steps", "whole epochs"]),
        (["--peer_options=use_cg"], ["'use_cg' is not NAME=VALUE"]),
        (["--ks=5"], ["--ks: no benchmark reads it"]),
        (["--items=0"], ["--users, --items, --interactions"]),
        (["--quality"], ["--quality", "--against=implicit"]),
        (["--suite=fast"], ["'fast' is unknown", "quick"]),
        (["--model=gmff"], ["gmff is unknown"]),
        (["--what=inference"], ["training|updates|ranking|topn"]),
    ],
)
def test_refused(script, options, messages):
    refused(script(benchmark, *TINY, *options), *messages)
