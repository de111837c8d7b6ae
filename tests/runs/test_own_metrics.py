"""Metrics of one's own: what is found, and what is refused in one line before anything else happens."""

import numpy as np
import pytest

from ancf_jax.evaluation import metrics
from ancf_jax.evaluation.ranks import Ranks
from ancf_jax.runs.own_metrics import own_metrics
from ancf_jax.types import InputError

MODULE = """
import jax.numpy as jnp
from ancf_jax.evaluation import metrics

def success(ranks, count, visible):
    return metrics.hit_rate(ranks, 3)

def naive(ranks, count, visible):
    return (ranks < 3).any(axis=1)

def one(ranks, count, visible):
    return jnp.float32(1)

number = 3
"""


@pytest.fixture(autouse=True)
def own_module(tmp_path, monkeypatch):
    (tmp_path / "own_of_test.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)


def test_a_function_of_ranks_is_a_metric():
    found = own_metrics(["own_of_test:success"])
    ranks = Ranks(np.array([[2.0, 9.0], [0.0, np.inf]]), np.array([[1.0, 1.0], [6.0, 1.0]]))
    values = found["own_of_test:success"](ranks, np.array([2, 1]), np.array([20, 20]))
    np.testing.assert_array_equal(values, metrics.hit_rate(ranks, 3))
    np.testing.assert_allclose(values, [1, 0.5])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("success", "metric 'success' is none; one of one's own is written package.module:function"),
        (":success", "metric ':success' is none"),
        ("nowhere:success", "metric nowhere:success: ModuleNotFoundError: No module named 'nowhere'"),
        ("own_of_test:sucess", "AttributeError: module 'own_of_test' has no attribute 'sucess'"),
        ("own_of_test:number", "TypeError: 'int' object is not callable"),
        ("own_of_test:naive", "metric own_of_test:naive: TypeError"),
        ("own_of_test:one", "returned shape () for 3 users; legal is (3,), a number for each"),
    ],
)
def test_what_is_no_metric_is_refused(name, message):
    with pytest.raises(InputError) as error:
        own_metrics([name])
    assert message in str(error.value) and "\n" not in str(error.value)
