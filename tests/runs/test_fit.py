"""A run trained in memory is the run trained in a folder, to the bit, and leaves nothing behind."""

import dataclasses
import json
from contextlib import contextmanager

import jax
import numpy as np
import pytest

from ancf_jax.config import from_json
from ancf_jax.models import MODELS
from ancf_jax.runs.fit import fit_run, read_records
from ancf_jax.runs.run import Run, open_data, open_trained
from ancf_jax.settings import DataConfig, TrainConfig
from ancf_jax.types import InputError

SETTINGS = {
    "neumf": {"factors": 4, "tower_factors": 4, "tower": (4,), "dropout": 0.3},
    "itemknn": {"neighbours": 5},
}
TRAIN = TrainConfig(epochs=3, batch_size=8, learning_rate=0.05)


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
    """A function to the run of a model on a log of 12 users with 6 of 15 items, and its data."""
    log = tmp_path_factory.mktemp("shop") / "log.csv"
    rng = np.random.default_rng(0)
    rows = [f"{user},{item}\n" for user in range(12) for item in rng.permutation(15)[:6]]
    log.write_text("user,item\n" + "".join(rows))

    def run_of(model, **changes):
        config = from_json(MODELS[model].config, SETTINGS[model])
        run = Run(model, DataConfig(dataset=str(log)), config, dataclasses.replace(TRAIN, **changes))
        return run, open_data(run)

    return run_of


@pytest.mark.parametrize("model", SETTINGS)
def test_without_a_folder_nothing_is_written_and_nothing_else_differs(run_of, model, tmp_path, monkeypatch):
    run, dataset = run_of(model)
    kept = fit_run(run, dataset, tmp_path / "run", command="as it was typed")
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    alone = fit_run(run, dataset, command="as it was typed")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert jax.tree.structure(alone.params) == jax.tree.structure(kept.params)
    jax.tree.map(np.testing.assert_array_equal, alone.params, kept.params)
    timed = {"training_seconds", "seconds_per_epoch", "this_process_seconds"}
    result = {name: value for name, value in alone.result.items() if name not in timed}
    assert result == {name: value for name, value in kept.result.items() if name not in timed}
    assert result["command"] == "as it was typed" and result["best_epoch"] <= result["epochs"]
    jax.tree.map(np.testing.assert_array_equal, alone.per_user, kept.per_user)


def test_a_folder_holds_the_result_and_is_opened(run_of, tmp_path):
    run, dataset = run_of("neumf")
    done = fit_run(run, dataset, tmp_path)
    assert json.loads((tmp_path / "result.json").read_text()) == json.loads(json.dumps(done.result))
    assert len(read_records(tmp_path, 3)) == 3 and len(read_records(tmp_path, 2)) == 2
    opened, _, _, _, params = open_trained(tmp_path)
    assert opened == run
    jax.tree.map(np.testing.assert_array_equal, params, done.params)


def test_the_best_epoch_of_validation_is_tested_and_the_last_without(run_of):
    run, dataset = run_of("neumf", epochs=5)
    told = []

    @contextmanager
    def progress(epochs):
        assert epochs == 5
        yield told.append

    result = fit_run(run, dataset, progress=progress).result
    values = [record["ndcg@10"] for record in told]
    assert result["best_epoch"] == 1 + int(np.argmax(values)) and result["valid"]["ndcg@10"] == max(values)
    assert all({"epoch", "loss", "seconds"} <= record.keys() for record in told)
    run, dataset = run_of("neumf", validation=False)
    result = fit_run(run, dataset).result
    assert result["best_epoch"] == 3 and result["valid"] == {}


def test_an_unknown_metric_is_refused_with_those_there_are(run_of):
    run, dataset = run_of("neumf", metric="accuracy")
    with pytest.raises(InputError, match=r"--metric=accuracy is unknown; legal are .*ndcg@10"):
        fit_run(run, dataset)
