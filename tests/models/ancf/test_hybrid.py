"""The hybrid against ANCF and NumPy: what a row, a feature and a history may change, and what they may not."""

import dataclasses
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from ancf_jax.config import from_before, from_json, settings_of, to_json
from ancf_jax.data.interactions import build
from ancf_jax.devices import memory
from ancf_jax.models.ancf import ancf
from ancf_jax.models.ancf.hybrid import Config, make
from ancf_jax.models.baselines import content
from ancf_jax.types import InputError

TRAINED, ITEMS = 9, 12  # items 9, 10 and 11 are in no training row; 9 and 10 have the same features
HISTORIES = [[8, 1, 4, 2], [5, 0], [8, 1, 4, 2], [], [3, 10]]
QUICK = {"xla_backend_optimization_level": 0}  # compiling takes longer than running


@pytest.fixture(scope="module")
def described(data):
    features = np.random.default_rng(2).normal(size=(ITEMS, 3)).astype(np.float32)
    features[10] = features[9]
    return data._replace(num_items=ITEMS, features=features)


@cache
def config_of(**fields):
    return from_json(Config, {"factors": 4, "tower": (), "history": 4, "negatives": 20, "targets": 2} | fields)


@pytest.fixture(scope="module")
def plain(described):
    """The model without a tower, its scores compiled, and parameters."""
    model = make(config_of(), described)
    return model, jax.jit(
        lambda params, query: model.score(model.prepare(params, model.given), query), compiler_options=QUICK
    )


@pytest.fixture(scope="module")
def query(ask, data):
    """Two users, two new ones, and one who has chosen an item that is new."""
    return ask([0, 3, data.num_users, data.num_users, 1], HISTORIES, 4, ITEMS)


def batch_of(model):
    rows = np.arange(6, dtype=np.int32) % model.learn.rows
    return jax.jit(model.learn.sample, compiler_options=QUICK)(jax.random.key(3), model.given, rows)


def changed(params, part, name, change):
    return {**params, part: {**params[part], name: change(params[part][name])}}


