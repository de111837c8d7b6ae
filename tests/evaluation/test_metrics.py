"""Metrics against references in plain NumPy and against scikit-learn."""

import itertools
import math

import jax
import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from ancf_jax.evaluation import metrics
from ancf_jax.evaluation.ranks import Ranks, full_ranks, untied

ITEMS = 30
PLACES = 8  # every example is padded to this many held-out items, so that the metrics compile once

ranking = jax.jit(metrics.ranking, static_argnames="ks")
graded, ndcg, recall, precision = (
    jax.jit(metric, static_argnames="k")
    for metric in (metrics.graded_ndcg, metrics.ndcg, metrics.recall, metrics.precision)
)
auc = jax.jit(metrics.auc)
coverage, gini = (jax.jit(metric, static_argnames="num_items") for metric in (metrics.coverage, metrics.gini))


def reference(ranks: list[float], candidates: int, k: int) -> dict[str, float]:
    """One user's metrics, one held-out item after the other."""
    ranks = sorted(ranks)
    hits = [r for r in ranks if r < k]
    ideal = sum(1 / math.log2(place + 1) for place in range(1, min(k, len(ranks)) + 1))
    precisions = [sum(other <= r for other in ranks) / (r + 1) for r in hits]
    wrong = sum(r - sum(other < r for other in ranks) for r in ranks)
    return {
        f"hr@{k}": float(bool(hits)),
        f"recall@{k}": len(hits) / len(ranks),
        f"precision@{k}": len(hits) / k,
        f"ndcg@{k}": sum(1 / math.log2(r + 2) for r in hits) / ideal,
        f"map@{k}": sum(precisions) / min(k, len(ranks)),
        "mrr": 1 / (ranks[0] + 1),
        "auc": 1 - wrong / (len(ranks) * (candidates - len(ranks))),
    }


def pad(ranks) -> Ranks:
    return untied(np.concatenate([ranks, np.full(PLACES - len(ranks), np.inf)]))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=PLACES, unique=True), st.randoms())
