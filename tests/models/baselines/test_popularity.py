"""Popularity is counting, recent popularity counts with weights, and chance knows nothing."""

import jax
import numpy as np

from ancf_jax.models.baselines.popularity import (
    Config,
    Personal,
    Random,
    Recent,
    make,
    make_personal,
    make_random,
    make_recent,
)

ITEMS = np.array([[4, 0], [1, 1], [8, 2]])


def learn(model, data, seed=0):
    return model.learn.sweep(model.learn.init(jax.random.key(seed), model.given), model.given, jax.random.key(0))


def test_the_score_is_the_number_of_interactions(data, rows, ask):
    model = make(Config(), data)
    params = learn(model, data)
    counts = [sum(row.count(item) for row in rows) for item in range(data.num_items)]
    assert sum(counts) == len(data.train.users)
    users = [0, 3, data.num_users]  # the unknown user too
    np.testing.assert_array_equal(model.score(params, ask(users)), [counts] * 3)
    np.testing.assert_array_equal(model.score(params, ask(users), ITEMS), np.array(counts)[ITEMS])


def test_an_interaction_counts_half_after_each_half_life_of_the_log(data, ask):
    order = np.random.default_rng(1).permutation(100)[: len(data.train.users)].astype(np.int32)  # part of a log
    data = data._replace(train=data.train._replace(order=order))
    model = make_recent(Recent(0.25), data)
    expected = np.zeros(data.num_items)
    for item, place in zip(data.train.items, order, strict=True):
        expected[item] += 0.5 ** ((order.max() - place) / (0.25 * (order.max() + 1)))
    users = [0, 3, data.num_users]
    np.testing.assert_allclose(model.score(learn(model, data), ask(users)), [expected] * 3, rtol=1e-5)


def test_what_the_user_did_often_comes_first_then_what_all_did(data, rows, ask):
    model = make_personal(Personal(), data)
    params, histories = learn(model, data), [[4, 2, 4, 4, 8], []]
    query = ask([0, data.num_users], histories, model.history)
    counts = np.array([sum(row.count(item) for row in rows) for item in range(data.num_items)])
    own = np.array([[history.count(item) for item in range(data.num_items)] for history in histories])
    found = np.asarray(model.score(params, query))
    np.testing.assert_allclose(found, own + counts / (counts.sum() + 1), rtol=1e-6)
    np.testing.assert_array_equal(model.score(params, query, ITEMS[:2]), np.take_along_axis(found, ITEMS[:2], axis=1))
    assert np.argsort(-found[0], kind="stable")[0] == 4 and found.max() == found[0, 4]


def test_chance_depends_on_the_seed_the_user_and_the_item_alone(data, ask):
    model = make_random(Random(), data)
    score, params, other = jax.jit(model.score), learn(model, data), learn(model, data, seed=1)
    scores = np.asarray(score(params, ask([0, 3, data.num_users])))
    assert ((scores >= 0) & (scores < 1)).all() and len(np.unique(scores)) == scores.size
    np.testing.assert_array_equal(score(params, ask([3, 5, 5]))[0], scores[1])
    found = score(params, ask([0, 3, data.num_users]), ITEMS)
    np.testing.assert_array_equal(found, np.take_along_axis(scores, ITEMS, axis=1))
    assert (scores != np.asarray(score(other, ask([0, 3, data.num_users])))).all()