def test_without_projections_it_is_ancf(described, randomise, query):
    config = config_of(id_dropout=0.0, tower=(5,), tower_factors=2)
    model, base = make(config, described), ancf.make(config.ancf, described)
    params = changed(randomise(model), "net", "feature_kernels", partial(jax.tree.map, np.zeros_like))
    batch, key = batch_of(model), jax.random.key(4)

    @partial(jax.jit, compiler_options=QUICK)
    def results(params):
        return [
            (m.score(m.prepare(params, m.given), query), m.learn.loss(params, m.given, batch, key)[0])
            for m in (model, base)
        ]

    (found, loss), (expected, other) = results(params)
    np.testing.assert_allclose(found[:-1, :TRAINED], expected[:-1, :TRAINED], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(loss, other, rtol=1e-6)
    assert np.abs(found - expected)[:, TRAINED:].max() > 0.01  # new items have no rows to be scored by


def test_new_items_are_scored_by_their_features_alone(plain, described, randomise, query):
    _, score = plain
    params = randomise(plain[0])
    found = np.asarray(score(params, query))
    np.testing.assert_array_equal(found[:, 9], found[:, 10])
    assert (np.abs(found[:, 9] - found[:, 11]) > 1e-3).all()
    for name in ("item", "item_history", "item_bias"):
        other = changed(params, "tables", name, lambda rows: np.where(np.arange(ITEMS + 1)[:, None] < 9, rows, 7.0))
        np.testing.assert_array_equal(score(other, query), found)


def test_the_vector_of_a_user_is_the_row_and_the_mean_of_the_history(plain, described, randomise, query):
    """NumPy: what the row, and then the features, add to the scores of who has neither."""
    _, score = plain
    params = randomise(plain[0])
    net, tables, features = params["net"], params["tables"], described.features
    rowless = score(changed(params, "tables", "user", np.zeros_like), query)
    kernels = changed(net, "feature_kernels", "user", np.zeros_like)["feature_kernels"]
    neither = score(
        {"tables": {**tables, "user": np.zeros_like(tables["user"])}, "net": net | {"feature_kernels": kernels}}, query
    )
    item = features @ net["feature_kernels"]["item"]
    item[:TRAINED] += tables["item"][:TRAINED]
    past = np.array([features[row].mean(axis=0) if row else np.zeros(3) for row in HISTORIES])
    direction = net["product"] * item
    np.testing.assert_allclose(
        score(params, query) - rowless, tables["user"][query.users] @ direction.T, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        rowless - neither, past @ net["feature_kernels"]["user"] @ direction.T, rtol=1e-4, atol=1e-5
    )
    new = score(params, query)[2:4]
    assert np.isfinite(new).all() and np.abs(new[0] - new[1]).max() > 0.01


@pytest.fixture(scope="module")
def peopled(described):
    """The same, with features of users and one more user, who has no training row."""
    train = build(*described.train[:4], described.num_users + 1)
    features = np.random.default_rng(3).normal(size=(described.num_users + 1, 2)).astype(np.float32)
    return described._replace(num_users=described.num_users + 1, train=train, user_features=features)


def test_the_features_of_users_are_added_and_do_without_a_history(peopled, randomise, ask):
    """NumPy: what their projections add to the scores of a known, a new and an unknown user."""
    new, unknown = peopled.num_users - 1, peopled.num_users
    model = make(config_of(), peopled)
    params, query = randomise(model), ask([0, new, new, unknown], [[8, 1], [8, 1], [], []], 4, ITEMS)
    score = jax.jit(lambda params: model.score(model.prepare(params, model.given), query), compiler_options=QUICK)
    found, net = np.asarray(score(params)), params["net"]
    item = peopled.features @ net["feature_kernels"]["item"]
    item[:TRAINED] += params["tables"]["item"][:TRAINED]
    own = np.vstack([peopled.user_features, np.zeros(2)])[query.users] @ net["user_feature_kernels"]["user"]
    without = score(changed(params, "net", "user_feature_kernels", partial(jax.tree.map, np.zeros_like)))
    np.testing.assert_allclose(found - without, own @ (net["product"] * item).T, rtol=1e-4, atol=1e-5)
    assert np.abs(found[2] - found[3]).max() > 0.01  # neither has a history or a row, one has features
    rows = np.arange(new + 2)[:, None]
    other = changed(params, "tables", "user", lambda table: np.where(rows == new, 7.0, table).astype(np.float32))
    np.testing.assert_array_equal(score(other), found)


def test_features_of_users_that_project_to_nothing_change_nothing(peopled, randomise, ask):
    config = config_of(id_dropout=0.3)
    model, plain = make(config, peopled), make(config, peopled._replace(user_features=None))
    params = changed(randomise(model), "net", "user_feature_kernels", partial(jax.tree.map, np.zeros_like))
    less = {**params, "net": {name: part for name, part in params["net"].items() if name != "user_feature_kernels"}}
    batch, query = batch_of(model), ask([0, 3], [[8, 1], []], 4, ITEMS)

    @partial(jax.jit, compiler_options=QUICK)
    def results(params, less):
        key = jax.random.key(5)
        loss, gradient = jax.value_and_grad(lambda params: model.learn.loss(params, model.given, batch, key)[0])(params)
        losses = [loss, plain.learn.loss(less, plain.given, batch, key)[0]]
        scores = [m.score(m.prepare(p, m.given), query) for m, p in ((model, params), (plain, less))]
        return losses, scores, gradient["net"]["user_feature_kernels"]

    losses, scores, gradient = results(params, less)
    np.testing.assert_allclose(*losses, rtol=1e-6)
    np.testing.assert_allclose(*scores, rtol=1e-6)
    assert np.asarray(gradient["user"]).all()
    shapes = [jax.eval_shape(m.learn.init, jax.random.key(0), m.given)["net"] for m in (model, plain)]
    assert shapes[0].keys() - shapes[1].keys() == {"user_feature_kernels"} and shapes[1].keys() == less["net"].keys()


@pytest.mark.parametrize("id_dropout", [0.0, 1.0])
def test_gradients_reach_the_rows_of_trained_items_alone(id_dropout, described, randomise):
    model = make(config_of(id_dropout=id_dropout), described)
    batch = batch_of(model)
    batch = jax.device_get(batch)
    new = batch.negatives >= TRAINED
    assert new.any() and batch.absent[new].all() and not batch.absent[~new].all()
    batch = batch._replace(absent=np.zeros_like(batch.absent))  # and even if they were drawn
    gradient = jax.jit(
        jax.grad(lambda params: model.learn.loss(params, model.given, batch, jax.random.key(0))[0]),
        compiler_options=QUICK,
    )(randomise(model))
    for name in ("item", "item_history", "item_bias"):
        reached = np.asarray(gradient["tables"][name]).any(axis=1)
        assert not reached[TRAINED:].any() and reached.any() == (id_dropout == 0), name
    assert all(np.asarray(kernel).any() for kernel in gradient["net"]["feature_kernels"].values())


def test_an_ordered_target_sees_nothing_of_what_comes_later(described, randomise):
    model = make(config_of(ordered=True, id_dropout=0.0), described)
    params, batch = randomise(model), batch_of(model)
    history = np.array([[3, 5, 0, 7]] * 6, np.int32)

    @partial(jax.jit, compiler_options=QUICK)
    def loss(params, history, place):
        targets = jnp.where(jnp.arange(4) == place, 1, ITEMS)
        given = batch._replace(history=history, targets=jnp.broadcast_to(targets, (6, 4)))
        return model.learn.loss(params, model.given, given, jax.random.key(0))[0]

    for column in range(1, 4):
        later, own = loss(params, history, column - 1), loss(params, history, column)
        other = np.where(np.arange(4) == column, 8, history)
        np.testing.assert_allclose(loss(params, other, column - 1), later, rtol=1e-6)
        assert abs(loss(params, other, column) - own) > 1e-4


def test_without_features_the_flags_are_named(data):
    with pytest.raises(InputError, match=r"--model=hybrid: needs item features; .*--item_text.*--item_vectors"):
        make(config_of(), data)


def test_the_term_of_content_is_the_weighted_cosine(described, randomise, query):
    """NumPy: what it adds to the scores; alone and untrained it is content's score, but for the factor."""
    model = make(config_of(content_weight=2.0), described)

    @partial(jax.jit, compiler_options=QUICK)
    def score(params, items=None):
        return model.score(model.prepare(params, model.given), query, items)

    params, fresh = randomise(model), jax.jit(model.learn.init, compiler_options=QUICK)(jax.random.key(0), model.given)
    unit = described.features / np.linalg.norm(described.features, axis=1, keepdims=True)
    past = np.array([unit[row].sum(axis=0) if row else np.zeros(3) for row in HISTORIES])
    past /= np.maximum(np.linalg.norm(past, axis=1, keepdims=True), 1e-9)
    without = score(changed(params, "net", "content", np.zeros_like))
    expected = (past * params["net"]["content"]) @ unit.T
    np.testing.assert_allclose(score(params) - without, expected, rtol=1e-4, atol=1e-5)
    for few in (1, 4):  # of the users' candidates there are fewer than items, or more
        items = np.random.default_rng(0).integers(0, ITEMS, (len(HISTORIES), few))
        np.testing.assert_allclose(
            score(params, items), np.take_along_axis(np.asarray(score(params)), items, 1), rtol=1e-4, atol=1e-5
        )
    untrained = jax.tree.map(np.zeros_like, fresh)
    untrained["net"]["content"] = fresh["net"]["content"]
    alone = content.make(content.Config(), described)
    found = jax.jit(lambda: 2 * alone.score(alone.prepare({}, alone.given), query), compiler_options=QUICK)()
    np.testing.assert_allclose(score(untrained), found, rtol=1e-4, atol=1e-5)


def test_the_term_of_content_is_trained_on_the_history_alone(described, randomise):
    model = make(config_of(content_weight=2.0, id_dropout=0.0), described)
    batch, params = batch_of(model), randomise(model)
    slope = jax.grad(lambda params, batch: model.learn.loss(params, model.given, batch, jax.random.key(0))[0])
    slope = jax.jit(slope, compiler_options=QUICK)
    assert np.abs(slope(params, batch)["net"]["content"]).max() > 1e-4
    nothing = batch._replace(history=np.full_like(batch.history, ITEMS))
    assert np.abs(slope(params, nothing)["net"]["content"]).max() == 0


def test_the_term_of_content_is_order_free():
    with pytest.raises(InputError, match=r"flag --content_weight: 2.0 .* legal with --ordered is 0"):
        config_of(content_weight=2.0, ordered=True)


def test_its_settings_and_ancfs_are_one_flat_list():
    assert set(settings_of(Config)) == {"id_dropout", "content_weight"} | set(settings_of(ancf.Config))
    config = from_json(Config, {"id_dropout": 0.5, "factors": 8, "tower": [4]})
    assert config == Config(id_dropout=0.5, ancf=dataclasses.replace(Config().ancf, factors=8, tower=(4,)))
    assert from_json(Config, to_json(config)) == config and "ancf" not in to_json(config)
    with pytest.raises(InputError, match="flag --heads: 3 does not divide --factors=32"):
        from_json(Config, {"heads": 3})
    for given in ({"history": 0}, {"user": False}):
        with pytest.raises(InputError, match="flags --history, --user: hybrid knows users"):
            from_json(Config, given)


ABSENT = ("trend", "again", "taste", "temperature", "prior_activity", "prior_discount")


def test_a_config_json_from_before_still_opens():
    """The fields that it had when they were copies of ANCF's."""
    shared = {
        "factors": 16,
        "history": 20,
        "ordered": False,
        "layers": 1,
        "heads": 4,
        "tower": [8, 4],
        "tower_factors": 8,
    }
    shared |= {"dropout": 0.1, "loss": "bpr", "negatives": 9, "ratio": 2.0, "targets": 5, "l2": 0.01, "stddev": 0.1}
    config = from_before(Config, {"id_dropout": 0.4, "content_weight": 3.0, **shared})
    assert config == Config(
        0.4,
        3.0,
        dataclasses.replace(
            Config().ancf,
            **{**shared, "tower": (8, 4), "joint": True, "prior_power": 1.0, **dict.fromkeys(ABSENT, 0.0)},
        ),
    )


def test_memory_is_asked_before_sparse_features_are_dense(described, query, plain, randomise, monkeypatch):
    model, score = plain
    params = randomise(model)
    same = make(config_of(), described._replace(features=scipy.sparse.csr_matrix(described.features)))
    found = jax.jit(lambda: same.score(same.prepare(params, same.given), query), compiler_options=QUICK)()
    np.testing.assert_allclose(found, score(params, query), rtol=1e-5, atol=1e-6)
    monkeypatch.setattr(memory, "available", lambda: 10 * 2**30)
    sellers = scipy.sparse.eye(100_000, 120_000, dtype=np.float32, format="csr")
    with pytest.raises(InputError, match=r"the features \[100000, 120000\] need 179 GiB and this device has 10"):
        make(config_of(), described._replace(features=sellers))
