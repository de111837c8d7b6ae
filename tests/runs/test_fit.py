"""A run trained in memory is the run trained in a folder, to the bit, and leaves nothing behind."""

import dataclasses
import json
from contextlib import contextmanager
from functools import cache

import jax
import numpy as np
import pytest

from ancf_jax.config import from_json
from ancf_jax.files import read_json
from ancf_jax.models import MODELS
from ancf_jax.runs import fit
from ancf_jax.runs.fit import fit_run, users_validated, validated
from ancf_jax.runs.records import read_records
from ancf_jax.runs.run import Run, open_data, open_trained
from ancf_jax.settings import DataConfig, TrainConfig
from ancf_jax.types import InputError

SETTINGS = {
    "neumf": {"factors": 4, "tower_factors": 4, "tower": (4,), "dropout": 0.3},
    "itemknn": {"neighbours": 5},
}
TRAIN = TrainConfig(epochs=3, batch_size=8, learning_rate=0.05, schedule="constant")


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


@pytest.fixture(scope="module")
def kept_of(run_of, tmp_path_factory):
    """A function to the folder of a model's run as it is by default, and what came of it."""

    @cache
    def kept_of(model):
        folder = tmp_path_factory.mktemp("kept") / model
        return folder, fit_run(*run_of(model), folder, command="as it was typed", trials=3)

    return kept_of


@pytest.mark.parametrize("model", SETTINGS)
def test_without_a_folder_nothing_is_written_and_nothing_else_differs(run_of, kept_of, model, tmp_path, monkeypatch):
    run, dataset = run_of(model)
    folder, kept = kept_of(model)
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    before = {path: path.stat().st_mtime_ns for place in (tmp_path, folder) for path in place.rglob("*")}
    alone = fit_run(run, dataset, command="as it was typed", trials=3)
    assert {path: path.stat().st_mtime_ns for place in (tmp_path, folder) for path in place.rglob("*")} == before
    assert jax.tree.structure(alone.params) == jax.tree.structure(kept.params)
    jax.tree.map(np.testing.assert_array_equal, alone.params, kept.params)
    timed = {"training_seconds", "seconds_per_epoch", "this_process_seconds"}
    result = {name: value for name, value in alone.result.items() if name not in timed}
    assert result == {name: value for name, value in kept.result.items() if name not in timed}
    assert result["command"] == "as it was typed" and result["trials"] == 3 and result["best_epoch"] <= result["epochs"]
    jax.tree.map(np.testing.assert_array_equal, alone.per_user, kept.per_user)


@pytest.mark.parametrize(("asked", "ranked"), [(0, 12), (5, 5), (20, 12), ("auto", 12)])
def test_validation_ranks_for_a_sample_of_the_users(run_of, asked, ranked):
    run, dataset = run_of("itemknn", validate_users=asked)
    assert users_validated(run, dataset) == ranked
    part = validated(dataset, asked, seed=3).valid
    assert len(part.users) == ranked == len(set(part.users.tolist()))
    of_user = dict(zip(dataset.valid.users.tolist(), dataset.valid.items.tolist(), strict=True))
    assert all(of_user[user] == item for user, item in zip(part.users.tolist(), part.items.tolist(), strict=True))
    again = validated(dataset, asked, seed=3).valid.users
    np.testing.assert_array_equal(again, part.users)


def test_of_large_logs_validation_ranks_for_a_sample_if_nothing_is_said(run_of, monkeypatch):
    monkeypatch.setattr(fit, "AT_ONCE", 15 * 7)
    monkeypatch.setattr(fit, "LEAST_VALIDATED", 3)
    run, dataset = run_of("itemknn")
    assert users_validated(run, dataset) == 7
    different = validated(dataset, "auto", seed=1).valid.users
    assert set(different.tolist()) != set(validated(dataset, "auto", seed=0).valid.users.tolist())


