"""The best K by groups and blocks against NumPy's stable sort, with ties, seen items and scores that are no numbers."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ancf_jax.data.interactions import build
from ancf_jax.evaluation import topk
from ancf_jax.types import ClosedForm, Given, Query, Recommender, as_they_are

NAN, INF = np.nan, np.inf
USERS, ITEMS, WIDTH, SEEN = 3, 300, 2, 40  # five groups of 64, the last one not full


def sorted_lists(scores, seen, k):
    """The k best fit items of each row and their scores: best first, then by id, padded with I and -inf."""
    lists = []
    for row, away in zip(scores, seen, strict=True):
        fit = np.isfinite(row)
        fit[away[away < len(row)]] = False
        order = np.argsort(np.where(fit, -row, INF), kind="stable")
        best = order[fit[order]][:k]
        missing = min(k, len(row)) - len(best)
        lists.append((np.append(best, np.full(missing, len(row))), np.append(row[best], np.full(missing, -INF))))
    return tuple(map(np.array, zip(*lists, strict=True)))


@st.composite
def catalogues(draw):
    """Vectors of whole numbers, whose products have many ties and no rounding; some scores NaN or infinite."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    most = draw(st.sampled_from([0, 1, 3]))
    user = rng.integers(-most, most + 1, (USERS, WIDTH)).astype(np.float32)
    item = rng.integers(-most, most + 1, (ITEMS, WIDTH)).astype(np.float32)
    item[rng.integers(0, ITEMS, draw(st.sampled_from([0, 4, 4 * ITEMS])))] = draw(st.sampled_from([NAN, INF, -INF]))
    seen = rng.integers(0, ITEMS + 1, (USERS, SEEN)).astype(np.int32)
    with np.errstate(invalid="ignore"):
        return user, item, seen, (user[:, None] * item).sum(axis=2)


# At once all items, or two blocks of two groups, and 44 items.
inner = {(k, most): jax.jit(partial(topk.top_k_inner, k=k)) for k in (2, ITEMS + 5) for most in (130, ITEMS)}


@settings(max_examples=40)
@given(catalogues(), st.sampled_from(list(inner)))
def test_inner_products_at_once_and_in_blocks(catalogue, asked):
    user, item, seen, scores = catalogue
    k, most = asked
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topk, "items_at_once", lambda floats: most)
        found = inner[asked](user, item, seen)
    for array, expected in zip(found, sorted_lists(scores, seen, k), strict=True):
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("k", [2, ITEMS + 5])
def test_bits_stand_for_what_is_seen(k):
    rng = np.random.default_rng(0)
    user, item = (rng.integers(-2, 3, (count, WIDTH)).astype(np.float32) for count in (USERS, ITEMS))
    seen = rng.integers(0, ITEMS, (USERS, SEEN)).astype(np.int32)
    hidden = np.zeros((USERS, ITEMS), bool)
    np.put_along_axis(hidden, seen, True, axis=1)
    expected = sorted_lists((user[:, None] * item).sum(axis=2), seen, k)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topk, "items_at_once", lambda floats: 130)
        found = inner[k, 130](user, item, topk.bits_of(hidden))
    other = blocks[9, 999](user @ item.T, topk.bits_of(hidden))
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(other[0][:, :2], expected[0][:, :2])


def by_blocks(scores, seen, k, block, approximate=False):
    return topk.top_k_blocks(lambda ids: jnp.asarray(scores)[:, ids], ITEMS, seen, k, block, approximate)


blocks = {(k, n): jax.jit(partial(by_blocks, k=k, block=n)) for k, n in ((2, 33), (ITEMS + 5, 64), (9, 999))}


@settings(max_examples=30)
@given(catalogues(), st.sampled_from(list(blocks)))
def test_any_scores_in_blocks(catalogue, setting):
    _, _, seen, scores = catalogue
    for array, expected in zip(blocks[setting](scores, seen), sorted_lists(scores, seen, setting[0]), strict=True):
        np.testing.assert_array_equal(array, expected)


grouped = {k: jax.jit(partial(topk.top_k, k=k)) for k in (1, 3)}


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 5, 1000]), st.sampled_from(list(grouped)))
def test_groups_give_what_a_sort_gives(seed, values, k):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, values, (USERS, ITEMS)).astype(np.float32)
    scores[rng.random(scores.shape) < rng.choice([0, 0.5, 1])] = -INF
    for array, expected in zip(grouped[k](scores), jax.lax.top_k(scores, k), strict=True):
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("function", ["inner", "blocks"])
def test_approximate_lists_have_the_best_scores_where_the_platform_is_exact(function):
    rng = np.random.default_rng(0)
    user, item = rng.normal(size=(USERS, WIDTH)).astype(np.float32), rng.normal(size=(ITEMS, WIDTH)).astype(np.float32)
    seen = rng.integers(0, ITEMS + 1, (USERS, SEEN)).astype(np.int32)
    scores = np.asarray(jnp.asarray(user) @ item.T)
    if function == "inner":
        found = jax.jit(partial(topk.top_k_inner, k=7, approximate=True))(user, item, seen)
    else:
        found = jax.jit(partial(by_blocks, k=7, block=64, approximate=True))(scores, seen)
    items, best = sorted_lists(scores, seen, 7)
    np.testing.assert_array_equal(found[0], items)
    np.testing.assert_allclose(found[1], best, rtol=1e-6)


