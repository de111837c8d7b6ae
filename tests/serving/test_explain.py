"""Reasons by each method, against NumPy, of models that are a few lines each."""

import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.data.interactions import build
from ancf_jax.nn import removal
from ancf_jax.serving import explain
from ancf_jax.types import ClosedForm, Given, InputError, Query, Recommender, as_they_are

USERS, ITEMS, HISTORY = 2, 6, 4
LEARN = ClosedForm(1, lambda key, given: None, lambda params, given, key: params)
NOTHING = Given(build(*np.zeros((4, 0), np.int32), num_users=0))  # which a table of scores does not look at
QUERY = Query(
    jnp.array([0, 1]),
    jnp.array([[6, 2, 4, 2], [6, 6, 6, 5]]),  # item 2 twice; one interaction
    jnp.array([[0.0, 1, 2, 3], [0, 0, 0, 1]]),
)
SEEN = QUERY.history
TARGETS = jnp.array([[0, 1], [3, 6]])  # one user's list is short


def reasons(model, params, count=3, **how):
    return explain.make_explainer(model, USERS, ITEMS, count, **how)(params, QUERY, TARGETS, SEEN)


def test_reasons_that_do_not_fit_are_refused(monkeypatch):
    monkeypatch.setattr(explain, "available", lambda: 100)
    model = Recommender(LEARN, NOTHING, HISTORY, as_they_are, lambda *_: None)
    with pytest.raises(InputError, match=r"the reasons for 2 items of 2 people need .* GiB and this device has"):
        reasons(model, None)


def test_attention_is_shared_out_over_items():
    paid = np.zeros((2, 2, 2, HISTORY), np.float32)
    paid[0, 0] = [[0, 0.3, 0.4, 0.3], [0, 0.5, 1.5, 0.0]]  # the second head is not normalised
    paid[0, 1] = [[0, 0.0, 1.0, 0.0], [0, 0.0, 0.2, 0.0]]
    paid[1, :] = [0, 0, 0, 1]
    model = Recommender(LEARN, NOTHING, HISTORY, as_they_are, lambda *_: None, attend=lambda paid, query, items: paid)
    got = reasons(model, jnp.array(paid))
    assert got.method == explain.ATTENTION
    np.testing.assert_array_equal(got.items, [[[4, 2, 6], [4, 6, 6]], [[5, 6, 6], [6, 6, 6]]])
    np.testing.assert_allclose(got.weights[0], [[0.575, 0.425, 0], [1, 0, 0]], rtol=1e-6)
    np.testing.assert_allclose(got.weights[1], [[1, 0, 0], [0, 0, 0]])  # nothing for padding
    np.testing.assert_allclose(got.heads[0, 0], [[0.4, 0.75], [0.6, 0.25], [0, 0]], rtol=1e-6)


def test_contributions_are_added_up_over_items():
    added = np.zeros((2, 2, HISTORY), np.float32)
    added[0, 0] = [0, 0.3, 0.4, 0.5]  # item 2 twice
    added[0, 1] = [0, -0.9, 0.2, 0.1]  # what speaks against is no reason
    added[1, :] = [0, 0, 0, 1]
    model = Recommender(LEARN, NOTHING, 0, as_they_are, lambda *_: None, attend=lambda *_: None)  # which is less true
    got = reasons(model._replace(contribute=lambda added, query, items: added), jnp.array(added))
    assert got.method == explain.CONTRIBUTION
    np.testing.assert_array_equal(got.items, [[[2, 4, 6], [4, 6, 6]], [[5, 6, 6], [6, 6, 6]]])
    np.testing.assert_allclose(got.weights[0], [[0.8, 0.4, 0], [0.2, 0, 0]], rtol=1e-6)
    both = reasons(model._replace(contribute=lambda added, query, items: added), jnp.array(added), signed=True)
    np.testing.assert_array_equal(both.items, [[[2, 4, 6], [2, 4, 6]], [[5, 6, 6], [6, 6, 6]]])
    np.testing.assert_allclose(both.weights[0], [[0.8, 0.4, 0], [-0.8, 0.2, 0]], rtol=1e-6)


def removal_model():
    """score(u, i) = sum over places h of (h + 1) value_h similar[item_h, i]: order, values and repetition all count."""

    def score(similar, query, items):
        places = jnp.arange(1, HISTORY + 1) * query.values  # [B, H]
        rows = jnp.pad(similar, ((0, 1), (0, 1)))[query.history]  # [B, H, I + 1]
        return jnp.take_along_axis(jnp.einsum("bh,bhi->bi", places, rows), items, axis=1)

    return Recommender(LEARN, NOTHING, HISTORY, as_they_are, score)


