"""Popularity is counting."""

import jax
import numpy as np

from ancf_jax.models.popularity import Config, make


def test_the_score_is_the_number_of_interactions(data, rows, ask):
    model = make(Config(), data)
    params = model.learn.sweep(model.learn.init(jax.random.key(0)), data.train, jax.random.key(0))
    counts = [sum(row.count(item) for row in rows) for item in range(data.num_items)]
    assert sum(counts) == len(data.train.users)
    users = [0, 3, data.num_users]  # the unknown user too
    np.testing.assert_array_equal(model.score(params, ask(users)), [counts] * 3)
    items = np.array([[4, 0], [1, 1], [8, 2]])
    np.testing.assert_array_equal(model.score(params, ask(users), items), np.array(counts)[items])
