"""Lazy steps against dense ones, a NumPy reference, and what the compiled program does to a table."""

import re
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ancf_jax.config import from_json, settings_of
from ancf_jax.data.interactions import build
from ancf_jax.models import MODELS
from ancf_jax.settings import TrainConfig
from ancf_jax.training.lazy_rows import assign, make_direct_step, make_lazy_step, new_slots, read_by_rows
from ancf_jax.training.loop import init_state, make_epoch, make_step
from ancf_jax.training.optimizers import is_linear, make_optimizer
from ancf_jax.types import Data, Given, Gradient, InputError, Recommender, as_they_are, moved, shapes_of

USERS, ITEMS, STEPS, BATCH = 7, 11, 4, 6
QUICK = {"xla_backend_optimization_level": 0}  # compiling takes longer than running


def toy_loss(params, batch, key):
    """Reads two tables by rows, one of them twice, and one as a whole; leaves one unread. Item ITEMS is padding."""
    tables, net = params["tables"], params["net"]
    users, items = batch
    user, other = tables["user"][users], tables["item"][items[:, 1:]]
    item = tables["item"][items[:, 0]] * jnp.where(items[:, :1] < ITEMS, 1.0, 0.0)
    other = other * jnp.where(items[:, 1:, None] < ITEMS, 1.0, 0.0)
    score = jnp.sum(user @ net["w"] * item, -1) - jnp.sum(other**2, (1, 2)) + tables["bias"][:USERS].sum()
    loss = jnp.mean(jax.nn.softplus(-score))
    return loss, {"loss": loss}


def toy_params(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"user": (USERS + 1, 3), "item": (ITEMS + 1, 3), "bias": (USERS + 1, 1), "unread": (4, 2)}
    tables = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    for table in tables.values():
        table[-1] = 0
    return {"tables": tables, "net": {"w": rng.normal(size=(3, 3)).astype(np.float32)}}


@cache
def run_of(optimizer, lazy):
    """Compiled: params, batches [STEPS, ...] -> params and optimizer's state after STEPS steps."""
    optimizer, *unbounded = optimizer.split(", ")
    clip = 0.0 if unbounded else 0.5
    config = TrainConfig(optimizer=optimizer, learning_rate=0.1, clip=clip, weight_decay=0.01)
    tx, direct = make_optimizer(config, STEPS), lazy and is_linear(config)
    assert direct == bool(lazy and unbounded)

    @partial(jax.jit, compiler_options=QUICK)
    def run(params, batches):
        carry = (params, tx.init(params))
        carry = (*carry, new_slots(params)) if lazy and not direct else carry
        make = make_direct_step if direct else make_lazy_step if lazy else make_step
        step = make(toy_loss, tx)
        keys = jax.random.split(jax.random.key(0), STEPS)
        (params, opt_state, *_), _ = jax.lax.scan(lambda carry, x: step(carry, *x), carry, (batches, keys))
        return params, opt_state

    return run


batches_of_ids = st.tuples(
    arrays(np.int32, (STEPS, BATCH), elements=st.integers(0, USERS - 1)),
    arrays(np.int32, (STEPS, BATCH, 3), elements=st.integers(0, ITEMS)),
)


@settings(max_examples=30)
@given(batches=batches_of_ids, optimizer=st.sampled_from(["adagrad", "sgd", "sgd, unbounded"]))
def test_lazy_sgd_and_adagrad_are_the_dense_ones(batches, optimizer):
    params = toy_params()
    lazy, dense = (run_of(optimizer, lazy)(params, batches) for lazy in (True, False))
    assert jax.tree.structure(lazy) == jax.tree.structure(dense)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), lazy, dense)


@settings(max_examples=30)
@given(batches=batches_of_ids, optimizer=st.sampled_from(["adagrad", "sgd, unbounded", "adam"]))
def test_rows_that_no_batch_touched_keep_every_bit_and_padding_stays_zero(batches, optimizer):
    params = toy_params()
    tables = run_of(optimizer, True)(params, batches)[0]["tables"]
    for name, ids in zip(("user", "item"), batches, strict=True):
        untouched = np.setdiff1d(np.arange(len(tables[name])), ids)
        np.testing.assert_array_equal(tables[name][untouched], params["tables"][name][untouched])
        np.testing.assert_array_equal(tables[name][-1], 0)
    np.testing.assert_array_equal(tables["unread"], params["tables"]["unread"])
    assert (np.asarray(tables["bias"][:USERS]) != params["tables"]["bias"][:USERS]).all()  # read whole: a dense step


