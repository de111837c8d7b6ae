"""A run evaluated again: the figures of its own result, other protocols and parts, and what cannot be evaluated."""

import json

import numpy as np
import pytest

from experiments import evaluate, train


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
    assert "12 users" in out and "ties count half" in out and f"{low:.4f} to {high:.4f}" in out
    assert before == {path: path.read_bytes() for path in before}


def test_validation_part(script, trained):
    workdir = trained("ancf")
    _, out, _ = script(evaluate, "--workdir", workdir, "--part=valid")
    result = json.loads(out.splitlines()[-1])
    own = json.loads((workdir / "result.json").read_text())["valid"]
    assert {name: result[name] for name in own} == pytest.approx(own)


def test_protocols_of_a_data_set_with_candidates(script, trained, monkeypatch):
    def with_candidates(*args, opened=evaluate.open_trained):
        run, dataset, *rest = opened(*args)
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
