"""The best K by groups and blocks against NumPy's stable sort, with ties, seen items and scores that are no numbers."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ancf_jax.evaluation import topk

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


inner = {k: jax.jit(partial(topk.top_k_inner, k=k)) for k in (2, ITEMS + 5)}


@settings(max_examples=30)
@given(catalogues(), st.sampled_from(list(inner)))
def test_inner_products_in_blocks(catalogue, k):
    user, item, seen, scores = catalogue
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topk, "items_at_once", lambda floats: 130)  # two blocks of two groups, and 44 items
        found = inner[k](user, item, seen)
    for array, expected in zip(found, sorted_lists(scores, seen, k), strict=True):
        np.testing.assert_array_equal(array, expected)


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
