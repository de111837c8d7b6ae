"""SLIM against scikit-learn's elastic net, a column at a time."""

import numpy as np
import pytest
from sklearn.linear_model import ElasticNet

from ancf_jax.models.linear import slim


@pytest.fixture(scope="module", autouse=True)
def small_blocks():
    """Blocks of which there are several here, the last one not full."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slim, "COORDINATES", 4)
        yield


@pytest.fixture(scope="module")
def trained(log, learned):
    """SLIM after enough sweeps, and its parameters."""
    model = slim.make(slim.Config(l1=2.0, l2=1.5, sweeps=100), log[1])
    return model, learned(model)


def test_each_column_of_slim_is_an_elastic_net(log, trained):
    x, weight = log[0], np.asarray(trained[1]["tables"]["weight"])
    for item in range(x.shape[1]):
        others = x.copy()
        others[:, item] = 0  # so the item itself gets no weight
        net = ElasticNet(3.5 / len(x), l1_ratio=2.0 / 3.5, fit_intercept=False, positive=True, tol=1e-9, max_iter=10000)
        np.testing.assert_allclose(weight[:, item], net.fit(others, x[:, item]).coef_, atol=1e-5)
    assert not np.diag(weight).any() and 0.1 < (weight > 0).mean() < 0.7


def test_scores_are_sums_of_the_weights_of_the_history(log, trained, ask):
    model, params = trained
    users, items = log[0].shape
    histories = [[2, 5], [], [0], [10, 3, 1, 3]]
    query = ask([users, users, 0, 1], histories, 4, items)
    weight = params["tables"]["weight"]
    expected = [sum((weight[item] for item in set(history)), np.zeros(items)) for history in histories]
    np.testing.assert_allclose(model.score(params, query), expected, rtol=1e-6)
