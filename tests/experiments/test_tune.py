"""Search by command line: tables, recipes that come to the best trial's value, and a search that was killed."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from ancf_jax.tuning import search as searches
from experiments import recipe, train, tune


@pytest.fixture(scope="module")
def data(shop):
    return [f"--dataset={shop}/log.csv", "--user_column=customer", "--item_column=product"]


@pytest.fixture(scope="module")
def tuned(script, data, tmp_path_factory):
    """A search for two models: the workdir, the flags, and what was printed."""
    folder = tmp_path_factory.mktemp("tuned")
    flags = [*data, "--models=popularity,recent", "--trials=5", f"--workdir={folder}"]
    status, out, err = script(tune, *flags)
    assert status == 0, err
    return folder, flags, out


def trials_of(folder, name):
    """The trials of a study as JSON, without seconds."""
    trials = json.loads((folder / f"log-{name}-trials.json").read_text())["trials"]
    return [{key: value for key, value in each.items() if key != "seconds"} for each in trials]


def test_table_and_result(tuned):
    folder, _, out = tuned
    last = json.loads(out.splitlines()[-1])
    models = last["models"]
    assert {name: each["trials"] for name, each in models.items()} == {"popularity": 1, "recent": 5}
    assert last["ndcg@10"] == models[last["best"]]["ndcg@10"] == max(each["ndcg@10"] for each in models.values())
    for name, each in models.items():
        trials = trials_of(folder, name)
        assert each["ndcg@10"] == max(trial["value"] for trial in trials) >= each["start"] == trials[0]["value"]
    tables = [
        line for line in out.splitlines() if re.match(r"(setting|ndcg@10|half_life|model|popularity|recent) ", line)
    ]
    assert len(tables) == 3 + 2 + 3 and max(map(len, tables)) <= 80
    assert "recent: 5 trials: 5 done" in out and re.search(r"^half_life +- +0\.1 ", out, re.MULTILINE)


def test_the_study_is_written(tuned):
    folder, _, _ = tuned
    content = json.loads((folder / "log-recent-trials.json").read_text())
    assert content["space"] == {"half_life": "0.003 to 1, log"} and content["importance"] == {}
    assert "optuna" in content["versions"] and "experiments.tune" in content["command"]
    page = (folder / "log-recent-trials.md").read_text()
    assert page.count("| done ") == 5 and "no trial read the test part" in page
    assert "<svg" in (folder / "log-recent-trials.svg").read_text()


def test_a_recipe_comes_to_the_value_of_the_best_trial(tuned, script, tmp_path):
    folder, _, out = tuned
    for name, each in json.loads(out.splitlines()[-1])["models"].items():
        assert each["recipe"] == f"{folder}/log-{name}.flags"
        comment = Path(each["recipe"]).read_text().splitlines()[0]
        assert comment.startswith(f"# {name} on log.csv, leave-one-out: the best of ")
    status, printed, err = script(
        train, f"--flagfile={folder}/log-recent.flags", "--beside=", f"--workdir={tmp_path}/run"
    )
    assert status == 0, err
    result = json.loads(printed.splitlines()[-1])
    best = json.loads(out.splitlines()[-1])["models"]["recent"]
    assert result["valid"]["ndcg@10"] == best["ndcg@10"] and result["model"] == "recent"


@pytest.mark.parametrize(
    "name", ["ml-100k-ancf", "ml-100k-ancf-ordered", "ncf-ml-1m-ancf", "ml-1m-ratings-neumf", "gowalla-lightgcn"]
)
def test_the_flags_of_a_run_are_a_recipe_of_it(name, tmp_path, script):
    file, runs, found = recipe.options.RECIPES / f"{name}.flags", tmp_path / "runs", []

    class Parsed:
        define = staticmethod(tune.define)

        @staticmethod
        def main():
            run = recipe.run_of(str(file), "", [], 3, runs)
            written = recipe.flags_of(run, runs, ("l2", "learning_rate"))
            (tmp_path / "written.flags").write_text("\n".join(written))
            found.extend([run, recipe.run_of(f"{tmp_path}/written.flags", "", [], 3, runs), written])
            return {}

    assert script(Parsed)[0] == 0
    run, again, written = found
    assert again == run and sum(flag.startswith(("--l2=", "--learning_rate=")) for flag in written) == 2


def test_a_finished_search_is_not_done_again_and_a_longer_one_goes_on(tuned, script):
    folder, flags, _ = tuned
    before = trials_of(folder, "recent")
    status, again, err = script(tune, *flags, "--models=recent", "--trials=6")
    assert status == 0, err
    assert "recent: 5 trials are done" in again and trials_of(folder, "recent")[:5] == before
    assert len(trials_of(folder, "recent")) == 6


def test_another_search_in_the_same_workdir_is_refused(tuned, script):
    _, flags, _ = tuned
    status, _, err = script(tune, *flags, "--models=recent", "--metric=hr@10")
    assert status == 2 and "metric is 'ndcg@10' there and 'hr@10' here" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--models=ease", "--tensorboard"], "--tensorboard: no search reads it"),
        (["--models=ease", "--novalidation"], "flag --validation: a search goes by"),
        (["--models=esae"], "'esae'"),
        (["--models=ease", "--metric=accuracy"], "'accuracy' is unknown here"),
        (["--models=ease", "--trials=0"], "trials"),
    ],
)
def test_what_cannot_be_searched_is_refused(flags, message, data, script, tmp_path):
    status, _, err = script(tune, *data, *flags, f"--workdir={tmp_path}")
    assert status == 2 and message in err and err.count("\n") == 1, err


def test_models_that_go_by_other_metrics_share_no_table():
    with pytest.raises(tune.InputError, match=r"mf goes by ndcg@10 and biased_mf by rmse.*give --metric"):
        tune.check_alike({"mf": ("abc", "ndcg@10"), "biased_mf": ("abc", "rmse")})
    with pytest.raises(tune.InputError, match="mf and bpr read other rows"):
        tune.check_alike({"mf": ("abc", "ndcg@10"), "bpr": ("xyz", "ndcg@10")})


def test_an_interrupted_search_shows_what_it_has(data, script, tmp_path, monkeypatch):
    original, trained = searches.learn, []

    def learn(*args, **options):
        trained.append(1)
        if len(trained) == 3:
            raise KeyboardInterrupt
        return original(*args, **options)

    monkeypatch.setattr(searches, "learn", learn)
    status, out, err = script(tune, *data, "--models=recent", "--trials=5", f"--workdir={tmp_path}")
    assert status == 130 and "rerunning the same command resumes" in err
    assert "recent: 2 trials: 2 done" in out and re.search(r"^half_life ", out, re.MULTILINE)


def test_a_killed_search_goes_on_and_comes_to_the_same(tuned, data, script, tmp_path):
    flags = [*data, "--models=recent", "--trials=5", f"--workdir={tmp_path}"]
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-m", "experiments.tune", *flags], cwd=root, stdout=subprocess.PIPE) as run:
        while states(tmp_path).count("COMPLETE") < 2:
            assert run.poll() is None
            time.sleep(0.02)
        os.kill(run.pid, signal.SIGKILL)
    left = states(tmp_path)
    assert run.returncode == -signal.SIGKILL and 2 <= left.count("COMPLETE") < 5
    status, out, err = script(tune, *flags)
    assert status == 0, err
    assert f"recent: {left.count('COMPLETE')} trials are done" in out
    assert trials_of(tmp_path, "recent") == trials_of(tuned[0], "recent")[:5]
    assert states(tmp_path).count("COMPLETE") == 5 and states(tmp_path).count("FAIL") <= 1


def states(folder):
    """The states of the trials that a file keeps."""
    try:
        with closing(sqlite3.connect(f"file:{folder}/studies.db?mode=ro", uri=True)) as file:
            return [state for (state,) in file.execute("SELECT state FROM trials")]
    except sqlite3.OperationalError:  # not there yet
        return []