def test_lazy_adam_moves_a_row_by_the_steps_that_touched_it():
    """The moments of a row decay only in these steps; the correction of their bias counts all steps."""
    ids, slope = [[0, 2, 2], [1, 1, 1], [2, 0, 0]], np.array([1.0, -2.0], np.float32)

    def loss(params, batch, key):
        return jnp.sum(params["tables"]["item"][batch] * slope), {}

    tx = optax.adam(0.1)
    params = {"tables": {"item": jnp.ones((4, 2))}, "net": {}}
    carry, step = (params, tx.init(params), new_slots(params)), jax.jit(make_lazy_step(loss, tx))
    expected, first, second = np.ones((4, 2)), np.zeros((4, 2)), np.zeros((4, 2))
    for n, batch in enumerate(ids, start=1):
        carry, _ = step(carry, jnp.array(batch), jax.random.key(0))
        for row in set(batch):
            gradient = slope * batch.count(row)
            first[row] = 0.9 * first[row] + 0.1 * gradient
            second[row] = 0.999 * second[row] + 0.001 * gradient**2
            moments = first[row] / (1 - 0.9**n), second[row] / (1 - 0.999**n)
            expected[row] -= 0.1 * moments[0] / (np.sqrt(moments[1]) + 1e-8)
    np.testing.assert_allclose(carry[0]["tables"]["item"], expected, rtol=1e-4)


@given(ids=arrays(np.int32, 9, elements=st.integers(0, 5)), stale=arrays(np.int32, 6, elements=st.integers(-9, 99)))
def test_each_row_has_one_owner_whatever_the_slots_held(ids, stale):
    slots, places = map(np.asarray, jax.jit(assign)(stale, ids))
    last = {row: place for place, row in enumerate(ids.tolist())}
    assert [slots[row] for row in last] == list(last.values())
    assert {place: row for place, row in enumerate(places.tolist()) if row < 6} == {p: row for row, p in last.items()}
    assert len(set(places.tolist())) == 9


SMALL = {"factors": 4, "tower_factors": 2, "tower": (6, 4), "history": 5, "window": 4, "negatives": 3, "targets": 2}
VARIANTS = {
    "abcf": {"tower": ()},
    **{name: {"layers": 1} for name in ("sasrec", "esasrec", "hstu")},  # half as much to compile
    "mf": {"pool": 3},
    "mf, whole catalogue": {},
    "ancf, ordered": {"ordered": True, "heads": 2, "tower": (), "loss": "bce", "joint": True},
    "ancf": {"loss": "bce"},  # a softmax does not move its bias
    "ancf, tied": {"tied": True, "tower": (), "loss": "bce"},
}

DIRECT = ("ancf, ordered", "bpr", "hybrid", "neumf")  # a loss of each kind; the same step is taken of all

# Their losses are over all items, or the whole graph, whatever the batch.
WHOLE = ("autorec", "bert4rec", "gru4rec", "lightgcn", "multvae", "ngcf", "recvae", "reinforce")


@cache
def data():
    rng = np.random.default_rng(0)
    pairs = np.array([(user, item) for user in range(USERS) for item in rng.permutation(ITEMS)[: 3 + user % 4]])
    train = build(pairs[:, 0], pairs[:, 1], np.ones(len(pairs)), rng.permutation(len(pairs)), USERS)
    return Data(USERS, ITEMS, train, np.ones((ITEMS, 2), np.float32))


def model_of(name):
    entry = MODELS[name.partition(",")[0]]
    values = SMALL | VARIANTS.get(name, {})
    own = {name: value for name, value in values.items() if name in settings_of(entry.config)}
    return entry.make(from_json(entry.config, own), data())


PARTS = ("gmf", "mlp")  # of neumf, which has all of theirs
NAMES = [name for name in dict.fromkeys([*MODELS, *VARIANTS]) if name not in PARTS]


@pytest.mark.parametrize("name", [name for name in NAMES if isinstance(model_of(name).learn, Gradient)])
def test_a_step_of_every_model_is_the_dense_one(name):
    model = model_of(name)
    learn = model.learn
    tx, plain = (make_optimizer(TrainConfig(optimizer=name, learning_rate=0.1), 1) for name in ("adagrad", "sgd"))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: rng.normal(0, 0.5, leaf.shape).astype(np.float32), shapes_of(model))
    for table in params["tables"].values():
        table[-1] = 0

    @partial(jax.jit, compiler_options=QUICK)
    def both(params, given, key):
        def loss(params, batch, key):
            return learn.loss(params, given, batch, key)

        batch, start = learn.sample(key, given, jnp.arange(4) % learn.rows), (params, tx.init(moved(params)))
        dense, sums = make_step(loss, tx)(start, batch, key)
        (*lazy, _), lazy_sums = make_lazy_step(loss, tx)((*start, new_slots(params)), batch, key)
        if name not in DIRECT:
            return (tuple(lazy), lazy_sums), (dense, sums)
        alone = (params, plain.init(moved(params)))
        direct, expected = (make(loss, plain)(alone, batch, key) for make in (make_direct_step, make_step))
        return (tuple(lazy), lazy_sums, direct), (dense, sums, expected)

    given = params, model.given, jax.random.key(1)
    if name in WHOLE:
        with pytest.raises(InputError, match="flag --lazy_rows: this model's loss reads no table by rows"):
            jax.eval_shape(both, *given)
        return
    lazy, dense = jax.device_get(both(*given))
    assert jax.tree.structure(lazy) == jax.tree.structure(dense)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), lazy, dense)
    for key, table in lazy[0][0]["tables"].items():
        np.testing.assert_array_equal(table[-1], 0, err_msg=key)
    before = jax.tree.leaves(moved(params))
    after = jax.tree_util.tree_leaves_with_path(moved(lazy[0][0]))
    changes = [(path, new, old) for (path, new), old in zip(after, before, strict=True)]
    still = [jax.tree_util.keystr(path) for path, new, old in changes if not (new != old).any()]
    assert set(still) <= {"['net']['prior']"}  # the weight of what ANCF learns apart from
    jax.tree.map(np.testing.assert_array_equal, lazy[0][0].get("held"), params.get("held"))


