"""How far items are on the rise, against the sum written out, and what ANCF's scores have of it."""

import dataclasses

import jax
import numpy as np
import pytest

from ancf_jax.models.ancf import ancf
from ancf_jax.models.ancf.trend import rises
from ancf_jax.types import InputError

ORDERED = ancf.Config(factors=4, history=5, ordered=True, prior=0.0)


def test_it_is_the_share_of_late_interactions_against_the_usual_one(data):
    train, rows = data.train, len(data.train.items)
    late = [0.5 ** ((rows - 1 - place) / rows / 0.1) for place in train.order]
    expected = []
    for item in range(data.num_items):
        own = [weight for weight, other in zip(late, train.items, strict=True) if other == item]
        expected.append(np.log((sum(own) + 5) / (len(own) * sum(late) / rows + 5)))
    np.testing.assert_allclose(rises(train, data.num_items), [*expected, 0.0], rtol=1e-5, atol=1e-7)


def test_what_was_only_late_rises_and_what_was_only_early_falls(data):
    late = data.train._replace(order=np.where(data.train.items == 2, 1000, 1 + data.train.order))
    found = rises(late, data.num_items)
    assert found[2] > 0.3 and (found[:2] < 0).all()


def test_scores_have_it_times_its_weight(data, randomise, ask):
    plain, rising = (
        ancf.make(dataclasses.replace(ORDERED, trend=weight), data._replace(ordered=True)) for weight in (0.0, 2.0)
    )
    params, query = randomise(plain), ask([6, 0], [[3, 1], [8, 1, 4]], 5)
    without, found = (np.asarray(jax.jit(m.score)(m.prepare(params, m.given), query)) for m in (plain, rising))
    np.testing.assert_allclose(found - without, [2 * rises(data.train, 9)[:9]] * 2, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("ordered", "times", "weight"), [("auto", True, 0.3), ("auto", False, 0), (True, False, 0)])
def test_by_default_it_is_read_with_the_order_of_times(data, ordered, times, weight):
    assert ancf.resolved(ancf.Config(ordered=ordered), data._replace(ordered=times)).trend == weight


@pytest.mark.parametrize(("ordered", "times"), [(False, True), (True, False)])
def test_without_order_or_times_it_is_refused(data, ordered, times):
    with pytest.raises(InputError, match="flag --trend: is for order-aware models of logs with times; legal here is 0"):
        ancf.make(ancf.Config(ordered=ordered, trend=0.5), data._replace(ordered=times))
