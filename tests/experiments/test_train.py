"""Training by command line: results, resuming, and every way in which input is refused."""

import errno
import json
import shutil

import jax
import numpy as np
import pytest

from ancf_jax.runs.run import build, from_workdir, open_data
from ancf_jax.training import checkpoint
from ancf_jax.types import shapes_of
from experiments import evaluate, recommend, train


def refused(answer, *messages):
    """Exit status 2 and one line on stderr that says all this."""
    status, _, err = answer
    assert status == 2 and err.startswith("error: ") and err.count("\n") == 1
    assert all(message in err for message in messages), err


def test_results(trained, script, arguments):
    folder = trained("ancf")
    result = json.loads((folder / "result.json").read_text())
    assert result["model"] == "ancf" and result["best_epoch"] == result["epochs"] == 1 and result["users_tested"] == 12
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 1
    status, out, _ = script(train, *arguments("ancf", folder))  # a finished run is not trained again
    again = json.loads(out.splitlines()[-1])
    assert status == 0 and again["training_seconds"] == result["training_seconds"]
    assert {name: again[name] for name in again if "@" in name} == {name: result[name] for name in again if "@" in name}


def test_a_model_of_ratings_is_picked_by_its_errors_and_tested_for_them(script, tmp_path):
    rows = [f"u{user:02},i{item},{1 + (user * item) % 5}\n" for user in range(12) for item in range(user % 3, 9)]
    (tmp_path / "log.csv").write_text("user,item,stars\n" + "".join(rows))
    data = [f"--dataset={tmp_path}/log.csv", "--value_column=stars", "--split=k-fold", "--folds=3", "--fold=1"]
    options = ["--model=biased_mf", "--factors=2", "--learning_rate=0.3", "--metric=rmse", "--epochs=4"]
    status, out, err = script(train, *data, *options, f"--workdir={tmp_path}/run")
    assert status == 0, err
    result = json.loads(out.splitlines()[-1])
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert result["valid"]["rmse"] == min(json.loads(line)["rmse"] for line in lines)
    assert (
        result["rmse"] == pytest.approx(result["mse"] ** 0.5) and result["mae"] > 0 and f"{result['rmse']:.4f}" in out
    )
    again = json.loads(script(evaluate, f"--workdir={tmp_path}/run")[1].splitlines()[-1])
    low, high = again["intervals"]["rmse"]
    assert again["rmse"] == pytest.approx(result["rmse"]) and low < again["rmse"] < high


def test_a_resumed_run_is_the_uninterrupted_one(trained, script, arguments, tmp_path):
    shutil.copytree(trained("ancf"), tmp_path / "resumed")
    records = []
    for name in ("resumed", "whole"):
        assert script(train, *arguments("ancf", tmp_path / name, epochs=3))[0] == 0
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        records.append([json.loads(line) | {"seconds": 0} for line in lines])
    assert records[0] == records[1] and len(records[0]) == 3


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        (None, ["no such file"]),
        ("", ["empty"]),
        ("customer,product,price\n", ["no rows"]),
        ("client,product,price\na,b,1\n", ["no column 'customer'", "client, product, price"]),
        ("customer,produkt,price\na,b,1\n", ["no column 'product'", "did you mean produkt?"]),
        ("customer,product,price\na,b,1\na,c,cheap\n", ["line 3", "'price'", "'cheap' is not a number"]),
    ],
)
def test_bad_files(script, tmp_path, content, messages):
    path = tmp_path / "log.csv"
    if content is not None:
        path.write_text(content)
    columns = ["--user_column=customer", "--item_column=product", "--value_column=price"]
    refused(script(train, f"--dataset={path}", *columns, f"--workdir={tmp_path}/run"), str(path), *messages)
    assert not (tmp_path / "run").exists()


def test_an_empty_test_part_is_refused_before_training(script, arguments, tmp_path):
    part = ["--split=random", "--fractions=0.9,0.1,0"]
    refused(script(train, *arguments("mf", tmp_path / "run"), *part), "nothing is held out")
    assert not (tmp_path / "run").exists()


def test_flags_of_another_model(script, arguments, tmp_path):
    refused(script(train, *arguments("mf", tmp_path), "--heads=2"), "not one of mf's")
    refused(script(train, *arguments("mf", tmp_path), "--model=fm"), "--model=fm", "ancf")


def test_a_workdir_of_another_run(trained, script, arguments, tmp_path):
    folder = trained("ancf")
    refused(script(train, *arguments("mf", folder)), str(folder), "model is 'ancf' there and 'mf' here")
    refused(script(train, *arguments("ancf", folder), "--seed=7"), "seed is 0 there and 7 here")


def test_a_data_set_that_changed(script, shop, arguments, tmp_path):
    log = shutil.copy(shop / "log.csv", tmp_path)
    command = [*arguments("itemknn", tmp_path / "run"), f"--dataset={log}"]
    assert script(train, *command)[0] == 0
    with open(log, "a") as file:
        file.write("c99,p01\n")
    refused(script(train, *command), "holds another run: data set is")
    refused(script(recommend, f"--workdir={tmp_path}/run", "--user=c03"), "was trained on other data")


def test_a_checkpoint_of_another_model(trained, script, tmp_path):
    shutil.copytree(trained("ancf"), tmp_path / "run")
    shutil.copy(trained("mf") / "config.json", tmp_path / "run")
    refused(script(recommend, f"--workdir={tmp_path}/run", "--user=c03"), "is of another model")


def test_a_full_disk_leaves_the_earlier_checkpoint(script, arguments, tmp_path, monkeypatch):
    def save(opened, state, value, whole=checkpoint.save):
        if int(state.epoch) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(opened, state, value)

    monkeypatch.setattr(checkpoint, "save", save)
    status, _, err = script(train, *arguments("mf", tmp_path, epochs=2))
    assert status == 1 and err.splitlines()[-1].startswith("error: the disk is full")
    run, _ = from_workdir(tmp_path)
    _, model = build(run, open_data(run))
    epoch, params = checkpoint.load_best(tmp_path, shapes_of(model))
    assert epoch == 1 and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
    monkeypatch.undo()
    assert script(train, *arguments("mf", tmp_path, epochs=2))[0] == 0
