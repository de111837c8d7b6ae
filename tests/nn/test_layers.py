"""The shared blocks against plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.nn.layers import Dropout, Tower, counted, multi_hot, over_items, table


def test_table_is_normal_with_a_zero_last_row():
    rows = np.asarray(table(jax.random.key(0), 5000, 8, 0.3))
    assert rows.shape == (5001, 8)
    np.testing.assert_array_equal(rows[-1], 0)
    # 40,000 draws: four standard errors of a mean and of a standard deviation
    np.testing.assert_allclose(rows[:-1].mean(), 0, atol=4 * 0.3 / 200)
    np.testing.assert_allclose(rows[:-1].std(), 0.3, atol=4 * 0.3 / 283)


def drop(rate, x, seed, deterministic=False):
    return np.asarray(Dropout(rate).apply({}, x, deterministic, rngs={"dropout": jax.random.key(seed)}))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_expectation(rate):
    ones = jnp.ones((200, 500))
    found = drop(rate, ones, seed=1)
    kept = found != 0
    np.testing.assert_allclose(found[kept], 1 / (1 - rate), rtol=1e-6)
    error = np.sqrt(rate * (1 - rate) / ones.size)
    np.testing.assert_allclose(kept.mean(), 1 - rate, atol=4 * error)
    for axis, length in ((0, 200), (1, 500)):  # no row or column is favoured: at most five standard errors
        np.testing.assert_allclose(kept.mean(axis), 1 - rate, atol=5 * np.sqrt(rate * (1 - rate) / length))
    neighbours = kept[:, 1:] & kept[:, :-1]  # and adjacent places are independent
    np.testing.assert_allclose(neighbours.mean(), (1 - rate) ** 2, atol=8 * error)


def test_dropout_keys_are_different_draws():
    x = jnp.ones(4000)
    first, again, other = drop(0.5, x, seed=1) != 0, drop(0.5, x, seed=1) != 0, drop(0.5, x, seed=2) != 0
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose((first == other).mean(), 0.5, atol=4 * 0.5 / np.sqrt(4000))


def test_dropout_passes_through_when_deterministic_or_of_rate_zero():
    x = jnp.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(drop(0.5, x, seed=0, deterministic=True), x)
    np.testing.assert_array_equal(drop(0.0, x, seed=0), x)


def test_tower_is_a_plain_network_over_the_concatenation(randomised):
    rng = np.random.default_rng(0)
    users, items, mixed = (rng.normal(0, 1, shape).astype(np.float32) for shape in ((2, 1, 3), (1, 4, 5), (2, 4, 6)))
    tower = Tower((7, 5, 2))
    variables = randomised(jax.eval_shape(tower.init, jax.random.key(0), [users, items, mixed]), seed=1)
    found = tower.apply(variables, [users, items, mixed])

    weights = variables["params"]
    shape = (2, 4)
    together = np.concatenate([np.broadcast_to(part, (*shape, part.shape[-1])) for part in (users, items, mixed)], -1)
    first = np.concatenate([weights[f"input_{k}"]["kernel"] for k in range(3)])
    hidden = np.maximum(together @ first + weights["input_0"]["bias"], 0)
    for n in (1, 2):
        hidden = np.maximum(hidden @ weights[f"layer_{n}"]["kernel"] + weights[f"layer_{n}"]["bias"], 0)
    np.testing.assert_allclose(found, hidden, rtol=1e-4, atol=1e-5)


def test_tower_starts_like_one_layer_over_the_concatenation():
    """He initialisation: a variance of 2 / fan-in, counted over all parts together."""
    parts = [jnp.ones((1, 60)), jnp.ones((1, 40))]
    kernels = Tower((400,)).init(jax.random.key(0), parts)["params"]
    for k, part in enumerate(parts):
        found = np.asarray(kernels[f"input_{k}"]["kernel"]).std()
        np.testing.assert_allclose(found, np.sqrt(2 / 100), rtol=4 / np.sqrt(2 * 400 * part.shape[1]))


@pytest.mark.parametrize("block", [1, 3, 6, 7, 20])  # 7 items in 7, 3, 2 and 1 blocks
def test_over_items_is_one_call_on_all_items(block):
    weights = np.random.default_rng(0).normal(0, 1, (2, 7)).astype(np.float32)
    sizes = []

    def score(items):
        sizes.append(items.shape[0])
        return jnp.asarray(weights)[:, items]

    np.testing.assert_array_equal(over_items(score, jnp.arange(7), block), weights)
    assert set(sizes) == {min(block, 7)}


def test_multi_hot_drops_padding_and_repeats():
    found = multi_hot(jnp.array([[4, 0, 2], [4, 4, 1], [3, 3, 3], [4, 4, 4]]), 4)
    np.testing.assert_array_equal(found, [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]])


def test_later_layers_of_a_tower_start_by_he_as_well():
    tower = Tower((300, 200))
    variables = tower.init(jax.random.key(0), [jnp.zeros((1, 3))])["params"]
    np.testing.assert_allclose(np.std(variables["layer_1"]["kernel"]), (2 / 300) ** 0.5, rtol=0.03)


def test_counted_columns_are_the_latest_of_an_item():
    found = counted(jnp.array([[4, 2, 0, 2], [1, 1, 1, 3]]), 4)
    assert found.tolist() == [[False, False, True, True], [False, False, True, True]]
