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

pytestmark = pytest.mark.xdist_group("shop")  # whose runs one worker trains, once


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


def test_popularity_and_item_neighbours_are_trained_beside_it(script, arguments, trained, tmp_path):
    status, out, err = script(train, *arguments("mf", tmp_path / "mf"), "--beside=popularity,itemknn,mf")
    assert status == 0, err
    result = json.loads(out.splitlines()[-1])
    assert set(result["beside"]) == {"popularity", "itemknn"}
    neighbours = json.loads((trained("itemknn") / "result.json").read_text())["ndcg@10"]
    assert result["beside"]["itemknn"]["ndcg@10"] == pytest.approx(neighbours)
    ahead = "ahead of" if result["ndcg@10"] > neighbours else "behind"
    assert f"mf is {ahead} itemknn by ndcg@10: {result['ndcg@10']:.4f} against {neighbours:.4f}" in out + err
    assert "popularity test" in out and {path.name for path in tmp_path.iterdir()} == {"mf"}
    refused(script(train, *arguments("mf", tmp_path / "mf"), "--beside=popular"), "flag --beside: 'popular'")


def test_a_model_of_ratings_is_picked_by_its_errors_and_tested_for_them(script, tmp_path):
    rows = [f"u{user:02},i{item},{1 + (user * item) % 5}\n" for user in range(12) for item in range(user % 3, 9)]
    (tmp_path / "log.csv").write_text("user,item,stars\n" + "".join(rows))
    data = [f"--dataset={tmp_path}/log.csv", "--value_column=stars", "--split=k-fold", "--folds=3", "--fold=1"]
    options = [
        "--model=biased_mf",
        "--factors=2",
        "--learning_rate=0.3",
        "--metric=rmse",
        "--epochs=4",
        "--knows=train",
        "--beside=",
    ]
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


@pytest.mark.parametrize("target", ["log", "z-score"])
def test_predictions_are_in_the_units_of_the_log(script, tmp_path, target):
    """The least and the greatest rating are predicted for everybody: errors and scores are those of ratings."""
    rows = [f"u{user:02},i{item},{1 + (user * item) % 5}\n" for user in range(12) for item in range(user % 3, 9)]
    (tmp_path / "log.csv").write_text("user,item,stars\n" + "".join(rows))
    data = [f"--dataset={tmp_path}/log.csv", "--value_column=stars", "--model=global_mean", f"--target={target}"]
    status, out, err = script(train, *data, "--metric=rmse", "--knows=train", "--beside=", f"--workdir={tmp_path}/run")
    assert status == 0, err
    result = json.loads(out.splitlines()[-1])
    assert 0.5 < result["rmse"] < 2.5  # of ratings from 1 to 5, by a mean of their targets
    assert result["rmse"] == pytest.approx(result["mse"] ** 0.5)
    listed = json.loads(script(recommend, f"--workdir={tmp_path}/run", "--user=u01")[1].splitlines()[-1])
    assert listed["score"].startswith("predicted value in the log's own units")
    assert all(1 <= row["score"] <= 5 for row in listed["users"]["u01"])


def test_predictions_are_clipped_if_asked(script, tmp_path):
    rows = [f"u{user:02},i{item},{1 + 4 * (user % 2)}\n" for user in range(12) for item in range(user % 3, 9)]
    (tmp_path / "log.csv").write_text("user,item,stars\n" + "".join(rows))
    data = [f"--dataset={tmp_path}/log.csv", "--value_column=stars", "--model=biased_mf", "--epochs=1"]
    data += ["--learning_rate=20", "--knows=train", "--beside=", f"--workdir={tmp_path}/run"]
    found = {}
    for clip in ("noclip_predictions", "clip_predictions"):
        status, out, err = script(train, *data, f"--{clip}")
        assert status == 0, err
        listed = json.loads(
            script(recommend, f"--workdir={tmp_path}/run", "--user=u01", f"--{clip}")[1].splitlines()[-1]
        )
        found[clip] = json.loads(out.splitlines()[-1])["mae"], max(abs(row["score"]) for row in listed["users"]["u01"])
    assert found["noclip_predictions"][0] > 4 >= found["clip_predictions"][0]
    assert found["noclip_predictions"][1] > 5 >= found["clip_predictions"][1]


def test_a_metric_of_ones_own_picks_the_epoch(script, arguments, tmp_path, monkeypatch):
    mine = "def top(ranks, count, visible):\n    return metrics.recall(ranks, count, 4)\n"
    (tmp_path / "figs_pick.py").write_text(f"from ancf_jax.evaluation import metrics\n\n{mine}")
    monkeypatch.syspath_prepend(tmp_path)
    own = ["--metric=figs_pick:top", "--ks=4,12", "--tensorboard", "--knows=train"]
    status, out, err = script(train, *arguments("mf", tmp_path / "run", epochs=3), *own)
    assert status == 0, err
    result = json.loads(out.splitlines()[-1])
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert result["valid"]["figs_pick:top"] == max(line["figs_pick:top"] for line in lines)
    assert result["figs_pick:top"] == result["recall@4"] and "ndcg@12" in result and "ndcg@10" not in result
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1
    again = json.loads(script(evaluate, f"--workdir={tmp_path}/run", "--own_metric=figs_pick:top")[1].splitlines()[-1])
    assert again["figs_pick:top"] == pytest.approx(result["recall@4"])


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        (["--ks=5,12"], ["flag --metric: 'ndcg@10' is unknown here", "ndcg@5", "ndcg@12", "package.module:function"]),
        (["--metric=rmse"], ["flag --metric: 'rmse' is unknown here"]),
        (["--metric=nowhere.metrics:mine"], ["nowhere.metrics:mine: ModuleNotFoundError"]),
        (["--own_metric=mine"], ["metric 'mine' is none"]),
        (["--ks=0"], ["flag --ks", "at least 1"]),
    ],
)
def test_metrics_are_checked_before_training(script, arguments, tmp_path, options, messages):
    refused(script(train, *arguments("mf", tmp_path / "run"), *options), *messages)
    assert not (tmp_path / "run").exists()


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
    part = ["--split=random", "--fractions=0.9,0,0.1"]
    refused(
        script(train, *arguments("mf", tmp_path / "run"), *part), "no row is held out for validation: choose --noval"
    )
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
    assert script(recommend, f"--workdir={tmp_path}/run", "--user=c03")[0] == 0  # by the data that the run kept
    (tmp_path / "run" / "dataset.npz").unlink()
    refused(script(recommend, f"--workdir={tmp_path}/run", "--user=c03"), "was trained on other data")


def test_a_checkpoint_of_another_model(trained, script, tmp_path):
    shutil.copytree(trained("ancf"), tmp_path / "run")
    shutil.copy(trained("mf") / "config.json", tmp_path / "run")
    refused(script(recommend, f"--workdir={tmp_path}/run", "--user=c03"), "is of another model")


def test_a_full_disk_leaves_the_earlier_checkpoint(script, arguments, tmp_path, monkeypatch):
    def save(folder, state, *rest, whole=checkpoint.save, **about):
        if int(state.epoch) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(folder, state, *rest, **about)

    monkeypatch.setattr(checkpoint, "save", save)
    status, _, err = script(train, *arguments("mf", tmp_path, epochs=2))
    assert status == 1 and err.splitlines()[-1].startswith("error: the disk is full")
    run, _ = from_workdir(tmp_path)
    _, model = build(run, open_data(run))
    epoch, params = checkpoint.load_best(tmp_path, shapes_of(model))
    assert epoch == 1 and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
    monkeypatch.undo()
    assert script(train, *arguments("mf", tmp_path, epochs=2))[0] == 0
