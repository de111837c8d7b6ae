"""The Python face: its numbers are the scripts', its errors speak of arguments, it writes nothing unless told to."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ancf_jax
from ancf_jax import api
from ancf_jax.models.baselines import popularity
from ancf_jax.models.factors import mf, ncf
from ancf_jax.types import InputError
from experiments import train

SMALL = {"factors": 4, "history": 5, "tower": (), "prior": 0.0, "negatives": 4, "targets": 2}


@pytest.fixture(scope="module")
def log():
    """15 people, each of whom bought 8 of 12 things, and when."""
    rng = np.random.default_rng(0)
    bought = [
        (f"c{who:02}", f"p{what:02}", day) for who in range(15) for day, what in enumerate(rng.permutation(12)[:8])
    ]
    return pd.DataFrame(bought, columns=["who", "what", "day"])


@pytest.fixture(scope="module")
def dataset(log):
    return ancf_jax.load(log, user="who", item="what", time="day")


def test_a_text_that_is_no_unicode_is_refused_by_its_column():
    frame = pd.DataFrame({"user": ["a", "\ud800", "c"], "item": ["x", "y", "z"]}, dtype=object)
    with pytest.raises(InputError, match=r"column 'user' holds a text that is no Unicode: '\\ud800'"):
        ancf_jax.load(frame)


def test_a_frame_and_its_file_are_one_data_set(log, dataset, tmp_path):
    log.to_csv(tmp_path / "log.csv", index=False)
    read = ancf_jax.load(tmp_path / "log.csv", user="who", item="what", time="day")
    assert read.fingerprint == dataset.fingerprint


def test_numbers_are_those_of_the_script(log, tmp_path, script):
    log.to_csv(tmp_path / "log.csv", index=False)
    columns = ["--user_column=who", "--item_column=what", "--time_column=day"]
    settings = [f"--{name}={','.join(map(str, value)) if value == () else value}" for name, value in SMALL.items()]
    arguments = [f"--dataset={tmp_path}/log.csv", *columns, "--model=ancf", "--epochs=2", "--seed=3", *settings]
    status, _, err = script(train, *arguments, "--beside=", f"--workdir={tmp_path}/run")
    assert status == 0, err
    there = json.loads((tmp_path / "run" / "result.json").read_text())
    dataset = ancf_jax.load(tmp_path / "log.csv", user="who", item="what", time="day")
    here = ancf_jax.fit("ancf", dataset, epochs=2, seed=3, **SMALL)
    metrics = {name: value for name, value in here.evaluate().items()}
    assert metrics and metrics == {name: there[name] for name in metrics}
    assert here.result["valid"] == there["valid"] and here.evaluate("valid").items() >= there["valid"].items()
    opened = ancf_jax.open_run(tmp_path / "run")
    assert opened.evaluate() == metrics and opened.recommend(["c03"]).equals(here.recommend(["c03"]))


def test_nothing_is_written_without_a_workdir(dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ancf_jax.fit("mf", dataset, epochs=1, factors=2).recommend(["c00"])
    ancf_jax.compare(["popularity"], dataset)
    assert list(tmp_path.iterdir()) == []


def test_a_workdir_is_resumed(dataset, tmp_path):
    settings = {"factors": 2, "patience": 0, "knows": "train"}

    def run(epochs):
        return ancf_jax.fit("mf", dataset, epochs=epochs, workdir=tmp_path / "mf", **settings)

    run(1)
    resumed, whole = run(3), ancf_jax.fit("mf", dataset, epochs=3, **settings)
    assert len((tmp_path / "mf" / "metrics.jsonl").read_text().splitlines()) == 3
    assert resumed.evaluate() == whole.evaluate()


def test_progress_is_told_of_each_epoch(dataset):
    told = []

    class Progress:
        def __init__(self, epochs):
            told.append(epochs)

        def __enter__(self):
            return lambda record: told.append(record["epoch"])

        def __exit__(self, *error):
            told.append("done")

    ancf_jax.fit("mf", dataset, epochs=2, factors=2, progress=Progress)
    assert told[:4] == [2, 1, 2, "done"] and told[-1] == "done" and len(told) in (7, 8)  # and once more, on all rows


@pytest.mark.parametrize(
    "model, name",
    [
        (mf, "mf"),
        (mf.make, "mf"),
        (ncf.make_gmf, "gmf"),
        (popularity.make_recent, "recent"),
        ("item_mean", "item_mean"),
    ],
)
def test_models_by_name_module_or_factory(dataset, model, name):
    epochs = {} if name in ("recent", "item_mean") else {"factors": 2}
    assert ancf_jax.fit(model, dataset, epochs=1, knows="train", **epochs).result["model"] == name


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda log, d: ancf_jax.load(log, user="whom"), "no column 'whom'"),
        (lambda log, d: ancf_jax.load("nowhere.csv"), "nowhere.csv"),
        (lambda log, d: ancf_jax.load(log, splits="time"), "argument splits: .*; did you mean split"),
        (lambda log, d: ancf_jax.fit("nmf", d), "model=nmf is unknown"),
        (lambda log, d: ancf_jax.fit("mf", d, factor=2), "argument factor: .*; did you mean factors"),
        (lambda log, d: ancf_jax.fit("mf", d, factors=-2), "argument factors: -2 is out of range; legal is at least 1"),
        (lambda log, d: ancf_jax.fit("ease", d, lazy_rows=True), "argument lazy_rows: needs a model that learns by"),
        (lambda log, d: ancf_jax.tune("mf", d, trial=2), "argument trial: .*; did you mean"),
        (
            lambda log, d: ancf_jax.tune("mf", d, trials=0),
            "arguments trials, minutes, together: legal are at least 1, 0 and 1",
        ),
        (lambda log, d: ancf_jax.tune("mf", d, validation=False), "argument validation: a search goes by"),
        (lambda log, d: ancf_jax.open_run("nowhere"), "nowhere"),
    ],
)
def test_errors_are_one_line_about_arguments(log, dataset, call, message):
    with pytest.raises(ancf_jax.InputError, match=message) as error:
        call(log, dataset)
    assert "--" not in str(error.value) and "\n" not in str(error.value)


def test_a_comparison_is_a_table(dataset):
    models = {"popularity": {}, "small": {"model": "mf", "factors": 2, "epochs": 1}}
    table = ancf_jax.compare(models, dataset, seeds=2, metrics=("ndcg@5", "hr@5"), knows="train")
    assert set(table["model"]) == set(models) and list(table["ndcg@5"]) == sorted(table["ndcg@5"], reverse=True)
    settings = models["small"] | {"knows": "train"}
    seeds = [ancf_jax.fit(dataset=dataset, seed=seed, **settings).evaluate()["hr@5"] for seed in (0, 1)]
    assert table.set_index("model")["hr@5"]["small"] == pytest.approx(np.mean(seeds), abs=1e-12)


def test_a_search_finds_settings_that_come_to_its_value(dataset, tmp_path):
    tuned = ancf_jax.tune("slim", dataset, trials=3, sweeps=4, workdir=tmp_path)
    assert tuned.settings.keys() == {"l1", "l2", "sweeps"} and list(tuned.trials["trial"]) == [1, 2, 3]
    assert tuned.value == tuned.trials["ndcg@10"].max() and tuned.importance == {}
    assert ancf_jax.fit("slim", dataset, **tuned.settings).result["valid"]["ndcg@10"] == tuned.value
    again = ancf_jax.tune("slim", dataset, trials=3, sweeps=4, workdir=tmp_path)
    assert again.settings == tuned.settings and again.trials.equals(tuned.trials)
    with pytest.raises(ancf_jax.InputError, match=r"argument workdir: .* sweeps is 4 there and 5 here") as error:
        ancf_jax.tune("slim", dataset, trials=3, sweeps=5, workdir=tmp_path)
    assert "--" not in str(error.value)


def test_the_package_is_light_until_it_is_used():
    code = "import sys, ancf_jax; print(sorted({'jax', 'pandas', 'orbax', 'flax'} & set(sys.modules))); ancf_jax.fit"
    root = Path(__file__).parents[1]
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert found.stdout.strip() == "[]"


def test_models_that_know_different_rows_share_no_table(dataset, monkeypatch):
    monkeypatch.setattr(api, "fit_run", None)  # refused before anything is trained
    with pytest.raises(ancf_jax.InputError, match="models: most and less would not know") as error:
        ancf_jax.compare({"most": {"model": "popularity"}, "less": {"model": "itemknn", "knows": "train"}}, dataset)
    assert "--" not in str(error.value)
