"""ANCF's predictions of values: against one pair after another in NumPy, and what a prediction may have seen."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.config import from_json
from ancf_jax.data.interactions import build
from ancf_jax.models import ancf
from ancf_jax.models.ancf_ratings import DAMPING, item_means, rows_of_windows
from ancf_jax.types import Data, InputError, Query

USERS, ITEMS, LENGTH = 4, 7, 5
CONFIG = ancf.Config(
    loss="squared", factors=4, heads=2, history=LENGTH, tower=(5, 3), tower_factors=3, smoothing=0.7, stddev=0.1
)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    rows = [rng.permutation(ITEMS)[:count] for count in (5, 3, 1, 4)]
    users = np.repeat(np.arange(USERS), [len(row) for row in rows])
    values = rng.integers(1, 6, len(users)).astype(float)
    return Data(USERS, ITEMS, build(users, np.concatenate(rows), values, np.arange(len(users)), USERS))


def query_of(users, items, values) -> Query:
    return Query(np.asarray(users, np.int32), np.asarray(items, np.int32), np.asarray(values, np.float32))


def padded(items, values):
    count = LENGTH - len(items)
    return [ITEMS] * count + list(items), [0.0] * count + list(values)


def reference(params, data, user, history, values, item, personal) -> float:
    """The prediction of one pair by the equations of the module, in float64."""
    tables, net, heads = params["tables"], params["net"]["rating"], CONFIG.heads
    mean, scale = data.train.values.mean(), data.train.values.std()
    usual = item_means(data)
    z = np.array([(v - usual[j]) / scale for j, v in zip(history, values, strict=True)])
    deviation = z.sum() / (len(z) + DAMPING)
    q = tables["item"][item].astype(np.float64)
    query = (q @ net["query"]["kernel"]).reshape(heads, -1)
    attended, found = np.zeros((heads, CONFIG.factors // heads)), np.zeros(heads)
    for n in range(heads):
        total, above, gap = np.exp(net["nothing"][n]), np.zeros(CONFIG.factors // heads), 0.0
        for j, deviated in zip(history, z, strict=True):
            past = tables["item_history"][j].astype(np.float64)
            key = (past @ net["key"]["kernel"]).reshape(heads, -1)[n]
            value = past if personal else past + deviated * tables["item_valued"][j]
            weight = np.exp(query[n] @ key / np.sqrt(len(key)))
            total, above = total + weight, above + weight * value.reshape(heads, -1)[n]
            gap += weight * (deviated - deviation)
        attended[n], found[n] = above / total**CONFIG.smoothing, gap / total**CONFIG.smoothing
    c = attended.ravel()
    tower = [*([tables["user_tower"][user]] if personal else []), tables["item_tower"][item], c]
    hidden = sum(x @ net["mlp"][f"input_{k}"]["kernel"] for k, x in enumerate(tower)) + net["mlp"]["input_0"]["bias"]
    last = net["mlp"]["layer_1"]
    hidden = np.maximum(np.maximum(hidden, 0) @ last["kernel"] + last["bias"], 0)
    score = tables["user_bias"][user, 0] + tables["item_bias"][item, 0] + net["bias"] + c @ q + hidden @ net["hidden"]
    score += tables["user"][user] @ q if personal else net["deviation"] * deviation + found @ net["trust"]
    return mean + scale * score


@pytest.mark.parametrize("personal", [True, False])
def test_predictions_are_those_of_the_equations(data, randomise, personal):
    model = ancf.make(dataclasses.replace(CONFIG, user=personal), data)
    params = randomise(model)
    histories = [([3, 0, 6], [5.0, 1.0, 3.0]), ([], []), ([1, 2, 4, 5, 0], [4.0, 2.0, 2.0, 5.0, 1.0])]
    rows = [padded(*history) for history in histories]
    users = [1, 3, USERS]  # the last is nobody in training
    query = query_of(users, [row[0] for row in rows], [row[1] for row in rows])
    found = jax.jit(lambda params: model.score(model.prepare(params), query))(params)
    expected = [
        [reference(params, data, user, *history, item, personal) for item in range(ITEMS)]
        for user, history in zip(users, histories, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("loss", "personal"), [("squared", True), ("squared", False), ("ordinal", False)])
def test_training_predicts_as_scoring_does_after_what_is_left(data, randomise, loss, personal):
    """The loss of a batch is that of scoring each target after a history without it, or without all targets."""
    model = ancf.make(dataclasses.replace(CONFIG, loss=loss, user=personal, targets=2), data)
    params = randomise(model)
    rows = model.learn.rows

    @jax.jit
    def drawn(params):
        batch = model.learn.sample(jax.random.key(0), data.train, jnp.arange(rows))
        return batch, model.learn.loss(params, batch, jax.random.key(1))

    batch, (mean, sums) = drawn(params)
    rating = {(user, item): value for user, item, value in zip(*data.train[:3], strict=True)}
    users, items, values, targets = [], [], [], []
    for user, row, asked in zip(*map(np.asarray, (batch.users, batch.history, batch.targets)), strict=True):
        assert personal or not set(asked[asked < ITEMS]) & set(row)
        for target in asked[asked < ITEMS]:
            left = [item for item in row if item < ITEMS and item != target]
            past = padded(left, [rating[user, item] for item in left])
            users, items, values, targets = [*users, user], [*items, past[0]], [*values, past[1]], [*targets, target]
    observed = np.array([rating[pair] for pair in zip(users, targets, strict=True)])
    query, wanted = query_of(users, items, values), jnp.asarray(targets, jnp.int32)[:, None]
    found = np.asarray(jax.jit(lambda params: model.score(model.prepare(params), query, wanted))(params))[:, 0]
    assert int(sums["count"]) == len(observed) >= rows
    if loss == "squared":
        assert float(mean) == pytest.approx(np.mean((found - observed) ** 2) / data.train.values.var(), rel=1e-4)
    else:
        assert np.all((found > data.train.values.min()) & (found < data.train.values.max()))
        assert np.isfinite(float(mean))


def test_rows_ask_for_all_that_a_window_holds(data):
    users, ends = rows_of_windows(data, LENGTH, 2)
    assert users.tolist() == [0, 0, 0, 1, 1, 2, 3, 3]  # of 5, 3, 1 and 4 interactions
    assert ends.tolist() == [5, 5, 5, 8, 8, 9, 13, 13]


def test_attention_shows_the_history_and_leaves_room_for_nothing(data, randomise):
    model = ancf.make(dataclasses.replace(CONFIG, smoothing=1.0), data)
    params = randomise(model)
    items, values = padded([3, 0, 6], [5.0, 1.0, 3.0])
    query = query_of([1], [items], [values])
    attend = jax.jit(lambda params: model.attend(model.prepare(params), query, jnp.asarray([[2, 5]])))
    weights = np.asarray(attend(params))
    assert weights.shape == (1, 2, CONFIG.heads, LENGTH)
    np.testing.assert_array_equal(weights[..., :2], 0)
    assert np.all((weights.sum(-1) > 0) & (weights.sum(-1) < 1))


def test_an_untrained_model_starts_at_the_items_means(data):
    model = ancf.make(dataclasses.replace(CONFIG, stddev=0.0), data)
    items, values = padded([], [])

    @jax.jit
    def scores():
        params = model.learn.init(jax.random.key(0))
        params["net"]["rating"]["hidden"] *= 0
        return model.score(model.prepare(params), query_of([USERS], [items], [values]))

    found = scores()
    np.testing.assert_allclose(found[0], item_means(data)[:-1], rtol=1e-5)


@pytest.mark.parametrize("other", [{"ordered": True}, {"layers": 1}, {"scorer": 3}, {"history": 0}])
def test_what_ratings_do_not_go_with(other):
    with pytest.raises(InputError, match="--loss: squared needs a history; legal with it are"):
        from_json(ancf.Config, {"loss": "squared", **other})
