"""ABCF: a preset of ANCF, which has tests of its own."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from absl import flags

from ancf_jax.config import define_flags, from_before, from_flags, from_json, settings_of, to_json
from ancf_jax.models.ancf import abcf, ancf
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


def test_it_is_ancf_with_other_defaults_and_some_settings_fixed():
    assert from_json(abcf.Config, {}) == abcf.Config()
    mine = abcf.Config().ancf
    assert (mine.ordered, mine.user, mine.tower, mine.layers, mine.prior) == (False, False, (), 1, 0)
    assert from_json(abcf.Config, {"heads": 4, "loss": "bpr"}).ancf == replace(abcf.Config().ancf, heads=4, loss="bpr")
    for given in ({"ordered": True}, {"user": True}, {"tower": [8]}, {"layers": 0}, {"history": 0}):
        with pytest.raises(InputError, match=r"flags --ordered, .*: abcf is order-free self-attention"):
            from_json(abcf.Config, given)


def test_flags_and_json_are_flat():
    values = flags.FlagValues()
    define_flags(abcf.Config, values=values)
    assert set(settings_of(abcf.Config)) == set(settings_of(ancf.Config)) <= set(values) and "ancf" not in values
    assert settings_of(abcf.Config)["factors"].default == 64  # not 32, as of ancf
    values(["script", "--factors=8", "--dropout=0"])
    config = from_flags(abcf.Config, values)
    assert (config.ancf.factors, config.ancf.dropout, config.ancf.negatives) == (8, 0.0, 128)
    assert from_json(abcf.Config, json.loads(json.dumps(to_json(config)))) == config
    assert "ancf" not in to_json(config)


def test_a_config_json_from_before_still_opens():
    """The fields that it had when they were copies of ANCF's."""
    before = {"factors": 16, "history": 50, "layers": 2, "heads": 4, "dropout": 0.1, "loss": "sampled_softmax"}
    before |= {"negatives": 32, "targets": 8, "stddev": 0.02}
    absent = {"state": False, "joint": True, "trend": 0.0, "again": 0.0, "taste": 0.0}
    absent |= {"temperature": 0.0, "prior_activity": 0.0, "prior_power": 1.0, "prior_discount": 0.0}
    config = from_before(abcf.Config, before)
    assert config.ancf == replace(abcf.Config().ancf, **absent, **before)
