"""Top-N lists of a table of fixed scores, and the queries of known and new users."""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.data.interactions import build
from ancf_jax.serving import recommend
from ancf_jax.serving.recommend import item_of, query_history, query_users, title_of, user_of
from ancf_jax.types import ClosedForm, Data, InputError, Interactions, Query, Recommender

NAN, INF = np.nan, np.inf
LEARN = ClosedForm(1, lambda key: None, lambda params, train, key: params)


def model(history: int = 0) -> Recommender:
    """A model whose params are its scores [U + 1, I]."""
    return Recommender(LEARN, history, lambda table: table, lambda table, query, items=None: table[query.users])


def log(rows, num_users: int) -> Interactions:
    """Rows of user, item, value in the order of time."""
    users, items, values = zip(*rows, strict=True)
    return build(users, items, values, np.arange(len(rows)), num_users)


def lists(scores, seen, top_k):
    query = Query(jnp.arange(len(scores)), jnp.zeros((len(scores), 0), int), jnp.zeros((len(scores), 0)))
    items, best = recommend.recommend(model(), jnp.array(scores, jnp.float32), query, jnp.array(seen), top_k)
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


def inner(users, items):
    """A model whose score is an inner product."""
    return Recommender(
        LEARN, 0, lambda p: p, lambda *_: None, lambda _, query: (jnp.array(users)[query.users], jnp.array(items))
    )


def by_items(table):
    """A model that is asked for items, not for all of them."""

    def score(_, query, items=None):
        return jnp.array(table)[query.users] if items is None else jnp.array(table)[query.users[:, None], items]

    return Recommender(LEARN, 0, lambda p: p, score)


@pytest.mark.parametrize("vectors", [True, False])
def test_large_catalogues_are_listed_by_blocks(monkeypatch, vectors):
    rng = np.random.default_rng(0)
    users, items = rng.integers(-2, 3, (2, 3)).astype(np.float32), rng.integers(-2, 3, (150, 3)).astype(np.float32)
    table, seen = users @ items.T, rng.integers(0, 151, (2, 60))
    monkeypatch.setattr(recommend, "SCORES", 2 * 64)
    model = inner(users, items) if vectors else by_items(table)
    query = Query(jnp.arange(2), jnp.zeros((2, 0), int), jnp.zeros((2, 0)))
    found = jax.jit(partial(recommend.recommend, model, None, top_k=8))(query, jnp.array(seen))
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

    monkeypatch.setattr(recommend, "recommend", lists_of)
    found = recommend.recall_of_approximate(model(), None, None, None, 3)
    np.testing.assert_allclose(found, {4: 1.0, 3: 0.75, 0: 0.0}[kept])


def test_queries_of_known_users():
    train = log([(0, 5, 2.0), (2, 1, 1.0), (0, 3, 4.0)], 3)
    whole = log([(0, 5, 2.0), (2, 1, 1.0), (0, 3, 4.0), (1, 6, 3.0), (0, 5, 1.0)], 3)
    query, seen = query_users(model(2), Data(3, 7, train), whole, [2, 0, 1])
    np.testing.assert_array_equal(query.users, [2, 0, 3])  # user 1 has no training row
    np.testing.assert_array_equal(query.history, [[7, 1], [3, 5], [7, 6]])
    np.testing.assert_array_equal(query.values, [[0, 1], [4, 1], [0, 3]])
    np.testing.assert_array_equal(seen, [[7, 7, 7, 1], [7, 5, 3, 5], [7, 7, 7, 6]])  # a power of two wide


@pytest.mark.parametrize(("history", "width"), [([6], 1), ([6, 2, 4], 4)])
def test_query_of_a_new_user(history, width):
    train = log([(0, 5, 2.0), (1, 1, 9.0), (0, 3, 3.0)], 2)
    query, seen = query_history(model(2), Data(2, 7, train), history)
    assert query.users.tolist() == [2] and seen.shape == (1, width)
    np.testing.assert_array_equal(query.history, [([7, *history])[-2:]])
    np.testing.assert_array_equal(query.values, [([0, 3, 3, 3])[: len(history) + 1][-2:]])  # the median of training


def test_a_model_without_histories_gets_none():
    train = log([(0, 5, 2.0)], 1)
    for query, seen in (
        query_history(model(), Data(1, 7, train), [4]),
        query_users(model(), Data(1, 7, train), train, [0]),
    ):
        assert query.history.shape == query.values.shape == (1, 0) and seen.shape == (1, 1)


def test_ids_as_people_write_them():
    numbers = SimpleNamespace(user_ids=np.array([3, 10, 12]), item_ids=np.array([1]), titles=["One"])
    texts = SimpleNamespace(user_ids=np.array(["anna", "bob"]), item_ids=np.array([1]), titles=None)
    assert user_of(numbers, "10") == 1 and user_of(texts, "bob") == 1 and item_of(texts, "1") == 0
    assert title_of(numbers, 0) == "One" and title_of(texts, 0) == "1"
    for dataset, text, hint in (
        (numbers, "11", "unknown user '11'; ids are whole numbers from 3 to 12, the nearest is 10; a new user"),
        (numbers, "x", "unknown user 'x'; ids are whole numbers from 3 to 12; a new user is given by --history"),
        (texts, "ana", "unknown user 'ana'; the nearest ids are anna; a new"),
        (texts, "zoe", "unknown user 'zoe'; ids are written like anna and bob; a new"),
    ):
        with pytest.raises(InputError, match=hint):
            user_of(dataset, text)
    with pytest.raises(InputError, match=r"unknown item '9'; ids are whole numbers from 1 to 1, the nearest is 1$"):
        item_of(numbers, "9")
