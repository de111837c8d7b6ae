"""Off-policy estimates against NumPy, on a bandit whose policies' values are known, and through the evaluator."""

import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.data.interactions import build
from ancf_jax.evaluation.evaluate import make_evaluator
from ancf_jax.evaluation.offpolicy import ips, snips
from ancf_jax.types import ClosedForm, Data, Given, Recommender, as_they_are


def test_estimates_are_those_of_loops_with_and_without_a_cap():
    rng = np.random.default_rng(0)
    reward, pi, beta = rng.uniform(1, 5, 40), rng.uniform(0, 1, 40), rng.uniform(0.05, 1, 40)
    for cap in (np.inf, 1.5):
        weights = [min(p / b, cap) for p, b in zip(pi, beta, strict=True)]
        weighted = sum(w * r for w, r in zip(weights, reward, strict=True))
        assert ips(reward, np.log(pi), np.log(beta), cap) == pytest.approx(weighted / 40, rel=1e-5)
        assert snips(reward, np.log(pi), np.log(beta), cap) == pytest.approx(weighted / sum(weights), rel=1e-5)
    assert snips(reward, np.full(40, -np.inf), np.log(beta)) == 0


def test_probabilities_too_small_for_a_float_have_a_ratio():
    assert ips([2.0, 1.0], [-200.0, -1.0], [-200.0, -1.0]) == 1.5  # float32 has nothing below exp(-104)
    assert ips([2.0, 1.0], [-np.inf, -1.0], [-np.inf, -1.0]) == 0.5  # what the policy never does counts nothing
    assert ips([1.0], [-1.0], [-601.0]) == pytest.approx(np.exp(600))  # nor anything above exp(89)
    assert np.isfinite(snips([2.0, 1.0], [-1.0, -1.0], [-np.inf, -1.0]))


def test_estimates_are_the_value_of_the_policy_on_a_bandit():
    """2 contexts and 4 actions, 400 logs of 500 choices: ips has no bias, snips next to none and less variance."""
    rng = np.random.default_rng(0)
    mean, logs, size = np.array([[1.0, 2.0, 4.0, 3.0], [5.0, 4.5, 1.0, 2.0]]), 400, 500
    pi = np.array([[0.1, 0.2, 0.6, 0.1], [0.25, 0.25, 0.1, 0.4]])
    beta = np.array([[0.4, 0.3, 0.1, 0.2], [0.1, 0.2, 0.3, 0.4]])
    value = (pi * mean).sum(axis=1).mean()
    context = rng.integers(0, 2, (logs, size))
    action = (rng.uniform(size=(logs, size, 1)) > beta.cumsum(axis=1)[context]).sum(axis=-1)
    reward = mean[context, action] + rng.normal(0, 1, (logs, size))
    given = reward, np.log(pi[context, action]), np.log(beta[context, action])
    plain, normalised, capped = (
        np.array([estimate(*one) for one in zip(*given, strict=True)])
        for estimate in (ips, snips, lambda *args: ips(*args, 1.0))
    )
    assert abs(plain.mean() - value) < 3 * plain.std() / logs**0.5
    assert abs(normalised.mean() - value) < 3 * normalised.std() / logs**0.5 + 2 / size
    assert normalised.std() < plain.std()
    assert capped.mean() < value - 0.5 and abs(reward.mean() - value) > 0.2  # so the tests above can fail


def test_a_policy_is_judged_by_the_held_out_values():
    """Over all pairs, and a user's value is its pull on the estimate."""
    rng, users, items = np.random.default_rng(0), 5, 6
    pi, beta = rng.uniform(0.1, 1, (2, users, items)).astype(np.float32)

    def at(table, query, items):
        return jnp.take_along_axis(table[query.users], items, axis=1)

    def propensities(ready, query, items):
        return jnp.log(at(ready, query, items)), jnp.log(at(jnp.asarray(beta), query, items))

    def score(ready, query, items=None):
        return ready[query.users] if items is None else at(ready, query, items)

    train = build(np.arange(users), np.zeros(users, int), np.ones(users), np.arange(users), users)
    learn = ClosedForm(1, None, None)
    model = Recommender(learn, Given(train), 0, as_they_are, score, propensities=propensities)
    pairs = np.array([(user, item) for user in (0, 1, 4) for item in range(1, 3 + user // 2)])
    values = rng.integers(1, 6, len(pairs))
    held = build(pairs[:, 0], pairs[:, 1], values, np.arange(len(pairs)), users)
    found = make_evaluator(model, Data(users, items, train), train, held, ks=(1,))(jnp.asarray(pi))
    weights = (pi / beta)[pairs[:, 0], pairs[:, 1]]
    expected = {"ips": np.mean(weights * values), "snips": np.average(values, weights=weights)}
    assert not {"rmse", "mae"} & found.metrics.keys()
    for name, value in expected.items():
        assert found.metrics[name] == pytest.approx(value, rel=1e-5)
        assert found.per_user[name].shape == (3,)
    for place, user in enumerate(found.users):
        more = np.where(pairs[:, 0] == user, 1 + 1e-6, 1.0)
        pull = 3e6 * (np.average(values, weights=weights.astype(float) * more) - expected["snips"])
        assert found.per_user["snips"][place] - found.metrics["snips"] == pytest.approx(pull, abs=1e-2)
