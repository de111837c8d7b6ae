"""ANCF against the models it reduces to, against itself step by step, and what its training rows may hold."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from ancf_jax.config import from_json
from ancf_jax.models.ancf import ancf
from ancf_jax.models.ancf.ancf import Config
from ancf_jax.models.ancf.batch import Batch, as_floats, sample_of
from ancf_jax.models.ancf.net import Net, recency_init
from ancf_jax.models.factors import ncf
from ancf_jax.nn.bits import hashed
from ancf_jax.nn.losses import PAIR_LOSSES
from ancf_jax.types import InputError

SMALL = Config(
    factors=4,
    history=5,
    heads=2,
    ordered=False,
    layers=0,
    tied=False,
    latest=True,
    state=False,
    user=True,
    tower=(6, 3),
    tower_factors=3,
    prior=0.0,
    temperature=0.0,
    dropout=0.0,
    loss="bce",
    negatives=6,
    targets=2,
    stddev=0.1,
)
NAIS = dataclasses.replace(SMALL, user=False, tower=(), layers=0, project=False, heads=1)
ORDERED = dataclasses.replace(SMALL, ordered=True, layers=1)


def make(data, config=SMALL, **changes):
    return ancf.make(dataclasses.replace(config, **changes), data)


@pytest.mark.parametrize("paths", ["both", "product", "tower"])
def test_without_attention_it_is_neumf(data, randomise, ask, paths):
    """NeuMF's alpha, which ANCF does not have, is folded into the output weights; a missing path has weight 0."""
    alpha = 0.3
    both = {"factors": 4, "tower_factors": 3, "tower": (6, 3), "alpha": alpha}
    other = ncf.make(ncf.NeuMF(**(both | {"both": {}, "product": {"tower": ()}, "tower": {"factors": 0}}[paths])), data)
    theirs = randomise(other)
    model = make(data, history=0, tower=() if paths == "product" else (6, 3))
    shares = (alpha, 1 - alpha) if paths == "both" else (1, 1)
    net = theirs["net"]
    mine = {
        "tables": jax.tree.map(jnp.zeros_like, randomise(model)["tables"]) | theirs["tables"],
        "net": {"product": shares[0] * net.get("product", np.zeros(4)), "bias": net["bias"]},
    }
    if paths != "product":
        mine["net"] |= {"mlp": net["tower"], "hidden": shares[1] * net["hidden"]}
    wanted = jax.tree.map(np.shape, randomise(model))
    assert jax.tree.map(np.shape, mine) == wanted
    query = ask([*range(data.num_users), data.num_users])
    found, expected = jax.jit(model.score)(mine, query), jax.jit(other.score)(theirs, query)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.std(expected) > 0.05


def nais(params, history, item, config):
    """s = b_i + b + sum_j a_ij w . (q_i * e_j), one pair (i, j) after another, in float64."""
    tables, net = params["tables"], params["net"]
    past = tables["item" if config.tied else "item_history"]
    q, logits = tables["item"][item].astype(np.float64), []
    for j in history:
        if config.scorer:
            inner, outer = net["scorer_in"], net["scorer_out"]["kernel"][:, 0]
            logits.append(outer @ np.maximum((q * past[j]) @ inner["kernel"] + inner["bias"], 0))
        else:
            logits.append(q @ past[j] / np.sqrt(config.factors))
    total = sum(np.exp(logit) for logit in logits)
    score = tables["item_bias"][item, 0] + net["bias"]
    for j, logit in zip(history, logits, strict=True):
        score += np.exp(logit) / total**config.smoothing * (net["attended"] @ (q * past[j]))
    return score


@pytest.mark.parametrize("smoothing", [1.0, 0.5])
@pytest.mark.parametrize(("scorer", "tied"), [(0, False), (0, True), (3, False)])
def test_with_only_an_order_free_attention_it_is_nais(data, randomise, ask, scorer, tied, smoothing):
    config = dataclasses.replace(NAIS, scorer=scorer, tied=tied, smoothing=smoothing)
    model = ancf.make(config, data)
    params = randomise(model)
    histories = [[3], [], [8, 1, 4, 2, 7], [5, 0, 6]]
    found = jax.jit(model.score)(params, ask([6, 6, 0, 1], histories, 5))
    expected = [[nais(params, history, item, config) for item in range(data.num_items)] for history in histories]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    start = jax.jit(model.learn.init)(jax.random.key(0), model.given)
    np.testing.assert_array_equal(start["net"]["attended"], 1)  # NAIS has no w


