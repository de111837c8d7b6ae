"""Lists and scores by the data's own ids, of a table of fixed scores: whom they are for, and what they leave out."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.data.interactions import build
from ancf_jax.serving import recommend
from ancf_jax.serving.recommend import Wanted, for_history, for_users, for_words, rows_of_list, scores_of
from ancf_jax.serving.similar import TOGETHER, VECTORS, likeness_of, similar_items
from ancf_jax.types import ClosedForm, Data, Given, InputError, Recommender, as_they_are

USERS, ITEMS = 5, 6
ROWS = [(0, 0), (0, 1), (1, 1), (1, 2), (2, 3), (3, 0), (3, 1), (3, 2), (4, 4)]
SCORES = np.random.default_rng(0).permutation((USERS + 1) * ITEMS).reshape(USERS + 1, ITEMS).astype(np.float32)


def score(table, query, items=None):
    rows = table[query.users]
    return rows if items is None else jnp.take_along_axis(rows, items, axis=1)


@pytest.fixture
def server():
    users, items = np.array(ROWS).T
    log = build(users, items, np.ones(len(ROWS)), np.arange(len(ROWS)), USERS)
    nothing = build(*np.zeros((4, 0), np.int32), num_users=USERS)
    learn = ClosedForm(1, None, None)
    model = Recommender(learn, Given(log), 0, as_they_are, score)
    names = {
        "user_ids": np.array([f"u{n}" for n in range(USERS)]),
        "item_ids": np.array([f"i{n}" for n in range(ITEMS)]),
    }
    dataset = SimpleNamespace(
        name="shop",
        titles=None,
        features=None,
        stream=None,
        repeats=False,
        **names,
        train=log,
        valid=nothing,
        test=nothing,
    )
    return recommend.make_server(dataset, Data(USERS, ITEMS, log), model, jnp.asarray(SCORES))


def test_a_model_without_a_finite_score_is_said_to_have_none(server, caplog):
    server = server._replace(ready=jnp.asarray(SCORES).at[0].set(jnp.nan))
    (listed,) = for_users(server, ["u0", "u3"], Wanted(3))
    assert (np.asarray(listed.items[0]) == ITEMS).all() and (np.asarray(listed.items[1]) < ITEMS).all()
    assert "for 1 of 2 people the model has no finite score" in caplog.text


def had(user):
    return {item for owner, item in ROWS if owner == user}


@pytest.mark.parametrize("block", [1, 2, 256])
def test_lists_of_users_in_blocks_leave_out_what_they_have(server, monkeypatch, block):
    monkeypatch.setattr(recommend, "BLOCK", block)
    blocks = list(for_users(server, ["u3", "u0", "u4"], Wanted(3)))
    assert [person for each in blocks for person in each.people] == ["u3", "u0", "u4"]
    found = np.concatenate([each.items for each in blocks])
    for user, items in zip((3, 0, 4), found, strict=True):
        fit = [item for item in np.argsort(-SCORES[user]) if item not in had(user)]
        assert items.tolist() == fit[:3]


def test_lists_hold_what_may_be_recommended_alone(server):
    (listed,) = for_users(server, ["u1"], Wanted(9, ["i5", "i0", "i1", "i3"], ["i3"]))
    fit = sorted({5, 0}, key=lambda item: -SCORES[1, item])  # user 1 has item 1
    assert [row["item"] for row in rows_of_list(server.dataset, np.asarray(listed.items[0]))] == [f"i{n}" for n in fit]


def test_a_new_user_is_the_unknown_user_with_a_history(server):
    listed = for_history(server, ["i2", "i0"], Wanted(2, exclude=["i1"]))
    fit = [item for item in np.argsort(-SCORES[USERS]) if item not in (2, 0, 1)]
    assert listed.people == ["new user"] and listed.items[0].tolist() == fit[:2]


@pytest.mark.parametrize("block", [2, 256])
def test_scores_of_pairs(server, monkeypatch, block):
    monkeypatch.setattr(recommend, "BLOCK", block)
    found = scores_of(server, ["u1", "u1", "u4"], ["i0", "i5", "i4"])
    np.testing.assert_array_equal(found, SCORES[[1, 1, 4], [0, 5, 4]])
    assert scores_of(server, [], []).shape == (0,)


def test_unknown_ids_are_named(server):
    with pytest.raises(InputError, match="unknown user 'u9'"):
        list(for_users(server, ["u1", "u9"], Wanted(2)))
    for call in (
        lambda: for_history(server, ["x"], Wanted(2)),
        lambda: list(for_users(server, ["u1"], Wanted(2, ["x"]))),
        lambda: list(for_users(server, ["u1"], Wanted(2, exclude=["x"]))),
        lambda: scores_of(server, ["u1"], ["x"]),
    ):
        with pytest.raises(InputError, match="unknown item 'x'"):
            call()
    with pytest.raises(InputError, match="does not score by features alone"):
        for_words(server, "red", 2)


def test_items_are_alike_by_their_users_where_the_model_has_no_vectors(server):
    matrix = np.zeros((USERS, ITEMS))
    matrix[tuple(np.array(ROWS).T)] = 1
    likeness = likeness_of(server)
    items, alike = similar_items(likeness, 1, 5)
    both = matrix.T @ matrix[:, 1]
    expected = both / np.sqrt(np.maximum(matrix.sum(0), 1) * matrix[:, 1].sum())
    assert likeness.method == TOGETHER and sorted(items.tolist()) == [0, 2]  # nobody has item 1 and another
    np.testing.assert_allclose(alike, expected[items], rtol=1e-6)
    assert (np.diff(alike) <= 0).all()


def test_items_are_alike_by_their_vectors(server):
    vectors = np.random.default_rng(1).normal(size=(ITEMS, 3)).astype(np.float32)
    model = server.model._replace(embed=lambda ready, query: (jnp.zeros((len(query.users), 3)), jnp.asarray(vectors)))
    likeness = likeness_of(server._replace(model=model))
    items, alike = similar_items(likeness, 2, 9)
    centred = vectors - vectors.mean(0)
    cosine = centred @ centred[2] / np.linalg.norm(centred, axis=1) / np.linalg.norm(centred[2])
    order = [item for item in np.argsort(-cosine) if item != 2 and cosine[item] > 0]
    assert likeness.method == VECTORS and items.tolist() == order
    np.testing.assert_allclose(alike, cosine[order], rtol=1e-4)