@pytest.mark.parametrize("block", [1, 64])
def test_removal_is_the_fall_of_the_score(monkeypatch, block):
    monkeypatch.setattr(removal, "BLOCK", block)
    similar = np.random.default_rng(1).normal(size=(ITEMS, ITEMS)).astype(np.float32)
    got = reasons(removal_model(), jnp.array(similar))
    assert got.method == explain.REMOVAL and got.heads.shape == (2, 2, 3, 1)

    def score(pairs, target):
        return sum(
            (HISTORY - back) * value * similar[item, target] for back, (item, value) in enumerate(reversed(pairs))
        )

    for b, pairs in enumerate([[(2, 1), (4, 2), (2, 3)], [(5, 1)]]):
        for k, target in enumerate(np.asarray(TARGETS[b])):
            falls = {}
            if target < ITEMS:
                for past in {item for item, _ in pairs}:
                    without = [pair for pair in pairs if pair[0] != past]
                    falls[past] = score(pairs, target) - score(without, target)
            expected = sorted(((fall, past) for past, fall in falls.items() if fall > 0), reverse=True)
            found = np.asarray(got.items[b, k]) < ITEMS
            assert np.asarray(got.items[b, k])[found].tolist() == [past for _, past in expected]
            np.testing.assert_allclose(got.weights[b, k][found], [fall for fall, _ in expected], rtol=1e-5)


def test_a_model_with_a_row_for_known_users_is_asked_as_for_a_new_one():
    similar = jnp.asarray(np.random.default_rng(3).random((ITEMS + 1, ITEMS)), jnp.float32)

    def score(similar, query, items):
        told = jnp.where((query.users == USERS)[:, None], query.history, ITEMS)  # known users' histories are not read
        weight = jnp.where(told < ITEMS, 1.0, 0.0)
        return jnp.einsum("bh,bhi->bi", weight, similar[told])[jnp.arange(len(items))[:, None], items % ITEMS]

    got = reasons(Recommender(LEARN, NOTHING, HISTORY, as_they_are, score), similar)
    assert got.method == explain.REMOVAL
    assert set(np.asarray(got.items[0, 0]).tolist()) == {2, 4, ITEMS} and got.items[1, 0, 0] == 5
    np.testing.assert_allclose(got.weights[1, 0, 0], similar[5, 3], rtol=1e-5)


def test_similarity_is_the_cosine_of_centred_vectors():
    vectors = np.random.default_rng(2).normal(size=(ITEMS, 3)).astype(np.float32)
    constant = np.column_stack([vectors, np.full(ITEMS, 9, np.float32)])
    centred = vectors - vectors.mean(axis=0)
    length = np.linalg.norm(centred, axis=1)
    cosine = centred @ centred.T / np.outer(length, length)
    model = Recommender(LEARN, NOTHING, 0, as_they_are, lambda *_: None, lambda vectors, query: (vectors[:2], vectors))
    for table in (vectors, constant):  # a column for the user's bias changes nothing
        got = reasons(model, jnp.array(table))
        assert got.method == explain.SIMILARITY
        for b, past in enumerate([(2, 4), (5,)]):
            expected = sorted(
                ((cosine[TARGETS[b, 0], j], j) for j in past if cosine[TARGETS[b, 0], j] > 0), reverse=True
            )
            assert got.items[b, 0, : len(expected)].tolist() == [j for _, j in expected]
            np.testing.assert_allclose(got.weights[b, 0, : len(expected)], [c for c, _ in expected], rtol=1e-5)
            assert (got.items[b, 0, len(expected) :] == ITEMS).all()


@pytest.mark.parametrize("width", [None, 1])
def test_no_reasons(width):
    embed = width and (lambda counts, query: (jnp.ones((2, width)), counts))  # one number has no direction
    model = Recommender(LEARN, NOTHING, 0, as_they_are, lambda *_: None, embed)
    got = reasons(model, jnp.arange(1.0, ITEMS + 1)[:, None], count=99)
    assert got.method == (explain.SIMILARITY if width else explain.NOTHING)
    assert got.items.shape == (2, 2, ITEMS) and (got.items == ITEMS).all() and not got.weights.any()