def test_the_compiled_steps_do_nothing_to_a_table_but_read_and_write_rows():
    """No instruction of the scan's body makes an array as long as the table, other than by a scatter in its place."""
    rows, width, made, tx = 977, 3, {}, optax.adam(0.1)

    def init(key, given):
        tables = {"user": jnp.zeros((USERS + 1, width)), "item": jnp.ones((rows, width)), "bias": jnp.zeros((8, 1))}
        return {"tables": tables, "net": {"w": jnp.ones((width, width))}}

    def sample(key, given, index):
        return index, jnp.stack([index, index + 1, index + 2], axis=1)

    def whole(params, given, batch, key):
        return toy_loss(params, batch, key)

    learn = Gradient(BATCH, init, sample, whole)
    model = Recommender(learn, Given(data().train), 0, as_they_are, lambda *args: None)
    for lazy in (True, False):
        epoch = make_epoch(learn, tx, lazy_rows=lazy)
        state = jax.eval_shape(lambda: init_state(model, tx, 0))
        order = {0: np.zeros((2, BATCH), np.int32)}
        program = epoch.lower(state, model.given, order, jax.random.key(0)).compile(QUICK).as_text()
        made[lazy] = set(re.findall(rf"= f32\[{rows},{width}\]\S* ([\w-]+)\(", program))
    in_place = {"scatter", "dynamic-update-slice"}
    assert made[True] <= {"parameter", "get-tuple-element", "bitcast", "fusion", "call"} | in_place
    assert made[False] > {"multiply", "add"}  # and so the dense steps are told apart


@pytest.mark.parametrize(
    "use",
    [
        lambda table, ids: table[:2],
        lambda table, ids: table[ids, 0],
        lambda table, ids: table[np.arange(5) > 2],
        lambda table, ids: 2 * table,
        lambda table, ids: jnp.ones((1, 5)) @ table,
        lambda table, ids: jnp.sum(table),
        lambda table, ids: table.T,
        lambda table, ids: jnp.concatenate([table, table]),
        lambda table, ids: jnp.take(table, ids, axis=0),
        lambda table, ids: jax.vmap(jnp.sum)(table),
    ],
)
def test_a_table_that_is_used_otherwise_takes_the_dense_step(use):
    ids = np.array([0, 1, 1])

    def loss(params, batch, key):
        tables = params["tables"]
        assert tables["rows"].shape == (5, 2)
        return jnp.sum(use(tables["whole"], ids)) + jnp.sum(tables["rows"][ids]), {}

    params = {"tables": {"rows": jnp.ones((5, 2)), "whole": jnp.ones((5, 2))}, "net": {}}
    jax.eval_shape(loss, params, None, None)
    assert read_by_rows(loss, params, None, None) == {"rows"}


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda table, ids: jax.vmap(lambda i: table[i])(ids), "reads the table 'item' inside a scan, vmap"),
        (lambda table, ids: jax.lax.map(lambda i: table[i], ids), "reads the table 'item' inside a scan, vmap"),
        (lambda table, ids: jax.jit(lambda i: table[i])(ids), "reads the table 'item' inside a scan, vmap"),
        (lambda table, ids: jnp.sum(table), "reads no table by rows; leave the flag out"),
    ],
)
def test_losses_without_lazy_rows_are_refused(read, message):
    def loss(params, batch, key):
        return jnp.sum(read(params["tables"]["item"], batch)), {}

    tx = optax.sgd(0.1)
    params = {"tables": {"item": jnp.ones((5, 2))}, "net": {}}
    step = jax.jit(make_lazy_step(loss, tx))
    with pytest.raises(InputError, match=f"flag --lazy_rows: .*{message}"):
        step((params, tx.init(params), new_slots(params)), jnp.array([0, 1, 1]), jax.random.key(0))
