"""What every recommender must do, whichever it is: one small data set, every model of the registry and more of ANCF.

On the checkerboard, users and items of the same parity go together and the diagonal is withheld, so whoever has
understood ranks every user's withheld item above all items of the other parity (after the tests of implicit). Models
that predict values learn from a board where both parities are rated, the user's own highly.
"""

import math
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.data.interactions import build
from ancf_jax.data.samplers import take_window
from ancf_jax.models import MODELS
from ancf_jax.settings import TrainConfig
from ancf_jax.training.checkpoint import checkpoints, load_best, load_latest, save
from ancf_jax.training.loop import TrainState, fit, init_state, steps_per_epoch
from ancf_jax.training.optimizers import make_optimizer
from ancf_jax.types import ClosedForm, Data, Gradient, Interactions, Query, Recommender

SIZE = 16  # users, and items
SMALL = {
    "factors": 8,
    "hidden": 8,
    "tower_factors": 4,
    "tower": (8, 4),
    "history": 10,
    "window": 8,
    "negatives": 8,
    "targets": 3,
    "stddev": 0.1,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "ancf, ordered without a tower": {"ordered": True, "tower": ()},
    "ancf, ordered with a layer": {"ordered": True, "layers": 1},
    "ancf, order-free with a layer": {"layers": 1, "tied": True},
    "ancf, full softmax": {"loss": "full_softmax"},
    "ancf, scored by a network": {"scorer": 4, "heads": 1, "tower": (), "user": False, "project": False},
    "ancf, no history": {"history": 0},
    "ancf_ratings, ordinal": {"loss": "ordinal"},
    "biased_mf, ordinal": {"loss": "ordinal"},
    "neumf, squared": {"loss": "squared"},
    "gmf, ordinal": {"loss": "ordinal"},
    "autorec, ordinal": {"loss": "ordinal"},
    "content, grouped and recent": {"groups": 4, "half_life": 3.0},
}


@cache
def checkerboard(rated: bool = False) -> Data:
    """Users and the items of their parity; rated: those at 5, and the others at 1."""
    rng = np.random.default_rng(0)
    users, items = np.nonzero(~np.eye(SIZE, dtype=bool) & (rated | (np.indices((SIZE, SIZE)).sum(0) % 2 == 0)))
    values = np.where((users + items) % 2, 1, 5) if rated else np.ones(len(users))
    train = build(users, items, values, rng.permutation(len(users)), SIZE)
    features = np.eye(2)[np.arange(SIZE) % 2] + rng.uniform(0, 0.3, (SIZE, 2))  # the parity, not quite
    return Data(SIZE, SIZE, train, features.astype(np.float32))


@cache
def model_of(name: str) -> Recommender:
    entry = MODELS[name.partition(",")[0]]
    values = SMALL | VARIANTS.get(name, {})
    config = entry.config(**{key: values[key] for key in values if key in entry.config.__dataclass_fields__})
    model = entry.make(config, checkerboard(rated=True))
    return model if model.rates else entry.make(config, checkerboard())


def data_of(name: str) -> Data:
    return checkerboard(model_of(name).rates)


# Enough for each; windows hold many pairs, and too many steps teach by heart which items are withheld.
STEPS = {"ancf": 30, "caser": 60, "hybrid": 30, "mf": 60}
NAMES = [*MODELS, *VARIANTS]
PERSONAL = [name for name in NAMES if name not in ("popularity", "recent", "random", "global_mean", "item_mean")]
GRADIENT = [name for name in NAMES if isinstance(model_of(name).learn, Gradient)]
EMBEDS = [name for name in NAMES if model_of(name).embed is not None]
ATTENDS = [name for name in NAMES if model_of(name).attend is not None]


class Trained(NamedTuple):
    """A model after its steps of Adam, or its sweeps, and its functions compiled."""

    model: Recommender
    state: TrainState
    ready: Any
    score: Any


@cache
def trained(name: str) -> Trained:
    model, data = model_of(name), data_of(name)
    steps = steps_per_epoch(model.learn, 16)
    wanted = STEPS.get(name.partition(",")[0], 140)
    epochs = model.learn.sweeps if isinstance(model.learn, ClosedForm) else math.ceil(wanted / steps)
    config = TrainConfig(epochs=epochs, batch_size=16, learning_rate=0.03, eval_every=epochs)
    tx, states = make_optimizer(config, steps * epochs), []
    fit(
        model,
        data.train,
        config,
        init_state(model, tx, config.seed),
        tx,
        validate=None,
        save=lambda epoch, state, value: states.append(state),
        report=lambda record: None,
    )
    return Trained(model, states[-1], jax.jit(model.prepare)(states[-1].params), jax.jit(model.score))


def query_of(name: str, users=range(SIZE)) -> Query:
    """Users with their histories; SIZE is the unknown user, with nothing known."""
    train = data_of(name).train
    items, values = take_window(train, np.arange(SIZE), train.offsets[1:], model_of(name).history, SIZE)
    items = np.concatenate([items, np.full_like(items[:1], SIZE)])
    values = np.concatenate([values, np.zeros_like(values[:1])])
    users = np.array(users, np.int32)
    return Query(jnp.asarray(users), jnp.asarray(items[users]), jnp.asarray(values[users]))


