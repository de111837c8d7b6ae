"""Comparison by command line: one table over models and seeds, recipes, reuse of finished runs."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from ancf_jax.data.named.benchmarks import NAMED
from ancf_jax.models import MODELS
from experiments import compare

pytestmark = pytest.mark.xdist_group("compare")  # its fixture is dear: one worker runs it, once


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
    assert "ties count half" in out and "<svg" in (folder / "plot.svg").read_text()


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
    assert users["ids"].tolist() == sorted(log["customer"].unique())
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


def test_rewards_of_a_policy_stand_beside_ranks_and_errors():
    policy = [{"ndcg@10": 0.5, "hr@10": 0.5, "ips": 1.0, "snips": 1.0}]
    ranks, rates = [{"ndcg@10": 0.5, "hr@10": 0.5}], [{"ndcg@10": 0.1, "hr@10": 0.1, "rmse": 0.9}]
    assert compare.columns({"a": ranks, "b": policy}, "random") == ("ndcg@10", "hr@10", "ips", "snips")
    assert compare.columns({"a": policy, "b": rates}, "random")[-4:] == ("mae", "mse", "ips", "snips")


def test_finished_runs_are_reused(compared, script):
    folder, options, _ = compared
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("result.json")}
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
            runs.append(compare.recipe(path.stem.removeprefix(f"{dataset}-"), dataset, 3, tmp_path))
            return {}

    assert script(Parsed)[0] == 0
    (run,) = runs
    assert run.data.dataset == dataset and run.train.seed == 3 and run.model in MODELS
    assert all(start.startswith(str(tmp_path)) and start.endswith("/3") for start in run.warm_start)
