"""What every recommender must do, whichever it is: learn, score, attend and be kept as types.py says."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.contract.board import SIZE, Case
from ancf_jax.nn.removal import leave_one_out
from ancf_jax.training.checkpoint import load_latest, save
from ancf_jax.types import Gradient, Interactions, Query, shapes_of


@pytest.mark.able("personal")
def test_the_withheld_item_is_ranked_above_the_other_parity(case: Case) -> None:
    for user in range(SIZE):
        other_parity = range(1 - user % 2, SIZE, 2)
        assert all(case.scores[user, user] > case.scores[user, item] for item in other_parity), f"user {user}"


def test_scores_are_finite(case: Case) -> None:
    assert case.scores.shape == (SIZE, SIZE) and case.scores.dtype == np.float32
    assert np.isfinite(case.scores).all()


def test_a_batch_is_a_loop_over_users(case: Case) -> None:
    for user in (0, 3, SIZE - 1):
        alone = case.trained.score(case.trained.ready, case.ask([user]))
        np.testing.assert_allclose(alone, case.scores[[user]], rtol=1e-4, atol=1e-5)


def test_given_items_have_the_scores_of_their_columns(case: Case) -> None:
    items = np.random.default_rng(1).integers(0, SIZE, (SIZE, 5)).astype(np.int32)
    found = case.trained.score(case.trained.ready, case.ask(), items)
    np.testing.assert_allclose(found, np.take_along_axis(case.scores, items, axis=1), rtol=1e-4, atol=1e-5)


@pytest.mark.able("takes narrow histories")
def test_a_history_may_come_without_its_padding(case: Case) -> None:
    query = case.ask()
    longest = int((query.history < SIZE).sum(axis=1).max(initial=0))
    history, values = (part[:, part.shape[1] - longest :] for part in (query.history, query.values))
    found = case.trained.score(case.trained.ready, Query(query.users, history, values))
    np.testing.assert_allclose(found, case.scores, rtol=1e-4, atol=1e-5)


@pytest.mark.able("has rows of different lengths")
def test_what_a_batch_leaves_away_is_padding(case: Case) -> None:
    learn, given = case.model.learn, case.model.given
    assert isinstance(learn, Gradient) and learn.lengths is not None and learn.narrow is not None
    assert learn.lengths.shape == (learn.rows,)
    assert learn.lengths.min() >= 1 and learn.lengths.max() <= case.model.history
    rows = jnp.asarray(np.argsort(learn.lengths, kind="stable")[:4])
    sample = jax.jit(learn.sample)
    for key in jax.random.split(jax.random.key(0), 3):
        batch = sample(key, given, rows)
        width = int(learn.lengths[rows].max())
        narrow = learn.narrow(batch, width)
        np.testing.assert_array_equal(narrow.history, batch.history[:, -width:])
        assert (np.asarray(batch.history[:, :-width]) == SIZE).all()


@pytest.mark.able("is no variant")
def test_a_checkpoint_gives_back_every_bit(case: Case, tmp_path: Path) -> None:
    kept = case.trained.state
    save(tmp_path, kept, 0.5)
    latest = load_latest(tmp_path, jax.tree.map(np.zeros_like, kept))
    assert latest is not None and latest[0].epoch == kept.epoch
    assert jax.tree.structure(latest[0]) == jax.tree.structure(kept)  # type: ignore[operator]
    for leaf, expected in zip(jax.tree.leaves(latest[0]), jax.tree.leaves(kept), strict=True):
        assert leaf.dtype == expected.dtype
        np.testing.assert_array_equal(leaf, expected)
    ready = case.trained.prepare(latest[0].params, case.model.given)
    np.testing.assert_array_equal(case.trained.score(ready, case.ask()), case.scores)


@pytest.mark.able("embeds")
def test_embeddings_give_the_score_as_an_inner_product(case: Case) -> None:
    assert case.model.embed is not None
    users, items = jax.jit(case.model.embed)(case.trained.ready, case.ask())
    assert len(users) == len(items) == SIZE
    np.testing.assert_allclose(np.asarray(users) @ np.asarray(items).T, case.scores, rtol=1e-4, atol=1e-5)


@pytest.mark.able("attends")
def test_attention_is_a_distribution_over_the_history(case: Case) -> None:
    assert case.model.attend is not None
    attend, query = jax.jit(case.model.attend), case.ask()
    items = np.arange(SIZE * 3, dtype=np.int32).reshape(SIZE, 3) % SIZE
    weights = np.asarray(attend(case.trained.ready, query, items))
    users, candidates, heads, length = weights.shape
    assert (users, candidates, length) == (SIZE, 3, case.model.history) and heads >= 1
    assert (weights >= 0).all()
    padding = np.broadcast_to((np.asarray(query.history) == SIZE)[:, None, None], weights.shape)
    assert padding.any() and not weights[padding].any()
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
    nothing = query._replace(history=jax.device_put(np.full_like(query.history, SIZE)))
    assert not np.asarray(attend(case.trained.ready, nothing, items)).any()


@pytest.mark.able("contributes")
def test_contributions_are_of_the_history_and_sum_to_the_score_if_they_say_so(case: Case) -> None:
    assert case.model.contribute is not None
    query, items = (
        case.ask()._replace(users=case.ask([SIZE] * SIZE).users),
        np.tile(np.array([0, 7], np.int32), (SIZE, 1)),
    )
    found = np.asarray(jax.jit(case.model.contribute)(case.trained.ready, query, items))
    assert found.shape == (SIZE, 2, case.model.history) and found.any() and np.isfinite(found).all()
    assert not found[np.broadcast_to((np.asarray(query.history) == SIZE)[:, None], found.shape)].any()
    if case.model.additive:
        nothing = case.ask([SIZE] * SIZE)
        of_history, without = (case.trained.score(case.trained.ready, asked)[:, [0, 7]] for asked in (query, nothing))
        np.testing.assert_allclose(found.sum(-1), of_history - without, rtol=1e-4, atol=1e-5)


@pytest.mark.able("knows its falls")
def test_falls_are_those_of_asking_again(case: Case) -> None:
    asked = jax.tree.map(jnp.asarray, case.ask()._replace(users=case.ask([SIZE] * SIZE).users))
    items = np.tile(np.array([0, 7], np.int32), (SIZE, 1))
    known, slow = (
        jax.jit(partial(leave_one_out, model, SIZE))(case.trained.ready, asked, items)
        for model in (case.model, case.model._replace(falls=None))
    )
    assert np.asarray(known).any()
    np.testing.assert_allclose(known, slow, rtol=1e-3, atol=1e-4)


@pytest.mark.able("learns by gradient")
def test_padding_rows_stay_zero_while_the_others_learn(case: Case) -> None:
    before, tables = shapes_of(case.model)["tables"], case.trained.state.params["tables"]
    assert tables.keys() == before.keys()
    for key, table in tables.items():
        assert table.shape[0] == SIZE + 1 and table.shape == before[key].shape
        np.testing.assert_array_equal(table[-1], 0, err_msg=key)
        assert np.asarray(table[:-1]).any(axis=1).all(), key


@pytest.mark.able("streams")
def test_models_that_stream_sample_from_any_part_of_the_rows(case: Case) -> None:
    """`sample` reads the first four columns of the log and the knowledge that it is given, and no more."""
    train = case.data.train._replace(offsets=np.zeros(SIZE + 1, np.int32), known=np.zeros(1, np.int32))
    rows = np.random.default_rng(0).permutation(len(train.users))[:10]
    users, items, values, order = (np.asarray(column)[rows] for column in train[:4])
    part = Interactions(users, items, values, order, train.offsets, train.known)
    sample, key, given = case.model.learn.sample, jax.random.key(0), case.model.given  # type: ignore[union-attr]
    sampled = jax.jit(lambda train, rows: sample(key, given._replace(train=train), rows))
    found, expected = sampled(part, np.arange(10)), sampled(train, rows)
    for leaf, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(leaf, other)


def test_what_is_said_of_the_order_is_so(case: Case) -> None:
    """The same interactions the other way round; the place of padding stays."""
    query = case.ask()
    columns = np.arange(query.history.shape[1])
    count = (np.asarray(query.history) < SIZE).sum(1, keepdims=True)
    turned = np.where(columns < len(columns) - count, columns, 2 * len(columns) - 1 - count - columns)
    history, values = (np.take_along_axis(np.asarray(part), turned, axis=1) for part in query[1:])
    scores = np.asarray(case.trained.score(case.trained.ready, Query(query.users, *jax.device_put((history, values)))))
    alike = np.allclose(scores, case.scores, rtol=1e-3, atol=1e-4)
    assert alike == (case.model.order != "yes" or not case.model.history or case.model.alone)


def test_unknown_users_are_scored_by_their_history(case: Case) -> None:
    known = case.ask([0, 1, SIZE, *range(3, SIZE)])
    query = known._replace(users=case.ask([SIZE] * SIZE).users)
    scores = np.asarray(case.trained.score(case.trained.ready, query))
    assert scores.shape == (SIZE, SIZE) and np.isfinite(scores).all()
    differ = [bool((scores[a] != scores[b]).any()) for a, b in ((0, 1), (0, 2))]
    assert differ == [case.model.history > 0] * 2
