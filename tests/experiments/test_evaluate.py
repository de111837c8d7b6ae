"""A run evaluated again: the figures of its own result, other protocols and parts, and what cannot be evaluated."""

import json

import numpy as np
import pandas as pd
import pytest

from experiments import evaluate, train

pytestmark = pytest.mark.xdist_group("shop")  # whose runs one worker trains, once


def test_test_part_again(script, trained):
    workdir = trained("ancf")
    before = {path: path.read_bytes() for path in (workdir / "result.json", workdir / "users.npz")}
    status, out, err = script(evaluate, "--workdir", workdir)
    result, own = json.loads(out.splitlines()[-1]), json.loads(before[workdir / "result.json"])
    assert status == 0 and err == "" and result["users"] == own["users_tested"] == 12
    metrics = [name for name in own if "@" in name]
    assert {name: result[name] for name in metrics} == pytest.approx({name: own[name] for name in metrics})
    low, high = result["intervals"]["ndcg@10"]
    assert low < result["ndcg@10"] < high
    assert "12 users" in out and "; ties: expectation over random orders\n" in out and f"{low:.4f} to {high:.4f}" in out
    assert before == {path: path.read_bytes() for path in before}


def test_values_of_every_user_by_own_ids_at_other_cutoffs(script, trained, tmp_path, monkeypatch):
    own = "def top(ranks, count, visible):\n    return metrics.hit_rate(ranks, 7)\n"
    (tmp_path / "figs_rank.py").write_text(f"from ancf_jax.evaluation import metrics\n\n{own}")
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "users.parquet"
    options = ["--ks=3,7", "--own_metric=figs_rank:top", f"--per_user={path}"]
    status, out, err = script(evaluate, "--workdir", trained("ancf"), *options)
    assert status == 0, err
    result, users = json.loads(out.splitlines()[-1]), pd.read_parquet(path)
    assert users["user"].tolist() == [f"c{user:02}" for user in range(12)] and f"wrote {path}" in out
    for name in ("ndcg@3", "hr@7", "mrr", "figs_rank:top"):
        assert users[name].mean() == pytest.approx(result[name]) and name in result["intervals"]
    assert result["figs_rank:top"] == result["hr@7"] and "ndcg@10" not in result
    refused = script(evaluate, "--workdir", trained("ancf"), "--per_user=users.csv")
    assert refused[0] == 2 and "flag --per_user: users.csv is no .parquet file in a folder that exists" in refused[2]
    refused = script(evaluate, "--workdir", trained("ancf"), "--ks=5,5")
    assert refused[0] == 2 and "flag --ks" in refused[2] and refused[2].count("\n") == 1


def test_validation_part(script, trained):
    workdir = trained("ancf")
    _, out, _ = script(evaluate, "--workdir", workdir, "--part=valid")
    result = json.loads(out.splitlines()[-1])
    own = json.loads((workdir / "result.json").read_text())["valid"]
    assert {name: result[name] for name in own} == pytest.approx(own)


def test_protocols_of_a_data_set_with_candidates(script, trained, monkeypatch):
    def with_candidates(*args, opened=evaluate.open_trained, **options):
        run, dataset, *rest = opened(*args, **options)
        others = np.argsort(np.arange(15) == dataset.test.items[:, None], axis=1, kind="stable")  # its own item last
        return run, dataset._replace(test_candidates=others[:, -4:].astype(np.int32)), *rest

    monkeypatch.setattr(evaluate, "open_trained", with_candidates)
    said = {}
    for argument in ("--protocol=ncf", "--part=test", "--protocol=full"):
        _, out, _ = script(evaluate, "--workdir", trained("ancf"), argument)
        said[argument] = json.loads(out.splitlines()[-1])
    assert (
        said["--protocol=ncf"]["protocol"].startswith("1 held-out item among 3") and said["--protocol=ncf"]["hr@5"] == 1
    )
    assert said["--part=test"] == said["--protocol=ncf"]
    assert said["--protocol=full"]["protocol"].startswith("full ranking")


def test_what_cannot_be_evaluated(script, trained, arguments, tmp_path):
    status, out, err = script(evaluate, "--workdir", trained("ancf"), "--protocol=ncf")
    assert (status, out) == (2, "") and err == (
        "error: --protocol=ncf: log.csv comes without candidates; legal is --protocol=full\n"
    )
    status, out, err = script(evaluate, "--workdir", trained("ancf"), "--memory_budget=1e-8")
    assert status == 2 and "--memory_budget: 1e-08 GiB are too few" in err and err.count("\n") == 1
    script(train, *arguments("itemknn", tmp_path), "--novalidation")
    status, out, err = script(evaluate, "--workdir", tmp_path, "--part=valid")
    assert (status, out) == (2, "") and "--novalidation" in err and err.count("\n") == 1
