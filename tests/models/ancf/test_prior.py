"""The closed form that ANCF starts from, against EASE and SLIT themselves, and in training against scoring."""

import dataclasses

import jax
import numpy as np
import pytest

from ancf_jax.config import from_before, from_json
from ancf_jax.data.interactions import build
from ancf_jax.models.ancf import ancf, prior
from ancf_jax.models.ancf.ancf import Config
from ancf_jax.models.linear import ease, slit
from ancf_jax.types import Data, InputError

PLAIN = {"prior": 1.0, "prior_power": 1.0, "prior_discount": 0.0, "temperature": 0.0, "dropout": 0.0, "negatives": 6}
SMALL = Config(factors=4, history=5, ordered=True, heads=1, prior_l2=3.0, prior_slope=0.5, prior_activity=0.0, **PLAIN)
SET = {"ordered": False, "prior_next": True, "joint": False}
BOTH = {"prior_exponent": 0.5, "prior_activity": 0.5}
FREE = dataclasses.replace(SMALL, ordered=False, latest=True, targets=2, joint=True, **BOTH)


def log_like(p, mean):
    return np.arcsinh(np.asarray(p, np.float64) / (2 * mean))


def score_of(model):
    """(params, query) -> scores, as NumPy has them."""
    score = jax.jit(lambda params, given, query: model.score(model.prepare(params, given), query))
    return lambda params, query: np.asarray(score(params, model.given, query))


def linear(data, ordered):
    """The closed form as the model of its own that it is, and its weights."""
    if ordered:
        model = slit.make(slit.Config(history=5, slope=0.5, l2=3.0), data)
    else:
        model = ease.make(ease.Config(l2=3.0, exponent=0.5, activity=0.5), data)
    key = jax.random.key(0)
    return model, jax.jit(lambda: model.learn.sweep(model.learn.init(key, model.given), model.given, key))()


@pytest.mark.parametrize("ordered", [True, False])
def test_with_nothing_learnt_it_ranks_as_the_closed_form(data, ask, ordered):
    """Score minus what the rest gives, for known and unknown users, is the weight times asinh(p / 2b)."""
    config = SMALL if ordered else FREE
    model = ancf.make(config, data)
    params = jax.jit(model.learn.init)(jax.random.key(0), model.given)
    off = {**params, "net": {**params["net"], "prior": np.float32(0)}}
    twice = {**params, "net": {**params["net"], "prior": np.float32(2)}}
    histories = [[3], [], [8, 1, 4, 2, 7], [5, 0, 6]]
    score = score_of(model)
    query = ask([6, 6, 0, 1], histories, 5)
    found = score(twice, query) - score(off, query)
    closed, weights = linear(data, ordered)
    mean = 1 / data.num_items if ordered else len(data.train.items) / data.num_users / data.num_items
    expected = 2 * log_like(jax.jit(closed.score)(weights, ask([6, 6, 0, 1], histories, 5)), mean)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert np.ptp(expected[2]) > 0.5


@pytest.mark.parametrize("latest", [True, False])
def test_of_a_set_it_is_slit_that_weighs_all_alike(data, ask, latest):
    """Of the latest 2 or of all, whose order changes nothing; the penalty grows by how many are read in the mean."""
    count = np.minimum(np.diff(data.train.offsets), 2) if latest else np.diff(data.train.offsets)
    closed = slit.make(slit.Config(history=2 if latest else int(count.max()), slope=0.0, l2=3.0 * count.mean()), data)
    key = jax.random.key(0)
    weights = jax.jit(lambda: closed.learn.sweep(closed.learn.init(key, closed.given), closed.given, key))()
    changes = {"latest": latest, "history": 2, "targets": 1, "prior_next": True, "joint": False, "taste": 0.0}
    model = ancf.make(dataclasses.replace(FREE, **changes), data)
    params = jax.jit(model.learn.init)(key, model.given)
    score = score_of(model)
    off = {**params, "net": {**params["net"], "prior": np.float32(0)}}
    histories, users = [[3], [], [8, 1, 4, 2, 7], [5, 0, 6]], [6, 6, 0, 1]
    query = ask(users, histories, max(model.history, 5))
    found = score(params, query) - score(off, query)
    read = ask(users, [row[-closed.history :] for row in histories], closed.history)
    expected = log_like(jax.jit(closed.score)(weights, read), 1 / data.num_items)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert np.ptp(expected[2]) > 0.3 and model.order == ("latest 2" if latest else "in training")
    turned = score(params, ask(users, [row[:-2] + row[:-3:-1] for row in histories], max(model.history, 5)))
    np.testing.assert_allclose(turned, score(params, query), rtol=1e-4, atol=1e-5)


