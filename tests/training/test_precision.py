"""bfloat16 arithmetic: close to float32's, in bfloat16 where it should be and nowhere else."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from ancf_jax.config import from_json, settings_of
from ancf_jax.data.interactions import build
from ancf_jax.data.samplers import take_window
from ancf_jax.evaluation.topk import best_items
from ancf_jax.models import MODELS
from ancf_jax.settings import TrainConfig
from ancf_jax.training.lazy_rows import make_lazy_step, new_slots
from ancf_jax.training.loop import make_step
from ancf_jax.training.optimizers import make_optimizer
from ancf_jax.training.precision import in_bfloat16, narrow
from ancf_jax.types import Data, Given, Gradient, Query, Recommender, as_they_are, shapes_of

USERS, ITEMS = 10, 22
ROUNDING = 2**-8.5  # what a number may lose of itself in bfloat16, with its 8 bits: from 2^-9 to 2^-8
QUICK = {"xla_backend_optimization_level": 0}  # compiling takes longer than running
SMALL = {
    "factors": 4,
    "hidden": 4,
    "tower_factors": 2,
    "tower": (6, 4),
    "history": 5,
    "window": 4,
    "negatives": 3,
    "targets": 2,
}
VARIANTS = {
    "abcf": {"tower": ()},
    # Quick to compile; and in hstu the norms of 4 numbers multiply what rounding has done to a layer before.
    **{name: {"layers": 1} for name in ("esasrec", "hstu", "bert4rec")},
    **{name: {"layers": 2} for name in ("lightgcn", "ngcf")},
    "ancf, ordered": {"ordered": True, "heads": 2, "tower": ()},
    "ancf, ordered with a layer and a tower": {"ordered": True, "layers": 1, "prior": 0.0},  # which is held, in float32
}


@cache
def data():
    rng = np.random.default_rng(0)
    pairs = np.array([(user, item) for user in range(USERS) for item in rng.permutation(ITEMS)[: 3 + user % 4]])
    train = build(pairs[:, 0], pairs[:, 1], np.ones(len(pairs)), rng.permutation(len(pairs)), USERS)
    return Data(USERS, ITEMS, train, np.ones((ITEMS, 2), np.float32))


@cache
def model_of(name):
    entry = MODELS[name.partition(",")[0]]
    values = SMALL | VARIANTS.get(name, {})
    own = {name: value for name, value in values.items() if name in settings_of(entry.config)}
    return entry.make(from_json(entry.config, own), data())


def params_of(model):
    """N(0, 0.5^2), with the zero rows that tables end with."""
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: rng.normal(0, 0.5, leaf.shape).astype(np.float32), shapes_of(model))
    for table in params["tables"].values():
        table[-1] = 0
    return params


def queries(model, given):
    """All users, with their histories."""
    train, users = given.train, jnp.arange(USERS)
    return Query(users, *take_window(train, users, jnp.asarray(train.offsets)[users + 1], model.history, ITEMS))


def batch_of(model, given, key):
    return model.learn.sample(key, given, jnp.arange(4) % model.learn.rows)


PARTS = ("gmf", "mlp")  # of neumf, which has all of theirs
NAMES = [
    name for name in (*MODELS, "ancf, ordered") if isinstance(model_of(name).learn, Gradient) and name not in PARTS
]


@cache
def results(name):
    """In float32: scores, loss and more; and the gradient. In bfloat16: the same, and lists."""
    model, key = model_of(name), jax.random.key(1)

    @partial(jax.jit, compiler_options=QUICK)
    def all_of(params, given):
        query, batch = queries(model, given), batch_of(model, given, key)

        def of(model, ready):
            found = {"scores": model.score(ready, query)}
            found |= {"embed": model.embed(ready, query)} if model.embed else {}
            found |= {"attend": model.attend(ready, query, query.users[:, None])} if model.attend else {}
            loss, gradient = jax.value_and_grad(model.learn.loss, has_aux=True)(params, given, batch, key)
            return found | {"loss": loss}, gradient

        low = in_bfloat16(model)
        ready = low.prepare(params, given)
        lists = best_items(low, ready, query, jnp.full((USERS, 1), ITEMS), ITEMS)
        return of(model, model.prepare(params, given)), of(low, ready), lists

    return all_of(params_of(model), model.given)


@pytest.mark.parametrize("name", NAMES)
def test_results_are_float32_and_close_to_those_of_float32(name):
    (expected, exact), (found, gradient), _ = results(name)
    assert jax.tree.map(lambda x: x.dtype, found) == jax.tree.map(lambda x: x.dtype, expected)
    errors = jax.tree.map(lambda a, b: float(np.abs(a - b).max() / np.abs(b).max()), *jax.device_get((found, expected)))
    assert max(jax.tree.leaves(errors)) < 5 * ROUNDING
    assert errors["scores"] > ROUNDING / 5  # else they were not taken in bfloat16 at all
    gradient, exact = jax.device_get((gradient, exact))
    assert all(leaf.dtype == np.float32 and np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    a, b = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]) for tree in (gradient, exact))
    assert a @ b > 0.99 * np.linalg.norm(a) * np.linalg.norm(b)


@pytest.mark.parametrize("name", NAMES)
def test_lists_rank_the_numbers_that_evaluation_ranks(name):
    """None of them rounded to the 8 bits of bfloat16, which would tie many items."""
    (exact, _), (found, _), lists = results(name)
    scores, items, best = map(np.asarray, (found["scores"], *lists))
    rounding = 1e-5 * np.abs(scores).max()  # of sums in another order
    in_lists = np.take_along_axis(scores, items, axis=1)
    assert scores.dtype == np.float32 and (np.sort(items, axis=1) == np.arange(ITEMS)).all()
    assert (np.diff(in_lists, axis=1) <= rounding).all()
    np.testing.assert_allclose(best, in_lists, atol=rounding)
    assert all(np.mean(each == each.astype(jnp.bfloat16)) < 0.1 for each in (scores, np.asarray(exact["scores"])))
    # As a program says it: a compiler may leave a rounding out on one device, but not on another.
    model = model_of(name)
    own = jax.eval_shape(lambda params: model.prepare(jax.tree.map(narrow, params), model.given), params_of(model))
    asked = jax.eval_shape(partial(queries, model), model.given)
    assert jax.eval_shape(model.score, own, asked).dtype == jnp.float32


def equations(jaxpr):
    """Every equation of a jaxpr and of those inside it."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from equations(inner)


