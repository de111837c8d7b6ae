"""Training from files that stay where they are: interrupted anywhere, used afterwards, and refused in one line."""

import errno
import json
import shutil

import jax
import numpy as np
import pandas as pd
import pytest

from ancf_jax.models.factors import ncf
from ancf_jax.runs.run import build, from_workdir, open_data
from ancf_jax.training import checkpoint
from ancf_jax.training.loop import init_state
from ancf_jax.training.optimizers import make_optimizer
from experiments import evaluate, recommend, train

ROWS, USERS = 90, 12


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """A folder of two files with five row groups; user 11 is in no held-out part."""
    folder = tmp_path_factory.mktemp("shop") / "log"
    folder.mkdir()
    pairs = np.random.default_rng(0).permutation((USERS - 1) * 15)[:ROWS]
    frame = pd.DataFrame({"user": pairs // 15, "item": pairs % 15, "when": np.arange(ROWS)})
    frame.loc[:9, "user"], frame.loc[:9, "item"] = 11, range(10)
    frame[:50].to_parquet(folder / "1.parquet", row_group_size=20)
    frame[50:].to_parquet(folder / "2.parquet", row_group_size=25)
    return folder


@pytest.fixture(scope="module")
def arguments(log):
    """The flags that stream the log: two passes of three windows, and none on the validation part too."""
    data = [f"--dataset={log}", "--time_column=when", "--stream", "--stream_rows=20", "--fractions=0.6,0.2,0.2"]
    net = ["--factors=2", "--tower_factors=2", "--tower=4", "--dropout=0.2", "--batch_size=5", "--epochs=2"]
    return lambda folder: [*data, "--model=neumf", *net, "--knows=train", f"--workdir={folder}"]


@pytest.fixture(scope="module")
def whole(script, arguments, tmp_path_factory):
    """The workdir of a finished run, what it printed, and how often the loss was traced until each window was saved."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    calls, traced = [], []

    def make(config, data, make=ncf.make):
        model = make(config, data)

        def loss(*batch):
            calls.append(None)
            return model.learn.loss(*batch)

        return model._replace(learn=model.learn._replace(loss=loss))

    def save(*saved, whole=checkpoint.save, **about):
        traced.append(len(calls))
        whole(*saved, **about)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ncf, "make", make)
        patch.setattr(checkpoint, "save", save)
        status, out, err = script(train, *arguments(folder))
    assert status == 0, err
    return folder, out, traced


def records(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) | {"seconds": 0} for line in lines]


def latest(folder):
    """The state that a run goes on from."""
    run, _ = from_workdir(folder)
    _, model = build(run, open_data(run))
    tx = make_optimizer(run.train, 1)
    return jax.tree.leaves(checkpoint.load_latest(folder, init_state(model, tx, 0))[0])


def test_a_window_is_a_line_and_a_pass_is_evaluated(whole):
    folder, out, _ = whole
    found = records(folder)
    assert [(line["epoch"], line["pass"], line["window"]) for line in found] == [
        (3 * done + n, done + 1, n) for done in range(2) for n in (1, 2, 3)
    ]
    assert [line["epoch"] for line in found if "ndcg@10" in line] == [3, 6]
    assert "train 54, valid 18, test 18" in out and "a pass is 3 windows" in out
    result = json.loads((folder / "result.json").read_text())
    assert result["best_epoch"] in (3, 6) and result["epochs_per_pass"] == 3 and result["rows_per_epoch"] == 18
    assert "ndcg@10" in result and "novelty@10" not in result  # nobody counted who has an item


def test_a_run_resumed_within_a_pass_is_the_uninterrupted_one(whole, script, arguments, tmp_path, monkeypatch):
    for window in (2, 5):

        def save(folder, state, *rest, window=window, whole=checkpoint.save, **about):
            if int(state.epoch) == window:
                raise OSError(errno.ENOSPC, "No space left on device")
            whole(folder, state, *rest, **about)

        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, "save", save)
            assert script(train, *arguments(tmp_path))[0] == 1
        assert [line["epoch"] for line in records(tmp_path)] == list(range(1, window))
    assert script(train, *arguments(tmp_path))[0] == 0
    assert records(tmp_path) == records(whole[0])
    for leaf, expected in zip(latest(tmp_path), latest(whole[0]), strict=True):
        np.testing.assert_array_equal(leaf, expected)


def test_all_windows_share_one_program(whole):
    _, _, traced = whole
    assert len(traced) == 6 and traced[0] == traced[-1] > 0


def test_a_trained_model_is_used(whole, script):
    folder = whole[0]
    result = json.loads((folder / "result.json").read_text())
    status, out, _ = script(evaluate, f"--workdir={folder}")
    again = json.loads(out.splitlines()[-1])
    assert status == 0 and again["ndcg@10"] == result["ndcg@10"]
    status, out, err = script(recommend, f"--workdir={folder}", "--user=11", "--top_k=15")
    assert status == 0, err
    items = {row["item"] for row in json.loads(out.splitlines()[-1])["users"]["11"]}
    assert items == set(range(10, 15))  # what user 11 has was read for the occasion


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--model=mf"],
            "flag --stream: mf learns from whole histories; models that stream are biased_mf, bpr, gmf, mlp, neumf",
        ),
        (["--model=popularity"], "flag --stream: popularity learns from whole histories"),
        (["--split=leave-one-out"], "flag --split: 'leave-one-out' needs the whole log in memory"),
        (["--clip_predictions"], "flag --clip_predictions: needs the training part in memory, so not with --stream"),
        (["--item_core=2"], "flags --user_core, --item_core: they need the whole log in memory"),
        (["--stream_rows=0"], "flag --stream_rows: 0 is out of range; legal is at least 1"),
        (["--dataset=ml-1m"], "--dataset=ml-1m: legal with --stream are a .parquet file and a folder of them"),
    ],
)
def test_what_cannot_stream_is_refused(script, log, tmp_path, options, message):
    data = [f"--dataset={log}", "--stream", f"--workdir={tmp_path / 'run'}"]
    status, _, err = script(train, *data, "--model=gmf", *options)
    assert status == 2 and err.startswith("error: ") and err.count("\n") == 1 and message in err
    assert not (tmp_path / "run").exists()


def test_a_log_that_changed(whole, script, arguments, log):
    shutil.move(log / "2.parquet", log.parent)
    status, _, err = script(train, *arguments(whole[0]))
    shutil.move(log.parent / "2.parquet", log)
    assert status == 2 and "holds another run: data set is" in err