def scores_of(name: str) -> np.ndarray:
    return np.asarray(trained(name).score(trained(name).ready, query_of(name)))


@pytest.mark.parametrize("name", PERSONAL)
def test_the_withheld_item_is_ranked_above_the_other_parity(name):
    scores = scores_of(name)
    for user in range(SIZE):
        other_parity = range(1 - user % 2, SIZE, 2)
        assert all(scores[user, user] > scores[user, item] for item in other_parity), f"user {user}"


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_finite(name):
    scores = scores_of(name)
    assert scores.shape == (SIZE, SIZE) and scores.dtype == np.float32
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_is_a_loop_over_users(name):
    model, scores = trained(name), scores_of(name)
    for user in (0, 3, SIZE - 1):
        alone = model.score(model.ready, query_of(name, [user]))
        np.testing.assert_allclose(alone, scores[[user]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_given_items_have_the_scores_of_their_columns(name):
    model, scores = trained(name), scores_of(name)
    items = np.random.default_rng(1).integers(0, SIZE, (SIZE, 5)).astype(np.int32)
    found = model.score(model.ready, query_of(name), jnp.asarray(items))
    np.testing.assert_allclose(found, np.take_along_axis(scores, items, axis=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_compiled_and_interpreted_scores_agree(name):
    model = trained(name)
    found = model.model.score(model.model.prepare(model.state.params, model.model.given), query_of(name))
    np.testing.assert_allclose(found, scores_of(name), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_gives_back_every_bit(name, tmp_path):
    model = trained(name)
    with checkpoints(tmp_path) as opened:
        save(opened, model.state, 0.5)
    with checkpoints(tmp_path) as opened:
        state = load_latest(opened, jax.tree.map(jnp.zeros_like, model.state))
    epoch, params = load_best(tmp_path, jax.eval_shape(model.model.learn.init, jax.random.key(0), model.model.given))
    assert epoch == state.epoch == model.state.epoch
    for loaded, saved in ((state, model.state), (params, model.state.params)):
        assert jax.tree.structure(loaded) == jax.tree.structure(saved)
        for leaf, expected in zip(jax.tree.leaves(loaded), jax.tree.leaves(saved), strict=True):
            assert leaf.dtype == expected.dtype
            np.testing.assert_array_equal(leaf, expected)
    again = model.score(jax.jit(model.model.prepare)(params, model.model.given), query_of(name))
    np.testing.assert_array_equal(again, scores_of(name))


@pytest.mark.parametrize("name", EMBEDS)
def test_embeddings_give_the_score_as_an_inner_product(name):
    model = trained(name)
    users, items = model.model.embed(model.ready, query_of(name))
    assert len(users) == len(items) == SIZE
    np.testing.assert_allclose(users @ items.T, scores_of(name), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ATTENDS)
def test_attention_is_a_distribution_over_the_history(name):
    model, items = trained(name), np.arange(SIZE * 3).reshape(SIZE, 3) % SIZE
    query = query_of(name)
    weights = np.asarray(jax.jit(model.model.attend)(model.ready, query, jnp.asarray(items)))
    heads = weights.shape[2]
    assert weights.shape == (SIZE, 3, heads, model.model.history) and heads in (1, 2)
    assert (weights >= 0).all()
    padding = np.broadcast_to((query.history == SIZE)[:, None, None], weights.shape)
    assert padding.any() and not weights[padding].any()
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
    nothing = query._replace(history=jnp.full_like(query.history, SIZE))
    assert not np.asarray(jax.jit(model.model.attend)(model.ready, nothing, jnp.asarray(items))).any()


@pytest.mark.parametrize("name", GRADIENT)
def test_padding_rows_stay_zero_while_the_others_learn(name):
    before = jax.eval_shape(model_of(name).learn.init, jax.random.key(0), model_of(name).given)["tables"]
    tables = trained(name).state.params["tables"]
    assert tables.keys() == before.keys()
    for key, table in tables.items():
        assert table.shape[0] == SIZE + 1 and table.shape == before[key].shape
        np.testing.assert_array_equal(table[-1], 0, err_msg=key)
        assert np.asarray(table[:-1]).any(axis=1).all(), key


@pytest.mark.parametrize("name", [name for name in GRADIENT if model_of(name).learn.streams])
def test_models_that_stream_sample_from_any_part_of_the_rows(name):
    train = data_of(name).train._replace(offsets=np.zeros(SIZE + 1, np.int32), known=np.zeros(1, np.int32))
    rows = np.random.default_rng(0).permutation(len(train.users))[:10]
    part = Interactions(*(np.asarray(column)[rows] for column in train[:4]), *train[4:])
    sample, key = model_of(name).learn.sample, jax.random.key(0)
    found, expected = sample(key, part, np.arange(10)), sample(key, train, rows)
    for leaf, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(leaf, other)


@pytest.mark.parametrize("name", NAMES)
def test_unknown_users_are_scored_by_their_history(name):
    model, query = trained(name), query_of(name, [SIZE, SIZE, SIZE])
    known = query_of(name, [0, 1, SIZE])
    scores = model.score(model.ready, query._replace(history=known.history, values=known.values))
    assert scores.shape == (3, SIZE) and np.isfinite(scores).all()
    differ = [bool((scores[a] != scores[b]).any()) for a, b in ((0, 1), (0, 2))]
    assert differ == [model.model.history > 0] * 2
