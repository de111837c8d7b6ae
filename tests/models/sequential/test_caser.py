"""Caser against convolutions in plain loops."""

import jax
import numpy as np
import pytest

from ancf_jax.models.sequential.caser import Batch, Config, make

CONFIG = Config(factors=3, history=4, targets=2, horizontal=2, vertical=3, dropout=0.0, negatives=2, l2=0.1)


@pytest.fixture(scope="module")
def made(data, randomise):
    model = make(CONFIG, data)
    return model, randomise(model)


def state_of(params, user, history):
    """[z, p_u] by the equations of the paper, one filter and one place at a time."""
    tables, net = params["tables"], params["net"]
    image, found = tables["item"][history], []
    for height in range(1, 5):
        filters = net[f"horizontal_kernel_{height}"].reshape(height, 3, 2)
        for k in range(2):
            places = [np.sum(image[top : top + height] * filters[:, :, k]) for top in range(4 - height + 1)]
            found.append(max(0.0, max(places) + net["horizontal_bias"][2 * height - 2 + k]))
    for k in range(3):
        found += sum(net["vertical_kernel"][row, k] * image[row] for row in range(4)).tolist()
    z = np.maximum(np.array(found) @ net["join"]["kernel"] + net["join"]["bias"], 0)
    return np.concatenate([z, tables["user"][user]])


def test_scores_are_the_papers(made, data, ask):
    """Also of a history that is shorter than the image, and of the unknown user, who has no part in the score."""
    model, params = made
    users, histories = [0, 3, data.num_users], [[4, 0, 7, 1], [2, 8], [5, 5, 6, 0]]
    query, tables = ask(users, histories, 4), params["tables"]
    assert not tables["user"][-1].any()
    states = np.array([state_of(params, user, past) for user, past in zip(users, query.history, strict=True)])
    expected = states @ tables["item_output"][:9].T + tables["item_bias"][:9, 0]
    found = jax.jit(lambda params, query: model.score(model.prepare(params, model.given), query))(params, query)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_loss_is_binary_cross_entropy_of_all_targets(made):
    """The second image has one target only."""
    model, params = made
    users, history = np.array([1, 4]), np.array([[9, 3, 2, 6], [1, 4, 0, 7]])
    items = np.array([[[5, 1, 8], [7, 3, 3]], [[2, 6, 0], [9, 4, 4]]])
    total, tables = 0.0, params["tables"]
    for row, target in ((0, 0), (0, 1), (1, 0)):
        drawn = items[row, target]
        scores = tables["item_output"][drawn] @ state_of(params, users[row], history[row])
        scores += tables["item_bias"][drawn, 0]
        total += np.logaddexp(0, -scores[0]) + np.logaddexp(0, scores[1:]).sum()
        total += 0.1 * (np.sum(tables["user"][users[row]] ** 2) + np.sum(tables["item_output"][drawn] ** 2))
    _, sums = jax.jit(model.learn.loss)(params, model.given, Batch(users, history, items), jax.random.key(0))
    np.testing.assert_allclose((sums["loss"], sums["count"]), (total, 3), rtol=1e-4)


def test_samples_are_what_came_before_and_after_each_interaction(data, rows, made):
    model, _ = made
    batch = jax.jit(model.learn.sample)(jax.random.key(1), model.given, np.arange(model.learn.rows))
    place = 0
    for user, row in enumerate(rows):
        for n in range(len(row)):
            assert batch.users[place] == user
            assert batch.history[place].tolist() == ([9] * 4 + row[:n])[-4:]
            assert batch.items[place, :, 0].tolist() == [*row[n : n + 2], 9][:2]
            place += 1
    assert place == model.learn.rows