def test_parameters_that_do_not_fit_are_refused_before_they_are_made(run_of, monkeypatch, tmp_path):
    monkeypatch.setattr(fit.memory, "available", lambda: 1000)
    with pytest.raises(InputError, match=r"--model=neumf: the parameters, .* GiB, and 2 moments of each, need"):
        fit_run(*run_of("neumf"), tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_folder_holds_the_result_and_is_opened(run_of, kept_of):
    run, dataset = run_of("neumf")
    folder, done = kept_of("neumf")
    assert read_json(folder / "result.json") == json.loads(json.dumps(done.result))
    assert len(read_records(folder, 3)) == 3 and len(read_records(folder, 2)) == 2
    opened, _, _, _, params = open_trained(folder, whole=False)
    assert opened == run
    again, _, data, _, params = open_trained(folder)
    assert again.train == dataclasses.replace(run.train, validation=False, until=done.result["best_epoch"])
    assert len(data.train.users) == len(dataset.train.users) + len(dataset.valid.users)
    jax.tree.map(np.testing.assert_array_equal, params, done.params)


def test_training_again_is_training_without_validation_for_as_many_epochs(run_of, kept_of):
    done = kept_of("neumf")[1]
    assert done.result["trained_again"] and "by training again" in done.result["knows"]
    until = done.result["best_epoch"]
    plain, whole = run_of("neumf", validation=False, until=until)
    expected = fit_run(plain, whole)
    assert expected.result["epochs"] == until and "trained on both" in expected.result["knows"]
    jax.tree.map(np.testing.assert_array_equal, done.params, expected.params)
    assert done.result["rows"] == expected.result["rows"]
    assert {name: done.result[name] for name in ("ndcg@10", "auc")} == {
        name: expected.result[name] for name in ("ndcg@10", "auc")
    }


def test_what_is_known_is_the_training_part_alone_if_asked(run_of, kept_of):
    whole, part = kept_of("itemknn")[1], fit_run(*run_of("itemknn", knows="train"))
    assert "the latter as history" in whole.result["knows"] and part.result["knows"] == "the training part alone"
    assert whole.result["rows"]["test"] == part.result["rows"]["test"]
    assert whole.result["rows"]["known"] != part.result["rows"]["known"]
    jax.tree.map(np.testing.assert_array_equal, whole.params, part.params)  # the same model, of other histories
    assert (whole.per_user["auc"] != part.per_user["auc"]).any()
    assert kept_of("neumf")[1].result["trained_again"]
    assert "trained_again" not in fit_run(*run_of("neumf", knows="train")).result


def test_more_epochs_of_a_schedule_that_ends_with_them_are_another_run(run_of, tmp_path):
    run, dataset = run_of("neumf", schedule="cosine", knows="train")
    fit_run(run, dataset, tmp_path)
    longer, _ = run_of("neumf", schedule="cosine", knows="train", epochs=5)
    with pytest.raises(InputError, match=r"flag --epochs: .* was trained for 3 epochs by --schedule=cosine"):
        fit_run(longer, dataset, tmp_path)
    constant, dataset = run_of("itemknn")
    fit_run(constant, dataset, tmp_path / "constant")


def test_fewer_epochs_than_are_done_are_refused(run_of, tmp_path):
    run, dataset = run_of("neumf", patience=0, knows="train")
    fit_run(run, dataset, tmp_path)
    before = (tmp_path / "result.json").read_text()
    shorter, _ = run_of("neumf", patience=0, knows="train", epochs=2)
    with pytest.raises(InputError, match="flag --epochs: 3 epochs are trained already"):
        fit_run(shorter, dataset, tmp_path)
    assert (tmp_path / "result.json").read_text() == before


def test_the_best_epoch_of_validation_is_tested_and_the_last_without(run_of):
    run, dataset = run_of("neumf", epochs=5)
    told = []

    @contextmanager
    def progress(epochs):
        told.append([])
        yield told[-1].append
        assert len(told[-1]) <= epochs

    result = fit_run(run, dataset, progress=progress).result
    values = [record["ndcg@10"] for record in told[0]]
    assert len(told) == 2 and len(told[1]) == result["best_epoch"]  # trained again
    assert result["best_epoch"] == 1 + int(np.argmax(values)) and result["valid"]["ndcg@10"] == max(values)
    assert all({"epoch", "loss", "seconds"} <= record.keys() for record in told[0])
    run, dataset = run_of("neumf", validation=False)
    result = fit_run(run, dataset).result
    assert result["best_epoch"] == 3 and result["valid"] == {}


def test_an_unknown_metric_is_refused_with_those_there_are(run_of):
    run, dataset = run_of("neumf", metric="accuracy")
    with pytest.raises(InputError, match=r"flag --metric: 'accuracy' is unknown here; legal are .*ndcg@10"):
        fit_run(run, dataset)