def test_memory_is_far_below_the_scores_of_all_items():
    shapes = [((8, 16), jnp.float32), ((200_000, 16), jnp.float32), ((8, 32), jnp.int32)]
    compiled = jax.jit(partial(topk.top_k_inner, k=10)).lower(*(jax.ShapeDtypeStruct(*shape) for shape in shapes))
    assert compiled.compile().memory_analysis().temp_size_in_bytes < 8 * 200_000 * 4 / 3


LEARN = ClosedForm(1, lambda key, given: None, lambda params, given, key: params)
NOTHING = Given(build(*np.zeros((4, 0), np.int32), num_users=0))  # which a table of scores does not look at


def model(history: int = 0) -> Recommender:
    """A model whose params are its scores [U + 1, I]."""
    return Recommender(LEARN, NOTHING, history, as_they_are, lambda table, query, items=None: table[query.users])


def lists(scores, seen, top_k):
    query = Query(jnp.arange(len(scores)), jnp.zeros((len(scores), 0), int), jnp.zeros((len(scores), 0)))
    items, best = topk.best_items(model(), jnp.array(scores, jnp.float32), query, jnp.array(seen), top_k)
    return items.tolist(), best.tolist()


def test_best_first_without_what_is_seen():
    items, scores = lists([[1, 4, 3, 2], [1, 1, 5, 1]], [[4, 1], [2, 2]], 2)  # item 4 is padding
    assert items == [[2, 3], [0, 1]] and scores == [[3, 2], [1, 1]]


@pytest.mark.parametrize(
    ("scores", "seen", "expected"),
    [
        ([1, 2, 3], [0, 2], [1, 3, 3]),
        ([NAN, INF, -INF], [3, 3], [3, 3, 3]),
        ([NAN, 2, 7], [2, 2], [1, 3, 3]),
        ([1, 2, 3], [3, 3], [2, 1, 0]),  # no longer than the catalogue
    ],
)
def test_short_lists_end_in_padding(scores, seen, expected):
    items, best = lists([scores], [seen], 5)
    assert items == [expected]
    assert np.isneginf(best[0]).tolist() == [item == 3 for item in expected]


def by_vectors(users, items):
    """A model whose score is an inner product."""

    def embed(_, query):
        return jnp.array(users)[query.users], jnp.array(items)

    return Recommender(LEARN, NOTHING, 0, as_they_are, lambda *_: None, embed)


def by_items(table):
    """A model that is asked for items, not for all of them."""

    def score(_, query, items=None):
        return jnp.array(table)[query.users] if items is None else jnp.array(table)[query.users[:, None], items]

    return Recommender(LEARN, NOTHING, 0, as_they_are, score)


@pytest.mark.parametrize("vectors", [True, False])
def test_large_catalogues_are_listed_by_blocks(monkeypatch, vectors):
    rng = np.random.default_rng(0)
    users, items = rng.integers(-2, 3, (2, 3)).astype(np.float32), rng.integers(-2, 3, (150, 3)).astype(np.float32)
    table, seen = users @ items.T, rng.integers(0, 151, (2, 60))
    monkeypatch.setattr(topk, "SCORES", 2 * 64)
    model = by_vectors(users, items) if vectors else by_items(table)
    query = Query(jnp.arange(2), jnp.zeros((2, 0), int), jnp.zeros((2, 0)))
    found = jax.jit(partial(topk.best_items, model, None, top_k=8))(query, jnp.array(seen))
    for user, ids, scores in zip(range(2), *found, strict=True):
        fit = np.setdiff1d(np.arange(150), seen[user])
        best = fit[np.argsort(-table[user, fit], kind="stable")][:8]
        np.testing.assert_array_equal(ids, best)
        np.testing.assert_array_equal(scores, table[user, best])


@pytest.mark.parametrize("kept", [4, 3, 0])
def test_the_recall_of_approximate_lists(monkeypatch, kept):
    """Of the 3 + 1 items that are left to two users, those below `kept` are found."""

    def lists_of(model, ready, query, seen, top_k, approximate=False):
        exact = jnp.array([[0, 1, 3], [2, 4, 4]])
        items = jnp.where(exact < kept, exact, 4) if approximate else exact
        return items, jnp.where(items < 4, 1.0, -jnp.inf)

    monkeypatch.setattr(topk, "best_items", lists_of)
    found = topk.recall_of_approximate(model(), None, None, None, 3)
    np.testing.assert_allclose(found, {4: 1.0, 3: 0.75, 0: 0.0}[kept])
