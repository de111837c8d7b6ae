"""ABCF: a preset of ANCF, which has tests of its own."""

import jax
import numpy as np
import pytest

from ancf_jax.config import from_json
from ancf_jax.models.ancf import abcf
from ancf_jax.types import InputError


def test_the_score_depends_on_the_set_of_interactions_alone(data, randomise, ask):
    """Neither the order of the history nor the user matters; what is in it does, and each item sees it its own way."""
    small = from_json(abcf.Config, {"factors": 4, "history": 5, "layers": 2, "negatives": 6, "targets": 2})
    model = abcf.make(small, data)
    params = randomise(model)
    query = ask([0, 3, data.num_users, 0], [[8, 1, 4, 2], [2, 4, 1, 8], [1, 8, 2, 4], [5, 0]], 5)
    straight, backwards, swapped, others = jax.jit(model.score)(params, query)
    np.testing.assert_allclose([backwards, swapped], [straight, straight], rtol=1e-4, atol=1e-5)
    assert np.abs(straight - others).max() > 0.01
    weights = np.asarray(jax.jit(model.attend)(params, query, np.array([[0, 7]] * 4)))
    assert weights.shape == (4, 2, 2, 5) and np.abs(weights[:, 0] - weights[:, 1]).max() > 0.01
    assert params["tables"].keys() == {"item", "item_history", "item_bias"}


def test_heads_must_divide_the_factors():
    with pytest.raises(InputError, match="flag --heads: 3 does not divide --factors=64"):
        from_json(abcf.Config, {"heads": 3})
