"""How far items are on the rise and how often a user did them, written out, and what ANCF's scores have of it."""

import dataclasses

import jax
import numpy as np
import pytest

from ancf_jax.data.interactions import build
from ancf_jax.models.ancf import ancf
from ancf_jax.models.ancf.untaught import rises
from ancf_jax.types import Data, InputError

ORDERED = ancf.Config(factors=4, history=5, ordered=True, prior=0.0, taste=0.0)


def padded(params):
    """With the zero rows and columns that the closed form's matrices end with."""
    for held in params.get("held", {"prior": {}})["prior"].values():
        held[-1] = held[:, -1] = 0
    return params


def scores_of(model, params, query):
    return np.asarray(jax.jit(model.score)(model.prepare(params, model.given), query))


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
    without, found = (scores_of(model, params, query) for model in (plain, rising))
    np.testing.assert_allclose(found - without, [2 * rises(data.train, 9)[:9]] * 2, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("ordered", "times", "weight"), [("auto", True, 0.3), ("auto", False, 0), (True, False, 0)])
def test_by_default_it_is_read_with_the_order_of_times(data, ordered, times, weight):
    assert ancf.resolved(ancf.Config(ordered=ordered), data._replace(ordered=times)).trend == weight


def test_where_the_data_says_that_the_order_is_not_read_it_is_nothing(data):
    assert ancf.resolved(ancf.Config(trend=0.5), data).trend == 0


@pytest.mark.parametrize(("ordered", "times"), [(False, True), (True, False)])
def test_without_order_or_times_it_is_refused(data, ordered, times):
    with pytest.raises(InputError, match="flag --trend: is for order-aware models of logs with times; legal here is 0"):
        ancf.make(ancf.Config(ordered=ordered, trend=0.5), data._replace(ordered=times))


def twice_over(rows):
    """The log in which every user does all that they did again, and then their first item a third time."""
    rows = [[*row, *row, row[0]] for row in rows]
    users = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    train = build(users, np.concatenate(rows), np.ones(len(users)), np.arange(len(users)), len(rows))
    return Data(len(rows), 9, train, ordered=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"ordered": True},
        {"ordered": True, "prior": 1.0},
        {"ordered": False, "heads": 2},
        {"ordered": False, "history": 0},
    ],
)
def test_scores_have_the_logarithm_of_how_often_in_the_whole_history(rows, randomise, ask, changes):
    """Also of what was done before the latest 2, which are all that is attended to."""
    data, histories = twice_over(rows), [[3, 8, 3, 1, 3, 2], [7], []]
    config = dataclasses.replace(ORDERED, **{"history": 2, "trend": 0.0, "dropout": 0.0, **changes})
    plain, counting = (ancf.make(dataclasses.replace(config, again=weight), data) for weight in (0.0, 2.0))
    params, users = padded(randomise(plain)), [6, 0, 6]
    assert counting.history >= 6 and plain.history <= counting.history
    query = ask(users, histories, counting.history)
    latest = [history[-plain.history :] if plain.history else [] for history in histories]
    without = scores_of(plain, params, ask(users, latest, plain.history))
    counts = np.array([[history.count(item) for item in range(9)] for history in histories])
    found = scores_of(counting, params, query)
    np.testing.assert_allclose(found - without, 2 * np.log1p(counts), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("prior", [0.0, 1.0])
def test_contributions_have_it_too(rows, randomise, ask, prior):
    config = dataclasses.replace(ORDERED, heads=2, history=2, trend=0.0, again=1.5, prior=prior)
    model = ancf.make(config, twice_over(rows))
    params, items = padded(randomise(model)), np.array([[3, 0]])
    query = ask([6], [[3, 8, 3, 1]], model.history)
    found = jax.jit(model.contribute)(model.prepare(params, model.given), query, items)
    added = np.zeros((1, 2, model.history))
    added[0, 0, [-4, -2]] = 1.5 * np.log(3) / 2
    plain = ancf.make(dataclasses.replace(config, again=0.0), twice_over(rows))
    latest = jax.jit(plain.contribute)(plain.prepare(params, plain.given), ask([6], [[3, 1]], 2), items)
    assert model.history > 4
    np.testing.assert_allclose(found[:, :, -2:] - latest, added[:, :, -2:], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[:, :, :-2], added[:, :, :-2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("repeats", "weight"), [(True, 24.0), (False, 0.0)])
def test_by_default_it_counts_where_the_log_keeps_repeats(data, rows, repeats, weight):
    assert ancf.resolved(ancf.Config(), twice_over(rows) if repeats else data).again == weight
