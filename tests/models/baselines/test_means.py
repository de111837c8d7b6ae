"""Means against loops over items."""

import jax
import numpy as np
import pytest

from ancf_jax.models.baselines.means import GlobalMean, ItemMean, make_global_mean, make_item_mean

ITEMS = np.array([[4, 0], [1, 1], [8, 2]])


@pytest.fixture(scope="module")
def rated(data):
    """Values of 1 to 5; the rows of the last item are those of the first, so that it has none."""
    values = np.random.default_rng(2).integers(1, 6, len(data.train.values)).astype(np.float32)
    items = np.where(data.train.items == data.num_items - 1, 0, data.train.items)
    return data._replace(train=data.train._replace(items=items, values=values))


def predictions(model, data, query, *items):
    params = jax.jit(model.learn.sweep)(
        model.learn.init(jax.random.key(0), model.given), model.given, jax.random.key(0)
    )
    return jax.jit(model.score)(model.prepare(params, model.given), query, *items)


@pytest.mark.parametrize("damping", [0.0, 5.0])
def test_an_items_mean_is_damped_towards_that_of_all(rated, ask, damping):
    values, mean = rated.train.values, rated.train.values.mean()
    expected = np.full(rated.num_items, mean)
    for item in range(rated.num_items - 1):
        own = values[rated.train.items == item]
        expected[item] = (own.sum() + damping * mean) / (len(own) + damping)
    model, query = make_item_mean(ItemMean(damping), rated), ask([0, 3, rated.num_users])
    assert model.rates and len(set(expected)) > 4
    np.testing.assert_allclose(predictions(model, rated, query), [expected] * 3, rtol=1e-5)
    np.testing.assert_allclose(predictions(model, rated, query, ITEMS), expected[ITEMS], rtol=1e-5)


def test_the_global_mean_is_the_same_for_all(rated, ask):
    model, query = make_global_mean(GlobalMean(), rated), ask([0, 3, rated.num_users])
    found = predictions(model, rated, query)
    assert model.rates and found.shape == (3, rated.num_items)
    np.testing.assert_allclose(found, rated.train.values.mean(), rtol=1e-6)
