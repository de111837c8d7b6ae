"""Comparison by command line: one table over models and seeds, recipes, reuse of finished runs."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from ancf_jax.data.named.benchmarks import NAMED
from ancf_jax.models import MODELS
from experiments import compare, recipe


@pytest.fixture(scope="module")
def compared(script, shop, tmp_path_factory):
    """Two models and two seeds on the shop's log: the workdir, the flags, and what was printed."""
    folder = tmp_path_factory.mktemp("compared")
    options = [f"--dataset={shop}/log.csv", "--user_column=customer", "--item_column=product", f"--workdir={folder}"]
    options += ["--models=popularity,mf", "--seeds=2", "--epochs=2"]
    status, out, err = script(compare, *options)
    assert status == 0, err
    return folder, options, out


def test_table_and_files(compared):
    folder, _, out = compared
    last = json.loads(out.splitlines()[-1])
    rows = json.loads((folder / "results.json").read_text())["rows"]
    assert [row["model"] for row in rows] == sorted(last["models"], key=lambda name: -last["models"][name]["ndcg@10"])
    assert last["best"] == rows[0]["model"] and last["ndcg@10"] == rows[0]["ndcg@10"]
    for row in rows:
        runs = [json.loads((folder / row["model"] / seed / "result.json").read_text()) for seed in "01"]
        assert [run["seed"] for run in runs] == [0, 1]
        assert row["hr@10"] == pytest.approx(sum(run["hr@10"] for run in runs) / 2)
        assert f"{row['hr@10']:.4f}" in (folder / "report.md").read_text()
    assert (
        "ties: expectation over random orders" in out
        and "interval over seeds and users" in out
        and "<svg" in (folder / "plot.svg").read_text()
    )


def test_the_same_cells_as_latex(compared):
    text = (compared[0] / "report.tex").read_text()
    lines = [line for line in (compared[0] / "report.md").read_text().splitlines() if line.startswith("| mf ")]
    for line in lines:
        assert " & ".join(cell.strip() for cell in line.strip("|").split("|")).replace("±", r"$\pm$") + r" \\" in text
    assert lines and text.count(r"\toprule") == text.count(r"\end{table}") == 3


