"""What work costs and what the machine could do: jobs to time, XLA's cost analysis, measured rates, compile time.

A job is one of the things that people wait for: an epoch or some steps of training, a full ranking, top-N lists.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun

from ancf_jax.data import splits
from ancf_jax.data.dataset import Dataset, all_interactions
from ancf_jax.data.interactions import build
from ancf_jax.evaluation.queries import query_users
from ancf_jax.evaluation.topk import best_items, top_k_inner
from ancf_jax.nn.layers import inner_products
from ancf_jax.runs.results import evaluator_of
from ancf_jax.settings import EvalConfig, TrainConfig
from ancf_jax.training.batches import order_of, steps_of, steps_per_epoch
from ancf_jax.training.loop import init_state, make_epoch, settled
from ancf_jax.training.optimizers import is_linear, make_optimizer
from ancf_jax.types import Array, ArrayLike, Data, Given, Params, Query, Recommender, as_they_are

SCORED = 256  # users in the block whose scoring is analysed


class Cost(NamedTuple):
    """What XLA counts in a compiled program."""

    flops: float
    bytes: float  # read and written by its operations; what caches hold is counted too


class Rates(NamedTuple):
    """What the machine does at best, measured."""

    flops: float  # a second, in a product of two large matrices
    bytes: float  # a second, read and written while negating a large array


class Job(NamedTuple):
    """Something to time: `run` does it once and waits for it."""

    run: Callable[[], Any]
    amount: float  # of `unit` in one run
    unit: str
    steps: int  # training steps or calls in one run
    cost: Callable[[], Cost]  # of one run; compiles
    params: Callable[[], Params]  # the model's, as they are now


def training(model: Recommender, config: TrainConfig, steps: int = 0) -> Job:
    """An epoch of training as `fit` runs it, or its first `steps` steps; each run goes on from the one before."""
    learn = model.learn
    whole = steps_per_epoch(learn, config.batch_size)
    config = settled(config, learn)
    tx = make_optimizer(config, whole * int(config.epochs))
    state = init_state(model, tx, config.seed)
    run_epoch = make_epoch(learn, tx, lazy_rows=config.lazy_rows, linear=is_linear(config))
    given = jax.tree.map(jnp.asarray, model.given)
    order = order_of(learn, config.batch_size, config.seed, 1)
    first = {width: rows[: steps or whole] for width, rows in order.items()}
    count, root = steps_of(first), jax.random.key(config.seed)
    epochs = 0

    def run() -> None:
        nonlocal state, epochs
        epochs += 1
        order = first if steps else order_of(learn, config.batch_size, config.seed, epochs)
        state, _ = run_epoch(state, given, order, jax.random.fold_in(root, epochs))
        jax.block_until_ready(state)

    def cost_of_run() -> Cost:
        step = {width: rows[:1] for width, rows in first.items()}
        one = cost(run_epoch, state, given, step, root)  # of one step, the quicker to compile
        return Cost(*(value * count for value in one))

    amount = len(given.train.users) * count / whole
    return Job(run, amount, "interactions", count, cost_of_run, lambda: state.params)


def ranking(model: Recommender, data: Data, dataset: Dataset, memory_budget: float) -> Job:
    """A full ranking of the test part with fresh parameters, in blocks that fit `memory_budget` GiB.

    Its cost is that of the scores alone.
    """
    params = jax.jit(model.learn.init)(jax.random.key(0), model.given)
    evaluate = evaluator_of(
        "test", model, data, dataset, EvalConfig(memory_budget=memory_budget), knows="valid", full=True
    )
    users = np.unique(dataset.test.users)

    def cost_of_run() -> Cost:
        block = np.resize(users, SCORED)
        query, _ = query_users(model, data, dataset.train, block.tolist())

        def score(params: Params, given: Given, query: Query) -> Array:
            return model.score(model.prepare(params, given), query)

        one = cost(score, params, model.given, query)
        return Cost(*(value * len(users) / SCORED for value in one))

    return Job(lambda: evaluate(params), len(users), "users", 1, cost_of_run, lambda: params)


def top_n(model: Recommender, data: Data, dataset: Dataset, queries: int, top_k: int, calls: int) -> Job:
    """`calls` times the top `top_k` of `queries` users each, with fresh parameters.

    What serving does once is done beforehand: prepare, and embed where a score is an inner product.
    """
    params = jax.jit(model.learn.init)(jax.random.key(0), model.given)
    ready = jax.jit(model.prepare)(params, model.given)
    users = np.resize(np.arange(data.num_users), queries)
    query, seen = query_users(model, data, all_interactions(dataset), users.tolist())
    best: Callable = jax.jit(lambda ready, query, seen: best_items(model, ready, query, seen, top_k))
    given = (ready, query, seen)
    if model.embed is not None:
        best = jax.jit(lambda user, item, seen: top_k_inner(user, item, seen, top_k))
        given = (*jax.jit(model.embed)(ready, query), seen)

    def run() -> None:
        for _ in range(calls):
            jax.block_until_ready(best(*given))

    def cost_of_run() -> Cost:
        return Cost(*(value * calls for value in cost(best, *given)))

    return Job(run, queries * calls, "users", calls, cost_of_run, lambda: params)


def inner_product(model: Recommender) -> Recommender:
    """The recommender whose parameters are user and item vectors, [U + 1, D] and [I, D]: score = <user_u, item_i>."""
    score = inner_products(lambda params, query: (params[0][query.users], params[1]))
    return Recommender(model.learn, model.given, 0, as_they_are, score)


def pad_factors(user: ArrayLike, item: ArrayLike) -> Params:
    """Parameters for `inner_product` from factors [U, D] and [I, D] learnt elsewhere; the unknown user scores 0."""
    return jnp.pad(jnp.asarray(user, jnp.float32), ((0, 1), (0, 0))), jnp.asarray(item, jnp.float32)


def synthetic(num_users: int, num_items: int, interactions: int, seed: int = 0) -> Dataset:
    """A log with popular items and active users, split by leave-one-out: P(item i) ~ (i + 1)^-1/2, users likewise.

    Repeated pairs are dropped, so it holds at most `interactions`.
    """
    rng = np.random.default_rng(seed)
    users, items = (np.floor(n * rng.random(interactions) ** 2).astype(np.int64) for n in (num_users, num_items))
    pairs = rng.permutation(np.unique(users * num_items + items))
    rows = np.arange(len(pairs))
    log = build(pairs // num_items, pairs % num_items, np.ones(len(pairs)), rows, num_users)
    parts = splits.leave_one_out(log)
    return Dataset(
        name=f"{num_users} x {num_items}",
        split="leave-one-out",
        user_ids=np.arange(num_users),
        item_ids=np.arange(num_items),
        titles=None,
        train=parts.train,
        valid=parts.valid,
        test=parts.test,
        valid_candidates=None,
        test_candidates=None,
        removed=[],
        fingerprint="",
    )


def cost(fn: Callable, *args: Any) -> Cost:
    """The cost of fn(*args), arrays or their shapes, by XLA's analysis of the compiled program.

    XLA counts the body of a loop once, so the bodies of scans are compiled and analysed by themselves as well and
    count as often as they run. Loops whose length is not known beforehand count once, and calls into libraries
    (a sort, a Cholesky factor) not at all: the result is a lower bound.
    """
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), args)
    closed = jax.make_jaxpr(fn)(*shapes)
    return Cost(*map(float, _once(closed) + _repeats(closed.jaxpr)))


def _once(closed: ClosedJaxpr) -> np.ndarray:
    """FLOPs and bytes [2] of a program whose loops run once."""
    shapes = [jax.ShapeDtypeStruct(x.aval.shape, x.aval.dtype) for x in closed.jaxpr.invars]
    analysis = jax.jit(jaxpr_as_fun(closed)).lower(*shapes).compile().cost_analysis() or {}
    return np.array([analysis.get("flops", 0.0), analysis.get("bytes accessed", 0.0)])


def _repeats(jaxpr: Jaxpr) -> np.ndarray:
    """What the repetitions of all scans in a program add to `_once`."""
    total = np.zeros(2)
    for equation in jaxpr.eqns:
        bodies = [x for x in jax.tree.leaves(list(equation.params.values())) if isinstance(x, ClosedJaxpr | Jaxpr)]
        length = equation.params["length"] if equation.primitive.name == "scan" else 1
        for body in bodies:
            total += length * _repeats(body.jaxpr if isinstance(body, ClosedJaxpr) else body)
            if isinstance(body, ClosedJaxpr) and length > 1:  # a scan's is always closed
                total += (length - 1) * _once(body)
    return total


def machine_rates(dtype: Any = jnp.float32, size: int = 2048, copied: int = 2**28) -> Rates:
    """The rates of a product of two [size, size] matrices and of reading and writing `copied` bytes: best of five."""
    matrix = jnp.ones((size, size), dtype)
    stream = jnp.ones(copied // matrix.dtype.itemsize, dtype)
    return Rates(
        2 * size**3 / _best_seconds(jax.jit(lambda x: x @ x), matrix),
        2 * stream.nbytes / _best_seconds(jax.jit(jnp.negative), stream),
    )


def _best_seconds(fn: Callable, x: Array) -> float:
    fn(x).block_until_ready()
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        fn(x).block_until_ready()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def compile_clock() -> Callable[[], float]:
    """A function that gives the seconds that JAX has spent tracing, lowering and compiling since this call."""
    total = 0.0

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
        nonlocal total
        if event.startswith("/jax/core/compile/"):
            total += duration_secs

    jax.monitoring.register_event_duration_secs_listener(listen)
    return lambda: total


def device_memory() -> int | None:
    """Bytes of an accelerator's memory held at most; None on the CPU, where that is the process's own."""
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
