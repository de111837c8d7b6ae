"""How true reasons are: Shapley values and the curves, against loops in NumPy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.data.interactions import build
from ancf_jax.evaluation.fidelity import compare, curves
from ancf_jax.evaluation.fidelity.shapley import shapley
from ancf_jax.types import LOG_ODDS, LOG_PROBABILITY, ClosedForm, Data, Given, InputError, Query, Recommender
from ancf_jax.types import as_they_are as same

ITEMS, HISTORY = 7, 5
LEARN = ClosedForm(1, lambda key, given: None, lambda params, given, key: params)
LOG = build([0, 0, 0, 1, 1, 1, 1, 2], [0, 1, 2, 3, 1, 4, 0, 5], np.ones(8), np.arange(8), 4)
TABLE = np.random.default_rng(0).normal(size=(ITEMS + 1, ITEMS)).astype(np.float32)
TABLE[-1] = 0


def score(table, query, items=None):
    """tanh of a sum over the history, and a term of which items come last: neither additive nor order-free."""
    scores = jnp.tanh(table[query.history].sum(1)) + 0.5 * table[query.history[:, -1]]
    return scores if items is None else jnp.take_along_axis(scores, items, axis=1)


MODEL = Recommender(LEARN, Given(LOG), HISTORY, same, score, unit=LOG_ODDS)
DATA = Data(4, ITEMS, LOG)
QUERY = Query(
    jnp.array([4, 4]), jnp.array([[7, 7, 0, 1, 2], [7, 3, 1, 4, 0]]), jnp.array([[0.0, 0, 1, 1, 1], [0, 1, 1, 1, 1]])
)
PASTS = ([0, 1, 2], [3, 1, 4, 0])


def scores_of(past):
    last = TABLE[past[-1]] if past else 0
    return np.tanh(TABLE[list(past)].sum(0)) + 0.5 * last


def test_shapley_values_are_means_over_orders():
    items, key = jnp.array([[5], [2]]), jax.random.key(0)
    many = jax.jit(lambda table: shapley(MODEL, ITEMS, table, QUERY, items, key, 300))(TABLE)
    few = jax.jit(lambda table: shapley(MODEL, ITEMS, table, QUERY, items, key, 1))(TABLE)
    for b, past in enumerate(PASTS):
        phi = dict.fromkeys(past, 0.0)
        orders = list(itertools.permutations(past))
        for order in orders:
            for n, item in enumerate(order):
                kept = [[j for j in past if j in order[: n + m]] for m in (0, 1)]
                phi[item] += (scores_of(kept[1]) - scores_of(kept[0]))[items[b, 0]] / len(orders)
        np.testing.assert_allclose(many[b, 0, HISTORY - len(past) :], list(phi.values()), atol=0.08)
        whole = (scores_of(past) - scores_of([]))[items[b, 0]]
        np.testing.assert_allclose(few[b, 0].sum(), whole, rtol=1e-4, atol=1e-5)  # whatever the orders
        assert not few[b, 0, : HISTORY - len(past)].any()


@pytest.mark.parametrize("unit", [LOG_ODDS, LOG_PROBABILITY, ""])
def test_curves(unit):
    weights = np.random.default_rng(1).normal(size=(2, HISTORY)).astype(np.float32)
    hidden = np.zeros((2, ITEMS), bool)
    for row, past in zip(hidden, PASTS, strict=True):
        row[past] = True
    model = MODEL._replace(unit=unit)
    table = jnp.asarray(TABLE)
    items = curves.recommended(model, table, QUERY, hidden)
    found = curves.fidelity(model, ITEMS, table, QUERY, hidden, items, weights)
    for b, past in enumerate(PASTS):
        whole = np.where(hidden[b], -np.inf, scores_of(past))
        item = int(items[b])
        assert item == whole.argmax()
        of = weights[b, HISTORY - len(past) :]
        strongest = [past[n] for n in np.argsort(-of, kind="stable")]
        sizes = np.cumsum([0, *map(len, np.array_split(np.arange(len(past)), 10))])
        expected = {name: [] for name in curves.METRICS}
        for size in sizes:
            left, alone = ([j for j in past if (j in strongest[:size]) == taken] for taken in (False, True))
            rank = 1 + sum(scores_of(left)[i] > scores_of(left)[item] for i in np.flatnonzero(~hidden[b]))
            tied = sum(scores_of(left)[i] == scores_of(left)[item] for i in np.flatnonzero(~hidden[b]))  # of no history
            places = rank + np.arange(tied)
            for k in curves.KS:
                expected[f"pos@{k}"].append((places <= k).mean())
            expected["cdcg"].append((1 / np.log2(1 + places)).mean())
            for name, kept in (("del", left), ("ins", alone)):
                s = scores_of(kept) + np.zeros(ITEMS)
                p = {LOG_ODDS: 1 / (1 + np.exp(-s)), LOG_PROBABILITY: np.exp(s) / np.exp(s).sum(), "": s}[unit]
                expected[name].append(p[item])
        assert len(sizes) == 11 and sizes[-1] == len(past)
        for name, values in expected.items():
            np.testing.assert_allclose(found[name][b], np.mean(values), rtol=1e-4, atol=1e-6, err_msg=name)


def test_users_are_compared_by_every_way_that_a_model_offers():
    additive = MODEL._replace(
        score=lambda table, query, items=None: (
            table[query.history].sum(1)
            if items is None
            else jnp.take_along_axis(table[query.history].sum(1), items, axis=1)
        ),
        contribute=lambda table, query, items: jnp.take_along_axis(
            table[query.history][:, None], items[:, :, None, None] * jnp.ones((1, 1, HISTORY, 1), int), axis=3
        )[..., 0],
    )
    found = compare.compare(additive, DATA, TABLE, LOG, [3, 2, 1, 0])
    assert found.users.tolist() == [2, 0, 1]  # shortest histories first; user 3 has none
    assert list(found.values) == ["contribution", "leave-one-out", "Shapley", "LXR", "cosine", "random"]
    for metric in curves.METRICS:  # of a sum, all exact reasons are the same
        for name in ("leave-one-out", "Shapley"):
            np.testing.assert_allclose(found.values[name][metric], found.values["contribution"][metric], atol=1e-5)
    rows = compare.summary(found)
    for name, row in rows.items():
        for metric, (low, high) in row["intervals"].items():
            assert low <= row["metrics"][metric] <= high, name
        assert row["beats"]["pos@5"] == []  # three users tell nothing
    with pytest.raises(InputError, match="reads no history"):
        compare.compare(additive._replace(history=0), DATA, TABLE, LOG, [0])
    with pytest.raises(InputError, match="none of the users"):
        compare.compare(additive, DATA, TABLE, LOG, [3])


def test_what_is_better_and_sure_beats():
    rng = np.random.default_rng(0)
    low, high = rng.uniform(0, 0.4, 40), rng.uniform(0.5, 0.9, 40)
    values = {"a": dict.fromkeys(curves.METRICS, low), "b": dict.fromkeys(curves.METRICS, high)}
    rows = compare.summary(compare.Fidelity(np.arange(40), values, {}))
    assert rows["a"]["beats"] == {name: ["b"] if name in curves.LOWER_IS_BETTER else [] for name in curves.METRICS}
    assert rows["b"]["beats"] == {name: ["a"] if name == "ins" else [] for name in curves.METRICS}