def test_apart_ease_of_the_whole_history_is_added(data, ask):
    """Also of what was done before the latest 2, which the encoder and SLIT read."""
    apart = dataclasses.replace(SMALL, history=2, joint=False, prior_exponent=0.5, prior_activity=0.5)
    plain, tasting = (ancf.make(dataclasses.replace(apart, taste=weight), data) for weight in (0.0, 0.8))
    start = jax.jit(tasting.learn.init)(jax.random.key(0), tasting.given)
    alike = jax.jit(plain.learn.init)(jax.random.key(0), plain.given)
    jax.tree.map(np.testing.assert_array_equal, (alike["tables"], alike["net"]), (start["tables"], start["net"]))
    histories, users = [[3], [], [8, 1, 4, 2, 7], [5, 0, 6]], [6, 6, 0, 1]
    whole = ask(users, histories, tasting.history)
    found = score_of(tasting)(start, whole)
    without = score_of(plain)(alike, ask(users, [row[-2:] for row in histories], 2))
    closed, weights = linear(data, False)
    mean = len(data.train.items) / data.num_users / data.num_items
    expected = 0.8 * log_like(jax.jit(closed.score)(weights, whole), mean)
    np.testing.assert_allclose(found - without, expected, rtol=1e-3, atol=1e-4)
    assert tasting.history >= 5 and np.ptp(expected[2]) > 0.2


@pytest.mark.parametrize("ordered", [True, False])
def test_a_power_and_a_discount_change_the_weights_one_by_one(data, ask, ordered):
    """Against loops over the pairs of items; what the interactions contribute is of the changed weights too."""
    config = dataclasses.replace(
        SMALL if ordered else FREE, joint=False, taste=0.0, prior_power=1.5, prior_discount=0.25
    )
    model = ancf.make(config, data)
    params = jax.jit(model.learn.init)(jax.random.key(0), model.given)
    _, weights = linear(data, ordered)
    b = np.asarray(weights["tables"]["weight"], np.float64)
    often = np.maximum(np.bincount(data.train.items, minlength=len(b)), 1)
    expected = np.empty_like(b)
    for one in range(len(b)):
        for other in range(len(b)):
            power = np.sign(b[one, other]) * abs(b[one, other]) ** 1.5
            expected[one, other] = power * (often[other] * len(b) / len(data.train.items)) ** -0.25
    expected *= np.abs(b).sum() / np.abs(expected).sum()
    known = model.given.own.prior
    place = np.asarray(known.place)[:-1]
    held = np.asarray(params["held"]["prior"]["weights"])
    np.testing.assert_allclose(held[place][:, place], expected, rtol=1e-3, atol=1e-5)
    assert not held[-1].any() and not held[:, -1].any()
    query = ask([6, 0], [[8, 1, 4, 2, 7], [5, 0, 6]], 5)
    first = prior.make(config, data)
    ready = jax.jit(first.ready)(params["held"]["prior"], known)
    items = np.tile(np.arange(data.num_items), (2, 1))
    parts = np.asarray(jax.jit(first.contribute)(ready, query.history, items))
    np.testing.assert_allclose(parts.sum(2), jax.jit(first.of_history)(ready, query.history), rtol=1e-4, atol=1e-5)


def test_weights_that_are_changed_are_learnt_apart_from(data):
    """A fit without the targets is of weights as they were solved for."""
    changes = {"prior_power": 1.2}, {"prior_discount": 0.1}
    for change in changes:
        for legal in ({"joint": True}, {"prior_filter": True, "ordered": False, "joint": False}):
            with pytest.raises(InputError, match="flag --prior_power, --prior_discount: need --nojoint"):
                Config(**change, **legal)