@pytest.mark.parametrize(
    "changes", [{}, {"user": False}, {"ordered": True, "layers": 1, "trend": 0.0}, {"history": 0, "user": False}]
)
def test_prepared_scores_in_blocks_are_those_of_the_parameters(data, randomise, ask, monkeypatch, changes):
    model, items = make(data, **changes), np.array([[3, 3, 0, 1, 2], [0, 8, 7, 7, 5]])
    params = randomise(model)
    query = ask([0, 6], [[3, 1], [8, 1, 4]] if model.history else None, model.history)
    expected = jax.jit(lambda params: (model.score(params, query), model.score(params, query, items)))(params)
    monkeypatch.setattr(ancf, "items_at_once", lambda floats: 4)  # 9 items in three blocks, 5 in two
    monkeypatch.setattr(ancf, "PEOPLE", 1)
    ready = jax.jit(model.prepare)(params, model.given)
    found = jax.jit(lambda ready: (model.score(ready, query), model.score(ready, query, items)))(ready)
    for scores, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(scores, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("layers", [0, 2])
def test_the_order_of_an_order_free_history_changes_nothing(data, randomise, ask, layers):
    model = make(data, layers=layers)
    params, history = randomise(model), [8, 1, 4, 2]
    orders = [history, history[::-1], [1, 8, 2, 4]]
    straight, backwards, swapped = jax.jit(model.score)(params, ask([0, 0, 0], orders, 5))
    np.testing.assert_allclose(backwards, straight, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(swapped, straight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layers", [0, 1])
def test_the_order_of_an_ordered_history_matters(data, randomise, ask, layers):
    model = make(data, ORDERED, layers=layers)
    params = randomise(model)
    straight, backwards = jax.jit(model.score)(params, ask([0, 0], [[8, 1, 4, 2], [2, 4, 1, 8]], 5))
    assert np.abs(straight - backwards).max() > 0.01


def rows(tables, side, ids):
    return {name: table[ids] for name, table in tables.items() if name.startswith(side)}


def windowed(config, params, users, history, targets, others):
    """Scores of targets [B, H] and of others [B, H, N] after each column of histories [B, H], as trained on."""
    tables, padding = params["tables"], len(params["tables"]["item"]) - 1
    inputs = (
        rows(tables, "user", users[:, None]),
        tables["item_history"][history],
        history < padding,
        rows(tables, "item", targets),
        rows(tables, "item", others),
    )
    apply = jax.jit(lambda net, inputs: Net(config).apply({"params": net}, *inputs, method="windowed"))
    positive, negative = apply(params["net"], inputs)
    return np.asarray(positive), np.asarray(negative)


@pytest.fixture(scope="module")
def batch():
    """Two windows, the second one shorter, with targets and negatives."""
    users, history = np.array([2, 4]), np.array([[3, 8, 0, 5, 1], [9, 9, 7, 2, 6]])
    targets, others = np.array([[8, 0, 5, 1, 4], [9, 9, 2, 6, 3]]), np.array([[2, 6, 7], [0, 8, 4]])
    return users, history, targets, others


@pytest.mark.parametrize("smoothing", [1.0, 0.7])
@pytest.mark.parametrize("tower", [(), (6, 3)])
def test_windowed_scores_are_the_scores_after_each_prefix(data, randomise, ask, batch, tower, smoothing):
    config = dataclasses.replace(ORDERED, tower=tower, smoothing=smoothing)
    model = ancf.make(config, data)
    params = randomise(model)
    params["net"]["position"][:] = 0  # positions count from the window's start, which shifts
    users, history, targets, others = batch
    positive, negative = windowed(config, params, *batch)
    assert positive.shape == (2, 5) and negative.shape == (2, 5, 3)
    places = [(b, t) for b in range(2) for t in range(5) if history[b, t] < data.num_items]
    prefixes = [[int(item) for item in history[b, : t + 1] if item < data.num_items] for b, t in places]
    items = np.array([[targets[b, t], *others[b]] for b, t in places])
    stepwise = jax.jit(model.score)(params, ask(users[[b for b, _ in places]], prefixes, 5), items)
    found = np.array([[positive[b, t], *negative[b, t]] for b, t in places])
    assert len(found) == 8
    np.testing.assert_allclose(found, stepwise, rtol=1e-4, atol=1e-5)


def test_windowed_scores_after_the_last_column_know_its_place(data, randomise, ask, batch):
    """There the window is the whole history, so positions, which prefixes would shift, are those of scoring."""
    model = ancf.make(ORDERED, data)
    params = randomise(model)
    users, history, targets, others = batch
    past = [[int(item) for item in row if item < data.num_items] for row in history]
    items = np.concatenate([targets[:, -1:], others], axis=1)
    positive, negative = windowed(ORDERED, params, *batch)
    found = np.concatenate([positive[:, -1:], negative[:, -1]], axis=1)
    expected = jax.jit(model.score)(params, ask(users, past, 5), items)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    params["net"]["position"] = params["net"]["position"][::-1].copy()
    assert np.abs(windowed(ORDERED, params, *batch)[0] - positive).max() > 0.01


def test_the_ordered_loss_is_that_of_step_by_step_scores(data, randomise, ask, batch):
    """bce with its ratio, absent negatives left out of the sum, targets without a history not counted."""
    config = dataclasses.replace(ORDERED, ratio=2.0)
    model = ancf.make(config, data)
    params = randomise(model)
    params["net"]["position"][:] = 0
    users, history, targets, others = batch
    absent = np.array([[False, True, False], [False, False, False]])
    trained = Batch(users, history, targets, others, absent)
    score, losses = jax.jit(model.score), []
    for b, t in [(b, t) for b in range(2) for t in range(5) if targets[b, t] < data.num_items]:
        prefix = [int(item) for item in history[b, : t + 1] if item < data.num_items]
        scores = score(params, ask(users[[b]], [prefix], 5), np.array([[targets[b, t], *others[b]]]))[0]
        p, n = np.asarray(scores[0], np.float64), np.asarray(scores[1:], np.float64)
        losses.append(np.logaddexp(0, -p) + 2.0 * np.where(absent[b], 0, np.logaddexp(0, n)).mean())
    mean, sums = jax.jit(model.learn.loss)(params, model.given, trained, jax.random.key(0))
    np.testing.assert_allclose(mean, np.mean(losses), rtol=1e-4)
    assert sums["count"] == len(losses) == 8


@pytest.mark.parametrize(
    "changes", [{}, {"tied": True, "user": False}, {"state": False, "l2": 0.3}, {"prior": 1.0, "joint": False}]
)
def test_the_softmax_over_the_catalogue_is_that_of_all_scores(data, randomise, batch, changes):
    """Where scores are inner products, they are never all there. If not joint, the closed form has no part."""
    inner = {"heads": 0, "tower": (), "state": True, "loss": "full_softmax"}
    config = dataclasses.replace(ORDERED, **inner | changes)
    model, plain = ancf.make(config, data), dataclasses.replace(config, prior=0.0, joint=True)
    params = randomise(model)
    users, history, targets, _ = batch
    shown = {**params, "tables": {"item_history": params["tables"]["item"], **params["tables"]}}
    every = np.tile(np.arange(9), (2, 1))
    positive, scores = windowed(plain, shown, users, history, targets, every)
    vectors = params["tables"]["item"][targets], params["tables"]["user"][users][:, None] if config.user else 0
    penalty = config.l2 * sum(np.sum(np.square(part), axis=-1) for part in vectors)
    expected = (logsumexp(scores, axis=-1) - positive + penalty)[targets < 9]
    none = np.zeros((2, 0), np.int32)
    given = Batch(users, history, targets, none, none.astype(bool))
    mean, sums = jax.jit(model.learn.loss)(params, model.given, given, jax.random.key(0))
    np.testing.assert_allclose(mean, expected.mean(), rtol=1e-5)
    np.testing.assert_allclose((sums["loss"], sums["count"]), (expected.sum(), len(expected)), rtol=1e-5)


@pytest.mark.parametrize("tower", [(), (6, 3)])
def test_a_causal_encoder_never_sees_the_future(data, randomise, batch, tower):
    config = dataclasses.replace(ORDERED, layers=2, tower=tower)
    params = randomise(ancf.make(config, data))
    users, history, targets, others = batch
    changed = history.copy()
    changed[:, 3] = [6, 0]
    for before, after in zip(
        windowed(config, params, *batch), windowed(config, params, users, changed, targets, others), strict=True
    ):
        np.testing.assert_allclose(after[:, :3], before[:, :3], rtol=1e-5, atol=1e-6)  # rounding alone
        assert (np.abs(after[:, 3:] - before[:, 3:]) > 1e-5).all()


@pytest.fixture(scope="module")
def sampled(data):
    """A function that samples one batch of all windows."""

    def sampled(**changes):
        model = make(data, **changes)
        batch = jax.jit(model.learn.sample)(jax.random.key(1), model.given, jnp.arange(model.learn.rows))
        return model, jax.device_get(batch)

    return sampled


@pytest.mark.parametrize("changes", [{}, {"ordered": True}, {"ordered": True, "tower": (), "layers": 1}])
def test_negatives_that_the_user_knows_are_absent(sampled, rows, changes):
    _, batch = sampled(**changes)
    for user, others, absent in zip(batch.users, batch.negatives, batch.absent, strict=True):
        assert absent.tolist() == [int(item) in rows[user] for item in others]
    assert 0 < np.mean(batch.absent) < 1


def test_negatives_by_popularity_estimate_the_same_softmax(data, randomise):
    """Popular negatives are drawn as often as they occur in the log, and the loss is what uniform ones give."""
    losses = []
    for popular in (0.0, 0.75):
        changes = {"ordered": True, "tower": (), "history": 3, "loss": "sampled_softmax", "negatives": 4000}
        model = make(data, popular=popular, **changes)
        params = randomise(model)
        batch = jax.jit(model.learn.sample)(jax.random.key(1), model.given, jnp.arange(model.learn.rows))
        losses.append(jax.jit(model.learn.loss)(params, model.given, batch, jax.random.key(0))[0])
        share = np.bincount(np.ravel(batch.negatives), minlength=9) / batch.negatives.size
        expected = popular * np.bincount(data.train.items, minlength=9) / len(data.train.items) + (1 - popular) / 9
        np.testing.assert_allclose(share, expected, atol=0.01)
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.01)


def test_a_sample_of_a_history_has_the_least_hashed_ids():
    rng = np.random.default_rng(0)
    history = np.full((5, 300), 400, np.int32)
    for row, count in zip(history, (300, 120, 7, 6, 0), strict=True):
        row[300 - count :] = rng.choice(400, count, replace=False)
    items, columns = jax.jit(partial(sample_of, count=7, padding=400))(history)
    np.testing.assert_array_equal(items, np.take_along_axis(history, np.asarray(columns), axis=1))
    order = np.asarray(hashed(jnp.arange(400, dtype=jnp.uint32)))
    for row, found in zip(history, np.asarray(items), strict=True):
        expected = sorted(row[row < 400], key=lambda item: order[item])[:7]
        assert found.tolist() == expected + [400] * (7 - len(expected))


def test_floats_are_in_the_order_of_words():
    near = np.arange(-3, 4)
    words = np.unique(np.concatenate([near[3:] - 2**30, near, 2**30 - 1 + near[:4]])).astype(np.int32)
    floats = np.asarray(jax.jit(as_floats)(words))
    assert (floats[1:] > floats[:-1]).all() and np.isfinite(floats).all() and (np.abs(floats) >= 2.0**-126).all()


def test_a_target_is_never_in_its_own_history(sampled, rows):
    _, batch = sampled()
    for user, history, targets in zip(batch.users, batch.history, batch.targets, strict=True):
        shown, asked = set(history.tolist()) - {9}, set(targets.tolist()) - {9}
        assert not shown & asked and shown | asked <= set(rows[user]) and asked


@pytest.mark.parametrize("changes", [{}, {"ordered": True, "state": True, "prior": 1.0, "history": 6}])
def test_a_batch_without_its_padding_has_the_same_loss(data, randomise, changes):
    model = make(data, **changes)
    learn, start = model.learn, jax.jit(model.learn.init)(jax.random.key(0), model.given)
    params = randomise(model) | {"held": start.get("held")}  # the closed form as it is solved
    rows = np.argsort(learn.lengths, kind="stable")[:3]
    width = int(learn.lengths[rows].max())
    batch = jax.jit(learn.sample)(jax.random.key(0), model.given, rows)
    loss = jax.jit(learn.loss)
    (whole, sums), (cut, of_cut) = (
        loss(params, model.given, each, jax.random.key(1)) for each in (batch, learn.narrow(batch, width))
    )
    assert width < batch.history.shape[1] and sums["count"] == of_cut["count"] > 0
    np.testing.assert_allclose(whole, cut, rtol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"tower": (), "user": False},
        {"tower": (), "temperature": 0.5},
        {"tower": (), "temperature": 0.5, "user": False, "smoothing": 1.0},
        {"temperature": 0.5},
        {"tower": (), "ordered": True, "heads": 2},
    ],
)
def test_all_items_are_scored_as_those_that_are_asked(data, randomise, ask, changes):
    """One product for all histories, nothing transposed, or the weights of each pair by itself: the same scores."""
    model = ancf.make(dataclasses.replace(SMALL, **changes), data)
    params, query = randomise(model), ask([1, 6, 6], [[3, 1, 8], [2], []], 5)
    items = np.broadcast_to(np.arange(data.num_items), (3, data.num_items))
    every, asked = jax.jit(model.score)(params, query), jax.jit(model.score)(params, query, items)
    assert np.isfinite(every).all() and np.ptp(every[:2]) > 0.01
    np.testing.assert_allclose(every, asked, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("changes", [{}, {"tower": (), "temperature": 0.5}])
def test_each_interaction_is_the_target_of_all_the_others(data, randomise, ask, changes):
    """The score of a target is that after its history without it, and a negative's that after all of it."""
    config = dataclasses.replace(SMALL, targets=0, loss="bpr", **changes)
    model = ancf.make(config, data)
    params = randomise(model)
    batch = jax.jit(model.learn.sample)(jax.random.key(1), model.given, jnp.arange(model.learn.rows))
    assert (batch.history == batch.targets).all()
    score, losses = jax.jit(model.score), []
    for b, user in enumerate(np.asarray(batch.users)):
        own = [int(item) for item in batch.history[b] if item < data.num_items]
        others, absent = np.asarray(batch.negatives[b])[None], np.asarray(batch.absent[b])
        negative = np.asarray(score(params, ask([user], [own], 5), others))[0]
        for item in own:
            left = [other for other in own if other != item]
            positive = float(score(params, ask([user], [left], 5), np.array([[item]]))[0, 0])
            losses.append(np.where(absent, 0, np.logaddexp(0, negative - positive)).mean())
    mean, sums = jax.jit(model.learn.loss)(params, model.given, batch, jax.random.key(0))
    np.testing.assert_allclose(mean, np.mean(losses), rtol=1e-4)
    assert sums["count"] == len(losses)


def test_ordered_targets_follow_their_history(sampled, rows):
    """Target p is what the user took right after column p; a user's latest interaction always is a target."""
    model, batch = sampled(ordered=True, history=3)
    found = []
    for user, history, targets in zip(batch.users, batch.history, batch.targets, strict=True):
        for column in range(3):
            if targets[column] < 9:
                place = rows[user].index(targets[column])
                seen = [item for item in history[: column + 1].tolist() if item < 9]
                assert seen == rows[user][max(place - column - 1, 0) : place] and seen
                found.append((int(user), place))
            else:
                assert history[column] == 9
    assert {(user, len(row) - 1) for user, row in enumerate(rows) if len(row) > 1} <= set(found)
    assert model.learn.rows == sum(-(-len(row) // 3) for row in rows)


def finite_loss(model, batch, randomise):
    params = randomise(model)
    grad = jax.jit(jax.value_and_grad(model.learn.loss, has_aux=True))
    (loss, _), gradient = grad(params, model.given, batch, jax.random.key(0))
    assert np.isfinite(loss) and loss > 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.isfinite(leaf).all(), jax.tree_util.keystr(path)
    for name, table in gradient["tables"].items():
        np.testing.assert_array_equal(table[-1], 0, err_msg=name)  # padding and the unknown user do not learn
        used = name != "item" or params["net"].keys() & {"product", "attended"}  # a lone tower has tables of its own
        assert (np.abs(table[:-1]).max() > 0) == bool(used), name
    return params


@pytest.mark.parametrize("loss", PAIR_LOSSES)
@pytest.mark.parametrize("changes", [{"layers": 1}, {"ordered": True, "tower": ()}], ids=["order-free", "ordered"])
def test_every_loss_and_its_gradient_are_finite(sampled, randomise, loss, changes):
    finite_loss(*sampled(loss=loss, dropout=0.2, l2=0.01, smoothing=0.7, **changes), randomise)


@pytest.mark.parametrize("history", [0, 5])
@pytest.mark.parametrize("tower", [(), (6, 3)])
@pytest.mark.parametrize("user", [False, True])
def test_each_part_can_be_switched_off(sampled, randomise, ask, user, tower, history):
    """What is off has no parameters and no say in the score; what is on has both."""
    model, batch = sampled(user=user, tower=tower, history=history)
    params = finite_loss(model, batch, randomise)
    tables, net = params["tables"].keys(), params["net"].keys()
    assert ("user" in tables, "product" in net) == (user, user)
    assert ("item_tower" in tables, "mlp" in net) == (tower != (), tower != ())
    assert ("user_tower" in tables) == (user and tower != ())
    assert ("item_history" in tables, "attended" in net) == (history > 0, history > 0)
    assert (model.attend is not None, model.history) == (history > 0, history)
    past = [[1, 2], [1, 2], [7]] if history else None
    first, other_user, other_past = np.asarray(jax.jit(model.score)(params, ask([0, 3, 0], past, history)))
    assert (first == other_user).all() == (not user)
    assert (first == other_past).all() == (history == 0)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"ordered": True, "history": 0}, "flag --ordered: needs a history; --history is 0"),
        ({"joint": False, "prior": 0.0}, "flag --nojoint: is to learn apart from the closed form, and --prior is 0"),
        (
            {"targets": 0, "joint": True},
            "flag --targets: 0 needs --nojoint or --prior=0, and --layers=0, to hide targets",
        ),
        ({"prior_filter": True, "prior": 0.0}, "flag --prior_filter: says which closed form there is, and --prior=0"),
        ({"prior_next": True, "joint": True}, "flag --prior_next: knows the rows that are learnt from; give --nojoint"),
        (
            {"prior_next": True, "joint": False, "prior_filter": True},
            "flag --prior_next: is another closed form than --prior_filter",
        ),
        (
            {"prior_next": True, "joint": False, "latest": True, "history": 0},
            "flag --latest: a set of the latest needs a history; --history is 0",
        ),
        ({"factors": 9, "heads": 2}, "flag --heads: 2 does not divide --factors=9"),
        (
            {"popular": 0.5, "loss": "bce"},
            "flag --popular: needs --loss=sampled_softmax, which corrects for it; not bce",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(flags, message):
    with pytest.raises(InputError, match=message):
        from_json(Config, flags)


def test_heads_do_not_matter_without_attention():
    assert from_json(Config, {"factors": 9, "heads": 2, "history": 0}).factors == 9


def test_recency_starts_as_power_laws():
    """Head n weighs the interaction d steps back by (1 + d)^-s, with slopes s from 3 to 1."""
    found = np.exp(recency_init(jax.random.key(0), (3, 6)))
    np.testing.assert_allclose(found, [[(1.0 + d) ** -s for d in range(6)] for s in (3, 2, 1)], rtol=1e-5)


def test_parameters_start_small_and_weights_of_paths_at_one(data):
    """Positions spread as the embeddings do, and the tower's output as one over the root of its width."""
    model = make(data, ORDERED, factors=256, stddev=0.2, tower=(4, 400), history=40)
    net = jax.device_get(jax.jit(model.learn.init)(jax.random.key(0), model.given)["net"])
    np.testing.assert_allclose(np.std(net["position"]), 0.2, rtol=0.05)
    np.testing.assert_allclose(np.std(net["hidden"]), 400**-0.5, rtol=0.15)
    assert (net["product"] == 1).all() and (net["attended"] == 1).all() and net["bias"] == 0


def test_a_batch_of_one_window_learns_as_two_of_it(data, randomise):
    """Each interaction the target of the others: one row of candidates is then no row that all histories share."""
    model = make(data, targets=0, layers=0, prior=0.0, dropout=0.0, tower=())
    params, key = randomise(model), jax.random.key(0)
    one = jax.jit(model.learn.sample)(key, model.given, np.array([0]))
    two = jax.tree.map(lambda x: np.concatenate([x, x]), one)
    single, double = (jax.jit(model.learn.loss)(params, model.given, batch, key)[0] for batch in (one, two))
    np.testing.assert_allclose(single, double, rtol=1e-5)