def test_ranking_agrees_with_the_reference_in_any_order(ranks, random):
    found = {k: float(v) for k, v in ranking(pad(ranks), len(ranks), ITEMS, ks=(5, 10)).items()}
    expected = reference(ranks, ITEMS, 5) | reference(ranks, ITEMS, 10)
    assert found == pytest.approx(expected, abs=1e-6)
    shuffled = np.array(pad(ranks).better)
    random.shuffle(shuffled)
    again = ranking(untied(shuffled), len(ranks), ITEMS, ks=(5, 10))
    assert {k: float(v) for k, v in again.items()} == pytest.approx(found, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_ranking_agrees_with_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    scores = rng.permutation(ITEMS).astype(np.float32)
    relevant = np.zeros(ITEMS, int)
    relevant[rng.choice(ITEMS, 6, replace=False)] = 1
    ranks = np.array([(scores > score).sum() for score in scores[relevant == 1]])
    assert auc(pad(ranks), 6, ITEMS) == pytest.approx(sk.roc_auc_score(relevant, scores))
    assert metrics.average_precision(pad(ranks), 6, ITEMS) == pytest.approx(
        sk.average_precision_score(relevant, scores)
    )
    for k in (3, 10):
        assert ndcg(pad(ranks), 6, k) == pytest.approx(sk.ndcg_score([relevant], [scores], k=k))
        top = np.argsort(-scores)[:k]
        chosen = np.isin(np.arange(ITEMS), top)
        assert precision(pad(ranks), k) == pytest.approx(sk.precision_score(relevant, chosen))
        assert recall(pad(ranks), 6, k) == pytest.approx(sk.recall_score(relevant, chosen))


@pytest.mark.parametrize("seed", range(3))
def test_graded_ndcg_agrees_with_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    scores, values = rng.permutation(ITEMS).astype(np.float32), np.zeros(ITEMS)
    held = rng.choice(ITEMS, 6, replace=False)
    values[held] = rng.choice([0, 1, 2.5, 5, 400], 6)
    ranks = pad([(scores > scores[item]).sum() for item in held])
    gains = np.pad(values[held], (0, PLACES - 6))
    for k in (3, 10):
        expected = sk.ndcg_score([values], [scores], k=k)
        assert graded(ranks, gains, k) == pytest.approx(expected)
    assert graded(ranks, 0 * gains, 3) == 0  # nothing is worth anything
    equal = np.where(np.isfinite(ranks.better), 4.0, 0.0)
    assert graded(ranks, equal, 10) == pytest.approx(ndcg(ranks, 6, 10))


def test_a_single_held_out_item():
    places = np.array([[0.0], [3.0], [9.0], [10.0]])
    ranks, count = untied(places), np.ones(4, int)
    np.testing.assert_array_equal(metrics.hit_rate(ranks, 10), [1, 1, 1, 0])
    np.testing.assert_allclose(recall(ranks, count, 10), metrics.hit_rate(ranks, 10))
    np.testing.assert_allclose(ndcg(ranks, count, 10)[:3], np.log(2) / np.log(places[:3, 0] + 2), rtol=1e-6)
    np.testing.assert_allclose(metrics.mrr(ranks), [1, 1 / 4, 1 / 10, 1 / 11], rtol=1e-6)


@st.composite
def tied_users(draw):
    """Scores [1, 6] of few levels, hidden items, held-out items padded to PLACES, and the gain of each."""
    scores = np.array([draw(st.lists(st.integers(0, 2), min_size=6, max_size=6))], np.float32)
    order = draw(st.permutations(range(6)))
    count = draw(st.integers(1, 4))
    hidden = np.isin(np.arange(6), order[draw(st.integers(count + 1, 6)) :])[None]
    gains = draw(st.lists(st.sampled_from([0.0, 1.0, 5.0]), min_size=count, max_size=count))
    return scores, hidden, order[:count], gains


full = jax.jit(full_ranks)


@settings(max_examples=25, deadline=None)
@given(tied_users())
def test_every_metric_is_its_mean_over_the_orders_of_tied_items(example):
    """Against every permutation of the visible items, sorted stably by score."""
    scores, hidden, held, gains = example
    visible = np.flatnonzero(~hidden[0])
    every = []
    for shuffled in itertools.permutations(visible):
        places = np.argsort(sorted(range(len(visible)), key=lambda n: -scores[0, shuffled[n]]))
        place = dict(zip(shuffled, places, strict=True))
        ranks = [int(place[item]) for item in held]
        found = reference(ranks, len(visible), 2) | reference(ranks, len(visible), 5)
        for k in (2, 5):
            ideal = sum(gain / math.log2(n + 2) for n, gain in enumerate(sorted(gains, reverse=True)[:k]))
            gained = sum(gain / math.log2(r + 2) for r, gain in zip(ranks, gains, strict=True) if r < k)
            found[f"gndcg@{k}"] = gained / (ideal or 1)
        every.append(found)
    expected = {name: float(np.mean([found[name] for found in every])) for name in every[0]}
    padding = PLACES - len(held)
    ranks, count = full(scores, hidden, np.pad(held, (padding, 0), constant_values=6)[None].astype(np.int32))
    found = ranking(ranks, np.array([len(held)]), count, ks=(2, 5))
    weights = np.pad(gains, (padding, 0))[None].astype(np.float32)
    found |= {f"gndcg@{k}": graded(ranks, weights, k=k) for k in (2, 5)}
    assert {name: float(value[0]) for name, value in found.items()} == pytest.approx(expected, abs=1e-6)


def test_twenty_items_that_tie_on_top():
    ranks = Ranks(np.zeros((1, 1)), np.full((1, 1), 20))
    found = {name: float(value[0]) for name, value in ranking(ranks, np.array([1]), 50, ks=(10,)).items()}
    harmonic = sum(1 / n for n in range(1, 21))
    assert found["hr@10"] == found["recall@10"] == pytest.approx(0.5) and found["precision@10"] == pytest.approx(0.05)
    assert found["mrr"] == pytest.approx(harmonic / 20)
    assert found["ndcg@10"] == pytest.approx(sum(1 / math.log2(r + 2) for r in range(10)) / 20)
    assert found["map@10"] == pytest.approx(sum(1 / n for n in range(1, 11)) / 20)


@pytest.mark.parametrize(("better", "tied", "held"), [(0, 1000, 1), (7, 100_000, 1), (3, 5000, 40), (90_000, 700, 3)])
def test_large_ties_keep_their_digits(better, tied, held):
    """Against exact binomial coefficients, over more than one round of places."""
    ranks = Ranks(np.full((1, held), better, np.float32), np.full((1, held), tied, np.float32))
    first = reduced = 0.0
    left = 1.0  # the chance that no held-out item is before place x
    for x in range(tied - held + 1):
        first += left * held / (tied - x) / (better + x + 1)
        left *= 1 - held / (tied - x)
    found = ranking(ranks, np.array([held]), 200_000, ks=(20, 500))
    assert float(found["mrr"][0]) == pytest.approx(first, rel=2e-5)
    for k in (20, 500):
        inside = min(max(k - better, 0), tied)
        missed = math.comb(tied - inside, held) / math.comb(tied, held)
        assert float(found[f"hr@{k}"][0]) == pytest.approx(1 - missed, abs=1e-6)
        share = (held - 1) / (tied - 1)
        reduced = held / tied * sum((1 + x * share) / (better + x + 1) for x in range(inside)) / min(k, held)
        assert float(found[f"map@{k}"][0]) == pytest.approx(reduced, rel=1e-5, abs=1e-9)


def test_a_user_with_nothing_held_out_counts_zero():
    values = ranking(pad([]), 0, ITEMS, ks=(5, 10))
    assert all(float(value) == 0 for value in values.values())


def test_auc_without_another_item_is_one():
    assert auc(untied([0.0, 1.0]), 2, 2) == 1


def test_auc_keeps_its_digits_in_a_large_catalogue():
    rng = np.random.default_rng(0)
    ranks = np.sort(rng.choice(1_000_000, 500, replace=False))
    wrong = (ranks - np.arange(500)).sum()
    assert auc(untied(ranks), 500, 1_000_000) == pytest.approx(1 - wrong / (500 * 999_500), abs=1e-6)


def test_beyond_accuracy_by_hand():
    lists = np.array([[0, 1], [0, 4], [0, 1]])  # 4 pads the second list: there are items 0..3
    assert coverage(lists, 4) == pytest.approx(0.5)
    assert gini(lists, 4) == pytest.approx((-3 * 0 - 1 * 0 + 1 * 2 + 3 * 3) / (4 * 5))
    counts = np.array([8, 2, 0, 1])
    np.testing.assert_allclose(metrics.popularity(lists, counts), [5, 8, 5])
    np.testing.assert_allclose(metrics.novelty(lists, counts, 8), [1, 0, 1])
    np.testing.assert_allclose(metrics.novelty(np.array([2, 3]), counts, 8), 3)  # item 2 counts as if one had it


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=12, max_size=12))
def test_gini_agrees_with_the_mean_absolute_difference(lists):
    exposure = np.bincount(lists, minlength=10)
    expected = np.abs(exposure[:, None] - exposure).mean() / (2 * exposure.mean())
    assert gini(np.array(lists).reshape(4, 3), 10) == pytest.approx(expected, abs=1e-6)


def test_gini_is_zero_for_equal_shares_and_nearly_one_for_one_item():
    assert gini(np.arange(10).reshape(5, 2), 10) == pytest.approx(0, abs=1e-6)
    assert gini(np.full((5, 1), 3), 10) == pytest.approx(0.9)


def test_pointwise_errors_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    predicted, observed = rng.normal(size=(2, 50)).astype(np.float32)
    assert metrics.mse(predicted, observed) == pytest.approx(sk.mean_squared_error(observed, predicted))
    assert metrics.rmse(predicted, observed) == pytest.approx(sk.root_mean_squared_error(observed, predicted))
    assert metrics.mae(predicted, observed) == pytest.approx(sk.mean_absolute_error(observed, predicted))