def operands(name, *primitives):
    """(primitive, types of its operands, shapes of its operands) in a training step of the model in bfloat16."""
    model = model_of(name)
    params, key = params_of(model), jax.random.key(0)
    batch = jax.eval_shape(lambda: batch_of(model, model.given, key))
    slope = jax.grad(lambda *args: in_bfloat16(model).learn.loss(*args)[0])
    traced = jax.make_jaxpr(slope)(params, model.given, batch, key)
    for equation in equations(traced.jaxpr):
        if equation.primitive.name in primitives:
            yield [x.aval.dtype for x in equation.invars], [x.aval.shape for x in equation.invars]


@pytest.mark.parametrize("name", ["neumf", "ancf, ordered with a layer and a tower"])
def test_products_are_bfloat16_and_exponentials_float32(name):
    products = [types for types, _ in operands(name, "dot_general")]
    assert len(products) > 5 and {kind for types in products for kind in types} == {jnp.bfloat16.dtype}
    exponentials = [types for types, _ in operands(name, "exp", "log", "log1p")]
    assert exponentials and {kind for types in exponentials for kind in types} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", ["neumf", "ancf, ordered with a layer and a tower"])
def test_no_table_is_cast_as_a_whole(name):
    cast = [shape for types, (shape,) in operands(name, "convert_element_type") if types == [np.float32]]
    assert len(cast) > 5 and not [shape for shape in cast if shape[:1] in ((USERS + 1,), (ITEMS + 1,))]


def toy(loss):
    learn = Gradient(1, None, None, lambda params, given, batch, key: (loss(params, batch), {}))
    return in_bfloat16(Recommender(learn, Given(data().train), 0, as_they_are, lambda *args: None)).learn


def test_a_table_read_as_a_whole_is_cast():
    seen = []

    def loss(params, ids):
        tables = params["tables"]
        seen.extend([tables["whole"].dtype, tables["rows"][ids].dtype, params["net"]["count"].dtype])
        return jnp.sum(tables["whole"]) * jnp.sum(tables["rows"][ids])

    params = {"tables": {"whole": jnp.ones((3, 2)), "rows": jnp.ones((3, 2))}, "net": {"count": jnp.int32(1)}}
    value, _ = toy(loss).loss(params, None, jnp.array([0, 1]), None)
    assert value == 24 and value.dtype == jnp.float32
    assert seen[-3:] == [jnp.bfloat16, jnp.bfloat16, jnp.int32]


def test_gradients_of_a_row_are_summed_in_float32():
    """1,000 times 1 is 256 when every sum is rounded to the 8 bits of bfloat16."""
    learn = toy(lambda params, ids: jnp.sum(params["tables"]["item"][ids].astype(jnp.float32)))
    ids = jnp.zeros(1000, jnp.int32)
    gradient = jax.grad(lambda params: learn.loss(params, None, ids, None)[0])(
        {"tables": {"item": jnp.ones((2, 1))}, "net": {}}
    )
    np.testing.assert_array_equal(gradient["tables"]["item"], [[1000], [0]])


def test_lazy_rows_in_bfloat16_are_the_dense_ones():
    model = in_bfloat16(model_of("neumf"))
    params, tx = params_of(model), make_optimizer(TrainConfig(optimizer="adagrad", learning_rate=0.1), 1)

    @partial(jax.jit, compiler_options=QUICK)
    def both(params, given):
        def loss(params, batch, key):
            return model.learn.loss(params, given, batch, key)

        start, key = (params, tx.init(params)), jax.random.key(1)
        batch = batch_of(model, given, key)
        (*lazy, _), _ = make_lazy_step(loss, tx)((*start, new_slots(params)), batch, key)
        return tuple(lazy), make_step(loss, tx)(start, batch, key)[0]

    lazy, dense = both(params, model.given)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), lazy, dense)
