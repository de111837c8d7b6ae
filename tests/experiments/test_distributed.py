"""Two real processes on loopback train what one process trains, and leave a run that one process can use."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ancf_jax.models import MODELS
from ancf_jax.runs.fit import fit_run
from ancf_jax.runs.results import evaluator_of
from ancf_jax.runs.run import Run, open_data, open_trained
from ancf_jax.settings import DataConfig, TrainConfig

MODEL = {"factors": 4, "window": 4, "pool": 4}
STEPS = {"epochs": 2, "batch_size": 8, "knows": "train"}
COLUMNS = {"user_column": "customer", "item_column": "product"}


def together(arguments):
    """Run a command as two processes that share the work; what each printed."""
    root = Path(__file__).parents[2]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        meet = [f"--coordinator=localhost:{free.getsockname()[1]}", "--num_processes=2"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "experiments.train", *arguments, *meet, f"--process_id={number}"],
            cwd=root,
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    try:
        printed = [process.communicate(timeout=500) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], printed
    return printed


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A workdir of one process, one of two, and what the two printed: batches split in epoch 1, tables in epoch 2."""
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    log = [f"c{user:02},p{item:02}\n" for user in range(12) for item in rng.permutation(15)[:6]]
    (folder / "log.csv").write_text("customer,product\n" + "".join(log))
    settings = {"dataset": f"{folder}/log.csv", **COLUMNS, **MODEL, **STEPS, "model": "mf", "workdir": folder / "two"}
    arguments = [f"--{name}={value}" for name, value in settings.items()]
    printed = [together([*arguments, "--epochs=1"]), together([*arguments, "--mesh=model=2"])]
    data = DataConfig(dataset=f"{folder}/log.csv", **COLUMNS)
    run = Run("mf", data, MODELS["mf"].config(**MODEL), TrainConfig(**STEPS))
    fit_run(run, open_data(run), folder / "one")
    return folder / "one", folder / "two", printed


def records(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if name != "seconds"} for line in lines]


def test_two_processes_train_what_one_does(runs):
    one, two, _ = runs
    assert len(records(one)) == len(records(two)) == 2
    for alone, shared in zip(records(one), records(two), strict=True):
        assert alone.keys() == shared.keys()
        np.testing.assert_allclose(list(shared.values()), list(alone.values()), rtol=1e-5)


def test_only_the_first_process_speaks(runs):
    one, two, printed = runs
    for (first, progress), (second, silence) in printed:
        assert second == "" and "epoch" not in silence
        assert "epoch" in progress
        last = json.loads(first.splitlines()[-1])
        assert last["model"] == "mf" and 0 <= last["ndcg@10"] <= 1
    assert json.loads((one / "config.json").read_text()) == json.loads((two / "config.json").read_text())


def test_one_process_uses_what_two_have_trained(runs):
    _, two, _ = runs
    result = json.loads((two / "result.json").read_text())
    _, dataset, data, model, params = open_trained(two)
    assert params["tables"]["item"].shape == (len(dataset.item_ids) + 1, 4)
    found = evaluator_of("test", model, data, dataset, knows="train")(params).metrics
    np.testing.assert_allclose([found[name] for name in found], [result[name] for name in found], rtol=1e-5)
