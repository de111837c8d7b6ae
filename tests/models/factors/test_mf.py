"""Matrix factorisation against its equations."""

import jax
import numpy as np
import pytest

from ancf_jax.models.factors.mf import Batch, Config, make
from ancf_jax.nn.losses import PAIR_LOSSES

CONFIG = Config(factors=4, negatives=3, window=3, l2=0.02, bias_l2=0.01)


def predicted(params, user, item):
    """b + b_u + b_i + <p_u, q_i> for one pair."""
    tables = {name: np.asarray(rows, np.float64) for name, rows in params["tables"].items()}
    product = tables["user"][user] @ tables["item"][item]
    return product + tables["user_bias"][user, 0] + tables["item_bias"][item, 0]


def softplus(x):
    return np.logaddexp(0, x)


def test_the_score_is_the_biased_inner_product(data, randomise, ask):
    model = make(CONFIG, data)
    params = randomise(model)
    users = [0, 5, data.num_users]
    expected = [[predicted(params, user, item) for item in range(data.num_items)] for user in users]
    np.testing.assert_allclose(
        jax.jit(model.score)(model.prepare(params, model.given), ask(users)), expected, rtol=1e-5
    )
    items = np.array([[3, 3], [0, 8], [1, 2]])
    given = np.take_along_axis(np.array(expected), items, axis=1)
    np.testing.assert_allclose(
        jax.jit(model.score)(model.prepare(params, model.given), ask(users), items), given, rtol=1e-5
    )


def whole_catalogue(data, config):
    """The model, its batch of all windows, and the pairs in them."""
    model = make(config, data)
    batch = jax.jit(model.learn.sample)(jax.random.key(0), model.given, np.arange(model.learn.rows))
    pairs = [(user, item) for user, row in zip(batch.users, batch.targets, strict=True) for item in row]
    return model, batch, [(int(user), int(item)) for user, item in pairs if item < data.num_items]


def test_windows_hold_every_interaction_once(data):
    _, _, pairs = whole_catalogue(data, CONFIG)
    train = zip(data.train.users.tolist(), data.train.items.tolist(), strict=True)
    assert sorted(pairs) == sorted(train)


def test_the_loss_is_the_expected_sum_over_sampled_pairs(data, randomise):
    """Over the whole catalogue: -log sigma(s+) - N E_j log sigma(-s_j) + both L2 terms of all the pairs."""
    model, batch, pairs = whole_catalogue(data, CONFIG)
    params = randomise(model)
    tables = {name: np.asarray(rows, np.float64) for name, rows in params["tables"].items()}

    def penalty(side, row):
        return 0.02 * (tables[side][row] ** 2).sum() + 0.01 * tables[f"{side}_bias"][row, 0] ** 2

    total = 0.0
    for user, item in pairs:
        scores = np.array([predicted(params, user, other) for other in range(data.num_items)])
        total += softplus(-scores[item]) + 3 * softplus(scores).mean()
        total += penalty("user", user) + penalty("item", item)
        for other in range(data.num_items):
            total += 3 / data.num_items * (penalty("user", user) + penalty("item", other))
    mean, sums = jax.jit(model.learn.loss)(params, model.given, batch, jax.random.key(0))
    np.testing.assert_allclose(mean, total / len(pairs), rtol=1e-5)
    assert sums["count"] == len(pairs)
    np.testing.assert_allclose(sums["loss"], total, rtol=1e-5)


def test_the_catalogues_loss_is_the_mean_over_pools(data, randomise):
    """Every pool of one item is equally likely, so the mean of their losses is the expectation."""
    model, batch, _ = whole_catalogue(data, CONFIG)
    pooled = make(Config(**{**vars(CONFIG), "pool": 1}), data)
    params = randomise(model)
    loss = jax.jit(pooled.learn.loss)
    pools = [np.full((len(batch.users), 1), item) for item in range(data.num_items)]
    losses = [loss(params, pooled.given, batch._replace(negatives=pool), None)[0] for pool in pools]
    np.testing.assert_allclose(
        jax.jit(model.learn.loss)(params, model.given, batch, None)[0], np.mean(losses), rtol=1e-5
    )


def test_a_pool_is_drawn_for_each_window(data):
    model = make(Config(**{**vars(CONFIG), "pool": 500}), data)
    drawn = jax.jit(model.learn.sample)(jax.random.key(0), model.given, np.arange(model.learn.rows)).negatives
    assert drawn.shape == (model.learn.rows, 500)
    for row in drawn:
        assert set(row.tolist()) == set(range(data.num_items))
    assert len({tuple(row.tolist()) for row in drawn}) == model.learn.rows


@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_other_losses_over_a_pool(data, randomise, name):
    config = Config(**{**vars(CONFIG), "loss": name, "pool": 2, "l2": 0.0, "bias_l2": 0.0})
    model = make(config, data)
    params = randomise(model)
    batch = Batch(np.array([1, 4]), np.array([[9, 2, 0], [9, 9, 5]]), np.array([[3, 3], [7, 1]]))
    total = 0.0
    for user, item, others in [(1, 2, [3, 3]), (1, 0, [3, 3]), (4, 5, [7, 1])]:
        p, n = predicted(params, user, item), np.array([predicted(params, user, other) for other in others])
        total += {
            "bce": softplus(-p) + 3 * softplus(n).mean(),
            "bpr": softplus(n - p).mean(),
            "sampled_softmax": np.log(np.exp(p) + (data.num_items - 1) / 2 * np.exp(n).sum()) - p,
            "full_softmax": np.log(np.exp(n).sum()) - p,
        }[name]
    np.testing.assert_allclose(jax.jit(model.learn.loss)(params, model.given, batch, None)[0], total / 3, rtol=1e-5)