@pytest.mark.parametrize(
    ("settings", "power", "weight", "temperature"),
    [
        ({"ordered": False}, 1.3, 16, 0.1),
        ({"ordered": False, "prior_power": 1.5, "prior": 2.0, "temperature": 0.0}, 1.5, 2, 0),
        ({"ordered": False, "prior_filter": True}, 1, 1, 0.1),
        ({"ordered": False, "loss": "bce"}, 1.3, 16, 0),
        ({"ordered": True}, 1, 1, 0),
        (SET, 1, 1, 0),
        ({"ordered": False, "joint": True}, 1, 1, 0),
        ({"ordered": False, "prior": 0.0}, 1, 0, 0),
    ],
)
def test_by_default_what_is_order_free_is_apart_from_a_sharper_ease(data, settings, power, weight, temperature):
    found = ancf.resolved(Config(**settings), data)
    assert (found.prior_power, found.prior, found.temperature) == (power, weight, temperature)
    assert (found.prior_discount, found.prior_activity) == ((0.15, 0.4) if power > 1 else (0, 0))
    assert found.targets == (
        0 if settings.get("ordered") is False and not found.joint and "prior_next" not in settings else 16
    )
    assert found.popular == (0 if temperature or found.loss == "bce" else 0.5)


def test_layers_and_no_history_have_targets_drawn(data):
    """Where all are targets, the others that each sees are told apart in attention over candidates alone."""
    for settings in ({"layers": 1}, {"history": 0}):
        assert ancf.resolved(Config(ordered=False, **settings), data).targets == 16


@pytest.mark.parametrize(
    ("settings", "weight"), [({}, 0.5), ({"joint": True}, 0), ({"prior": 0.0}, 0), ({"ordered": False}, 0), (SET, 0.5)]
)
def test_by_default_it_is_added_where_the_order_is_read_apart(data, settings, weight):
    assert ancf.resolved(Config(**settings), data._replace(ordered=True)).taste == weight


@pytest.mark.parametrize("settings", [{"joint": True}, {"prior": 0.0}, {"ordered": False}])
def test_elsewhere_it_is_refused(settings):
    with pytest.raises(InputError, match="flag --taste: is beside what is learnt apart from a closed form"):
        Config(taste=0.5, **settings)


def test_where_the_data_says_that_the_order_is_not_read_it_is_refused(data):
    with pytest.raises(InputError, match=r"flag --taste: .* legal here is 0"):
        ancf.make(Config(taste=0.5), data._replace(ordered=False))