def test_other_cutoffs_evaluate_finished_runs_again_without_training(compared, script, shop, tmp_path, monkeypatch):
    folder, options, _ = compared
    shutil.copytree(folder, tmp_path / "runs")
    (tmp_path / "figs_own.py").write_text("def held(ranks, count, visible):\n    return 1.0 * count\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = json.loads((folder / "mf" / "0" / "result.json").read_text())
    more = [f"--workdir={tmp_path}/runs", "--ks=10,12", "--own_metric=figs_own:held", "--tensorboard"]
    status, out, err = script(compare, *options, *more)
    assert status == 0, err
    after = json.loads((tmp_path / "runs" / "mf" / "0" / "result.json").read_text())
    assert after["training_seconds"] == before["training_seconds"] and "ndcg@12" in after and "ndcg@5" not in after
    assert after["evaluation"] == {"ks": [10, 12], "own_metric": ["figs_own:held"], "clip_predictions": False}
    found = json.loads(out.splitlines()[-1])["models"]["mf"]
    assert list(found) == ["ndcg@10", "ndcg@12", "hr@10", "hr@12", "figs_own:held"] and found["figs_own:held"] == 1


def test_the_page_has_every_part(compared):
    page = (compared[0] / "report.html").read_text()
    parts = ["Test metrics", "Beyond accuracy", "Users by the popularity of their items"]  # all users are as active
    assert re.findall("<h2>(.*?)</h2>", page) == [*parts, "Learning curves"]
    assert "Of a single epoch or sweep: popularity." in page
    assert page.count('src="data:image/svg+xml;base64,') == 3 + 2 + 1 + 1
    assert re.findall("^## (.*)$", (compared[0] / "report.md").read_text(), re.MULTILINE) == parts


def test_numbers_of_users_are_those_of_the_log(compared, shop):
    log = pd.read_csv(shop / "log.csv")  # without times, so a customer's last row is the test part
    last = log.groupby("customer").tail(1)
    known = log.drop(last.index)
    with np.load(compared[0] / "mf" / "0" / "users.npz") as found:
        users = dict(found)
    assert json.loads(users["ids"].tobytes()) == sorted(log["customer"].unique())  # text, as JSON
    assert users["known_rows"].tolist() == known.groupby("customer").size().tolist()
    assert users["held_out_rows"].tolist() == [1] * 12
    popularity = known.groupby("product").size().reindex(last.sort_values("customer")["product"], fill_value=0)
    assert users["held_out_popularity"].tolist() == popularity.tolist()


def test_models_of_values_are_ordered_by_their_errors_and_beside_others_by_rank():
    ranks, rates = [{"ndcg@10": 0.5, "hr@10": 0.5}], [{"ndcg@10": 0.1, "hr@10": 0.1, "rmse": 0.9}]
    assert compare.columns({"a": ranks}, "random") == ("ndcg@10", "hr@10")
    assert compare.columns({"a": rates, "b": rates}, "random")[:2] == ("rmse", "mae")
    assert compare.columns({"a": rates, "b": ranks}, "random") == ("ndcg@10", "hr@10", "rmse", "mae", "mse")
    rates, ranks = ([results[0] | {"gndcg@10": 0.2}] for results in (rates, ranks))
    assert compare.columns({"a": ranks}, "random") == ("ndcg@10", "hr@10")
    assert compare.columns({"a": rates}, "random") == ("rmse", "mae", "mse", "ndcg@10", "gndcg@10", "hr@10")
    assert compare.columns({"a": rates, "b": ranks}, "random")[:4] == ("ndcg@10", "gndcg@10", "hr@10", "rmse")
    assert compare.columns({"a": ranks}, "published") == ("recall@20", "ndcg@20")
    assert compare.columns({"a": ranks}, "published", (5, 50)) == ("recall@5", "recall@50", "ndcg@5", "ndcg@50")


def test_rewards_of_a_policy_stand_beside_ranks_and_errors():
    policy = [{"ndcg@10": 0.5, "hr@10": 0.5, "ips": 1.0, "snips": 1.0}]
    ranks, rates = [{"ndcg@10": 0.5, "hr@10": 0.5}], [{"ndcg@10": 0.1, "hr@10": 0.1, "rmse": 0.9}]
    assert compare.columns({"a": ranks, "b": policy}, "random") == ("ndcg@10", "hr@10", "ips", "snips")
    assert compare.columns({"a": policy, "b": rates}, "random")[-4:] == ("mae", "mse", "ips", "snips")


def test_finished_runs_are_reused(compared, script):
    folder, options, _ = compared
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/*/result.json")}
    assert len(before) == 4
    assert script(compare, *options)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_workdir_of_other_settings_is_refused(compared, script):
    _, options, _ = compared
    status, _, err = script(compare, *options, "--learning_rate=0.5")
    assert status == 2 and "learning_rate" in err and err.count("\n") == 1


def test_an_unknown_name_is_refused(script):
    status, _, err = script(compare, "--dataset=ml-100k", "--models=mf,nemf")
    assert status == 2 and "'nemf'" in err and "neumf" in err and err.count("\n") == 1


@pytest.mark.parametrize("path", sorted(compare.options.RECIPES.glob("*.flags")), ids=lambda path: path.stem)
def test_recipes_are_legal_and_named_after_their_data(path, tmp_path, script):
    dataset = next(name for name in NAMED if path.stem.startswith(f"{name}-"))
    runs = []

    class Parsed:
        define = staticmethod(compare.define)

        @staticmethod
        def main():
            runs.append(recipe.run_of(path.stem.removeprefix(f"{dataset}-"), dataset, [], 3, tmp_path))
            return {}

    assert script(Parsed)[0] == 0
    (run,) = runs
    assert recipe.trials_of([f"--flagfile={path}"]) in (None, *range(400))
    assert run.data.dataset == dataset and run.train.seed == 3 and run.model in MODELS
    assert all(start.startswith(str(tmp_path)) and start.endswith("/3") for start in run.warm_start)


def test_what_a_recipe_starts_from_is_trained_first_and_marked(script, shop, tmp_path):
    """And how many trials it had is kept in its result and in the table."""
    flags = "--model=mf\n--factors=4\n--window=8\n--warm_start={runs}/mf/{seed}\n"
    (tmp_path / "warm.flags").write_text(f"# MF, started from MF.\n# trials: 12\n{flags}")
    options = [f"--dataset={shop}/log.csv", "--user_column=customer", "--item_column=product", "--epochs=1"]
    more = [f"--workdir={tmp_path}/runs", f"--models={tmp_path}/warm.flags,popularity", "--seed=7"]
    status, out, err = script(compare, *options, *more)
    assert status == 0, err
    result = json.loads((tmp_path / "runs" / "warm" / "7" / "result.json").read_text())
    start = json.loads((tmp_path / "runs" / "mf" / "7" / "result.json").read_text())
    assert result["starts_from"] == ["mf"] and result["start_seconds"] == start["training_seconds"] > 0
    rows = {row["model"]: row for row in json.loads((tmp_path / "runs" / "results.json").read_text())["rows"]}
    assert set(rows) == {"warm", "popularity"} and rows["warm"]["commit"] == result["commit"]
    assert rows["warm"]["training seconds"] == pytest.approx(result["training_seconds"] + result["start_seconds"])
    assert "warm *" in out and "* starts from trained models, whose seconds are counted: warm from mf." in out
    assert (result["trials"], start["trials"]) == (12, None) == (rows["warm"]["trials"], rows["popularity"]["trials"])
    assert "Trials: settings compared" in out


def test_models_of_different_rows_share_no_table(script, shop, tmp_path):
    """Two readings of one file, and a model that knows less than another; nothing is trained before it is refused."""
    log = (shop / "log.csv").read_text().splitlines()
    (tmp_path / "other.csv").write_text("\n".join([log[0], *log[:0:-1]]) + "\n")
    columns = "--user_column=customer\n--item_column=product\n"
    (tmp_path / "other.flags").write_text(f"--model=popularity\n--dataset={tmp_path}/other.csv\n{columns}")
    (tmp_path / "less.flags").write_text(f"--model=itemknn\n--dataset={shop}/log.csv\n{columns}--knows=train\n")
    (tmp_path / "own.flags").write_text(f"--model=itemknn\n--dataset={shop}/log.csv\n{columns}")
    for pair in (("own", "other"), ("own", "less")):
        models = ",".join(f"{tmp_path}/{name}.flags" for name in pair)
        status, _, err = script(compare, f"--models={models}", f"--workdir={tmp_path}/runs")
        assert status == 2 and "the same rows, so they cannot share a table" in err and err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_flags_that_would_be_ignored_are_refused(script, compared):
    status, _, err = script(compare, *compared[1], "--factors=3")
    assert status == 2 and "--factors" in err


def test_all_models_on_a_log_without_features_leave_out_those_that_need_them(script, shop, tmp_path, monkeypatch):
    few = {name: MODELS[name] for name in ("popularity", "content", "random")}
    monkeypatch.setattr(compare, "MODELS", few)
    options = [f"--dataset={shop}/log.csv", "--user_column=customer", "--item_column=product", f"--workdir={tmp_path}"]
    status, out, err = script(compare, *options, "--models=all")
    assert status == 0, err
    assert "left out: content (" in out and set(json.loads(out.splitlines()[-1])["models"]) == {"popularity", "random"}


def test_a_log_that_nobody_can_read_is_refused_once(script, tmp_path):
    status, _, err = script(compare, f"--dataset={tmp_path}/none.csv", "--models=all", f"--workdir={tmp_path}/runs")
    assert status == 2 and err.startswith("error: ") and err.count("\n") == 1 and "none.csv" in err


def test_a_log_called_like_a_data_set_has_none_of_its_recipes(script, shop, tmp_path):
    shutil.copyfile(shop / "log.csv", tmp_path / "ml-100k.csv")
    options = [f"--dataset={tmp_path}/ml-100k.csv", "--user_column=customer", "--item_column=product"]
    status, _, err = script(compare, *options, f"--workdir={tmp_path}/runs", "--models=ancf-ordered")
    assert status == 2 and "'ancf-ordered' is neither a model nor a recipe" in err


def test_an_interrupted_comparison_shows_what_it_has(script, shop, tmp_path, monkeypatch):
    """Also what comes after the run that was broken off and was done before."""
    collect = compare.collect

    def stop(folder, job, *rest):
        if job.run.model == "random":
            raise KeyboardInterrupt
        return collect(folder, job, *rest)

    monkeypatch.setattr(compare, "collect", stop)
    options = [f"--dataset={shop}/log.csv", "--user_column=customer", "--item_column=product", f"--workdir={tmp_path}"]
    status, out, _ = script(compare, *options, "--models=popularity,random")
    assert status == 130 and "of 2 models 1 are done" in out and "popularity" in out
    assert (tmp_path / "report.html").exists()
    status, out, _ = script(compare, *options, "--models=random,popularity")
    assert status == 130 and "of 2 models 1 are done" in out and "popularity" in out
