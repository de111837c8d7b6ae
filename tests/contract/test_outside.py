"""The contract tries models of one's own: a good one passes, and one that breaks a promise fails for it."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.contract.board import SIZE, board, case_of
from ancf_jax.contract.programs import program_sizes
from ancf_jax.data.interactions import build
from ancf_jax.models import entry_of
from ancf_jax.models.factors import bpr
from ancf_jax.types import Data, InputError

FOLDER = Path(__file__).parent


@pytest.fixture(autouse=True)
def on_the_path(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def contract(*options, folder=FOLDER):
    """The contract as people run it: exit status and what it printed."""
    command = [sys.executable, "-m", "ancf_jax.contract", "-p", "no:xdist", *options]
    path = os.pathsep.join([str(folder), str(FOLDER.parents[1])])
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, cwd=folder)
    return done.returncode, done.stdout + done.stderr


def test_a_model_from_outside_passes():
    status, printed = contract("--model=mine.discounted")
    assert status == 0 and " passed" in printed and "failed" not in printed


def test_a_model_that_scores_a_batch_as_a_whole_fails_for_it(tmp_path):
    code, right = (FOLDER / "mine" / "discounted.py").read_text(), "broadcast_to(scores, "
    assert right in code
    (tmp_path / "yours").mkdir()
    (tmp_path / "yours" / "faulty.py").write_text(code.replace(right, "broadcast_to(scores / len(query.users), "))
    status, printed = contract("--model=yours.faulty", "-k", "batch or finite", folder=tmp_path)
    assert status == 1 and "FAILED" in printed and "test_a_batch_is_a_loop_over_users[yours.faulty]" in printed
    assert "1 failed, 1 passed" in printed


def test_what_is_no_model_is_refused_in_one_line():
    status, printed = contract("--model=no.such_model")
    assert (
        status == 4 and "ERROR: --model=no.such_model: there is no module no" in printed and "Traceback" not in printed
    )


def test_the_option_is_the_contracts_alone():
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", str(FOLDER.parent / "nn"), "--model=mine.discounted"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=FOLDER.parents[1])
    assert done.returncode == 4 and "unrecognized arguments: --model=mine.discounted" in done.stderr


def test_the_model_counts_active_users_for_less():
    users, items = np.array([0, 0, 0, 0, 1, 2]), np.array([0, 1, 2, 3, 1, 2])
    data = Data(3, 4, build(users, items, np.ones(6), np.arange(6), 3))
    entry = entry_of("mine.discounted")
    model = entry.make(entry.config(discount=0.5), data)
    params = model.learn.sweep(model.learn.init(None, model.given), model.given, None)
    np.testing.assert_allclose(params["tables"]["item"][:, 0], [0.5, 1.5, 1.5, 0.5, 0], rtol=1e-6)


def test_contract_settings_are_those_of_the_model_or_of_training(monkeypatch):
    from mine import discounted

    monkeypatch.setattr(discounted, "CONTRACT", {"discount": 0.25, "epochs": 3, "personal": False})
    case = case_of("mine.discounted")
    assert case.config.discount == 0.25 and case.learning == {"epochs": 3} and not case.personal
    monkeypatch.setattr(discounted, "CONTRACT", {"factor": 3})
    with pytest.raises(InputError, match=r"--model=mine\.discounted: CONTRACT has 'factor', no setting of the model"):
        case_of("mine.discounted")


@pytest.mark.parametrize("module", [np, jnp], ids=["numpy", "jax"])
@pytest.mark.parametrize("part", ["loss", "prepare", "score"])
def test_programs_that_hold_the_log_are_found(part, module):
    """BPR, but for one function that closes over a column of the log."""

    def sizes(copies):
        data = board(copies=copies)
        column, model = module.asarray(data.train.items), bpr.make(bpr.Config(factors=8), data)

        def holding(function):
            def held(*args):
                nothing = 0.0 * jnp.asarray(column).sum()
                return jax.tree.map(lambda leaf: leaf + nothing, function(*args))

            return held

        if part == "loss":
            model = model._replace(learn=model.learn._replace(loss=holding(model.learn.loss)))
        else:
            model = model._replace(**{part: holding(getattr(model, part))})
        return program_sizes(model, case_of("bpr").ask(), jnp.zeros((SIZE, 3), jnp.int32), jnp.zeros((1, 2)))

    small, large = sizes(17), sizes(68)
    grown = {name for name in small if large[name] > 1.02 * small[name]}
    assert grown == {"loss": {"epoch"}, "prepare": {"prepare"}, "score": {"score", "score of items"}}[part]
