"""SLIT against its sums and closed form, interaction by interaction in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.data.interactions import build
from ancf_jax.models.linear.slit import Config, by_steps, make, solved, sums
from ancf_jax.types import Data, Query

ITEMS, LENGTH, SLOPE, L2 = 6, 3, 0.5, 2.0
ROWS = [[0, 1, 2, 3, 1, 1, 5], [4], [2, 3], [], [5, 5, 0, 4, 2]]  # longer than the history, repeats, single, none


def state(before, size=ITEMS):
    """r_t of what came before, the latest last."""
    r = np.zeros(size)
    for k, item in enumerate(before[::-1][:LENGTH], start=1):
        if item < size:
            r[item] += k**-SLOPE
    return r


def expected(rows, size=ITEMS):
    g, c = np.zeros((size, size)), np.zeros((size, size))
    for row in rows:
        for t in range(len(row)):
            r = state(row[:t], size)
            g += np.outer(r, r)
            if row[t] < size:
                c[:, row[t]] += r
    return np.linalg.solve(g + L2 * np.eye(size), c)


@pytest.fixture(scope="module")
def data():
    users = np.repeat(np.arange(len(ROWS)), [len(row) for row in ROWS])
    train = build(users, np.concatenate(ROWS).astype(int), np.ones(len(users)), np.arange(len(users)), len(ROWS))
    return Data(len(ROWS), ITEMS, train)


def test_slit_is_its_closed_form_and_scores_by_what_came_lately(data):
    model = make(Config(history=LENGTH, slope=SLOPE, l2=L2), data)
    params = jax.jit(model.learn.sweep)(None, model.given, None)
    weight = expected(ROWS)
    np.testing.assert_allclose(params["tables"]["weight"], weight, rtol=1e-4, atol=1e-6)
    history = np.array([[ITEMS, 2, 5], [3, 3, 1], [ITEMS] * 3], np.int32)
    scores = model.score(params, Query(np.zeros(3, np.int32), history, np.ones((3, 3))))
    rows = [[2, 5], [3, 3, 1], []]
    np.testing.assert_allclose(scores, [state(row) @ weight for row in rows], rtol=1e-4, atol=1e-6)


def test_items_without_a_place_are_passed_over_and_still_take_their_step(data):
    """Of the items only 0..3 have a place; others count as steps, as what is predicted they do not."""
    place = jnp.minimum(jnp.arange(ITEMS), 4)
    weights = by_steps(LENGTH, SLOPE)
    g, c = jax.jit(lambda train: sums(train, place, 4, weights))(data.train)
    np.testing.assert_allclose(solved(g, c, L2), expected(ROWS, 4), rtol=1e-4, atol=1e-6)