@pytest.mark.parametrize("size", [9, 5])
def test_in_training_a_window_is_scored_after_each_column_by_a_fit_to_all_else(rows, size):
    """Windows that hold all that a user did, against SLIT of a log without the user; also where it knows few items."""
    user, row = next((user, row) for user, row in enumerate(rows) if 4 <= len(row) <= 6)
    users = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    items, everything = np.concatenate(rows), np.ones(len(users), bool)
    logs = [
        build(users[kept], items[kept], users[kept], np.arange(kept.sum()), len(rows))
        for kept in (everything, users != user)
    ]
    made, without = (prior.make(SMALL, Data(len(rows), 9, log), is_slit=True) for log in logs)
    place = np.minimum(np.arange(10), size).astype(np.int32)
    made, without = (each._replace(size=size, known=each.known._replace(place=place)) for each in (made, without))
    window = np.full(6, 9)
    window[-len(row) :] = row
    history, targets = window[None, :-1], np.where(window[:-1] < 9, window[1:], 9)[None]
    negatives = np.array([[2, 6, 7, row[1]]])
    held = jax.jit(made.fit)(logs[0], made.known)
    of_batch = jax.jit(made.of_batch)(held, made.known, logs[0], np.array([user]), history, targets, negatives)
    ours, theirs = map(np.asarray, of_batch)
    assert ours.shape == (1, 5) and theirs.shape == (1, 5, 4)
    b = jax.jit(without.fit)(logs[1], without.known)["weights"]
    of_history = jax.jit(without.of_history)
    for column in range(6 - len(row), 5):
        seen = np.full((1, 5), 9)
        seen[0, 4 - column :] = history[0, : column + 1]
        every = np.append(of_history((b, place), seen)[0], 0)
        np.testing.assert_allclose(ours[0, column], every[targets[0, column]], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(theirs[0, column], every[negatives[0]], rtol=1e-3, atol=1e-4)


def test_in_training_targets_are_scored_by_a_fit_to_all_else(rows):
    """Some of a user's items against others, as by EASE of a log without them, after all else that the user did."""
    user, row = next((user, row) for user, row in enumerate(rows) if len(row) >= 5)
    users = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    items, everything = np.concatenate(rows), np.ones(len(users), bool)
    logs = [
        build(users[kept], items[kept], users[kept], np.arange(kept.sum()), len(rows))
        for kept in (everything, (users != user) | ~np.isin(items, row[:2]))
    ]
    known = prior.make(FREE, Data(len(rows), 9, logs[0]), is_slit=False).known
    known = known._replace(weights=np.random.default_rng(0).uniform(0.5, 2.0, len(rows)))
    config = dataclasses.replace(FREE, prior_exponent=0.0)  # with the frequencies all penalties change a little
    made, without = (
        prior.make(config, Data(len(rows), 9, log), is_slit=False)._replace(mean=0.3, known=known) for log in logs
    )
    negatives = np.setdiff1d(np.arange(9), row)[None, :2]
    history, targets = np.array([[*row[2:-1], 9]]), np.array([[*row[:2], 9]])
    held = jax.jit(made.fit)(logs[0], made.known)
    of_batch = jax.jit(made.of_batch)(held, made.known, logs[0], np.array([user]), history, targets, negatives)
    ours, theirs = map(np.asarray, of_batch)
    b = jax.jit(without.fit)(logs[1], without.known)["weights"]
    every = np.asarray(jax.jit(without.of_history)((b, without.known.place), np.array([row[2:]])))[0]
    np.testing.assert_allclose(ours[0, :2], every[np.array(row[:2])], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(theirs[0, 0], every[negatives[0]], rtol=1e-3, atol=1e-4)


def test_order_free_the_second_time_of_an_item_is_nothing(data):
    made = prior.make(FREE, data, is_slit=False)
    ready = (jax.jit(made.fit)(data.train, made.known)["weights"], made.known.place)
    once, twice = np.array([[9, 9, 3, 1]]), np.array([[3, 1, 3, 1]])
    of_history = jax.jit(made.of_history)
    np.testing.assert_allclose(of_history(ready, twice), of_history(ready, once), rtol=1e-6)
    found = np.asarray(made.contribute(ready, twice, np.array([[2, 4]])))
    np.testing.assert_allclose(found.sum(2)[0], made.of_history(ready, once)[0, [2, 4]], rtol=1e-5)
    assert not found[:, :, :2].any()


@pytest.mark.parametrize("ordered", [True, False])
def test_items_beyond_the_most_frequent_have_no_score_by_it(data, ordered):
    config = dataclasses.replace(SMALL if ordered else FREE, prior_items=4)
    made = prior.make(config, data, is_slit=ordered)
    counts = np.bincount(data.train.items, minlength=data.num_items)
    known = np.flatnonzero(np.asarray(made.known.place)[:-1] < 4)
    assert len(known) == 4 and counts[known].min() >= np.sort(counts)[::-1][4] and made.known.place[-1] == 4
    b = jax.jit(made.fit)(data.train, made.known)["weights"]
    scores = np.asarray(made.of_history((b, made.known.place), np.array([[9, *known]])))
    assert not np.delete(scores, known, axis=1).any() and scores[:, known].any()


def test_a_step_moves_its_weight_and_nothing_that_is_solved_for(data):
    model = ancf.make(dataclasses.replace(SMALL, joint=True), data)
    params = jax.jit(model.learn.init)(jax.random.key(0), model.given)
    batch = jax.jit(model.learn.sample)(jax.random.key(1), model.given, np.arange(6))
    slope = jax.grad(lambda net: model.learn.loss({**params, "net": net}, model.given, batch, jax.random.key(2))[0])
    net = jax.jit(slope)(params["net"])
    assert abs(net["prior"]) > 1e-4 and params["held"]["prior"]["weights"].shape == (10, 10) and model.learn.ranks


def test_a_config_from_before_there_was_a_closed_form_is_without_one():
    before = {"factors": 8, "history": 20, "ordered": True}
    old, new = from_before(Config, before), from_json(Config, before)
    assert (old.prior, old.state, old.latest) == (0, False, True)
    assert (new.prior, new.state, new.latest) == (Config.prior, True, False)
