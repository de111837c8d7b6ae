"""Several trials trained at once by one compiled program: vmap over hyperparameters that are numbers.

In a run of its own such numbers, a learning rate or a penalty, are constants of compiled programs, so that every trial
compiles again. Here they are arguments. What is no number is the same for all trials of a batch, and so is a number on
which a program itself hangs: where 0 leaves something out, or the host computes with it.

The trials are those that training one after the other makes, but for rounding: XLA folds constants where it cannot fold
arguments.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ancf_jax.config import Range, Space, settings_of
from ancf_jax.data.dataset import Dataset
from ancf_jax.runs.fit import Judge, validator
from ancf_jax.runs.run import Run, build
from ancf_jax.settings import EvalConfig
from ancf_jax.training.batches import Order, order_of, steps_of, steps_per_epoch
from ancf_jax.training.loop import TrainState, exhausted, init_state, last_epoch, make_epoch, settled, trouble
from ancf_jax.training.optimizers import make_optimizer
from ancf_jax.tuning.space import is_whole
from ancf_jax.types import Array, Given, Recommender

Numbers = Mapping[str, Array]  # settings by name


class Program(NamedTuple):
    """A run whose numbers are arguments, for a batch of trials."""

    model: Recommender  # of the run itself
    init: Callable[[Numbers], TrainState]  # numbers [K] -> states
    epoch: Callable[..., tuple[TrainState, dict[str, Array]]]  # states, given, order, key, numbers [K] -> states, sums
    evaluate: Judge  # of one trial's numbers and parameters


def numbers_in(run: Run, dataset: Dataset, space: Space) -> tuple[str, ...]:
    """What of the space can be an argument of the run's programs: what traces as one."""
    if run.warm_start or run.train.lazy_rows:
        return ()
    _, model = build(run, dataset)
    names = [name for name, each in space.items() if isinstance(each, Range) and not is_whole(run, name)]
    return tuple(name for name in names if _traces(run, dataset, model, name))


def _traces(run: Run, dataset: Dataset, model: Recommender, name: str) -> bool:
    """Whether initialisation, an epoch and what scoring starts from can be traced with this setting as an argument."""
    order = order_of(model.learn, run.train.batch_size, run.train.seed, 1)

    def whole(number: Array) -> Any:
        changed = _with_numbers(run, {name: number})
        _, made = build(changed, dataset)
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(made.given)):
            raise TypeError("the data that the model is given hang on it")
        state, _ = _epoch(changed, made, _state(changed, made), model.given, order, jax.random.key(0))
        return made.prepare(state.params, model.given)

    try:
        jax.eval_shape(whole, jax.ShapeDtypeStruct((), jnp.float32))
    except TypeError:  # what JAX says where Python or NumPy want to know the number
        return False
    return True


def program_of(run: Run, dataset: Dataset, evaluation: EvalConfig) -> Program:
    """The programs of a run, whatever numbers they are given; compiled as they are called first."""
    data, model = build(run, dataset)

    def made(numbers: Numbers) -> tuple[Run, Recommender]:
        changed = _with_numbers(run, numbers)
        return changed, build(changed, dataset)[1]

    def init(numbers: Numbers) -> TrainState:
        return _state(*made(numbers))

    def epoch(state: TrainState, given: Given, order: Order, key: Array, numbers: Numbers) -> Any:
        return _epoch(*made(numbers), state, given, order, key)

    def prepare(params: tuple[Numbers, Any], given: Given) -> tuple[Numbers, Any]:
        return params[0], made(params[0])[1].prepare(params[1], given)

    def with_ready(name: str) -> Callable[..., Any]:
        return lambda ready, *rest: getattr(made(ready[0])[1], name)(ready[1], *rest)

    names = [name for name, part in model._asdict().items() if callable(part) and name != "prepare"]
    scoring: dict[str, Any] = {name: with_ready(name) for name in names}
    judged = model._replace(prepare=prepare, **scoring)
    return Program(
        model,
        jax.jit(jax.vmap(init)),
        jax.jit(jax.vmap(epoch, in_axes=(0, None, None, None, 0)), donate_argnums=0),
        validator(run, dataset, data, judged, evaluation),
    )


def learn_together(
    program: Program,
    run: Run,
    batch: Sequence[Mapping[str, float]],
    *,
    watch: Callable[[int, dict[str, Any]], bool],
    stop: Callable[[], bool],
) -> None:
    """Train the run with each of the numbers in `batch`, as training.loop.fit does with one.

    `watch` is told each epoch's record of trial k, until it answers that the trial is over; `stop` is asked after each
    epoch whether it is to be the last.
    """
    train, learn, total = run.train, program.model.learn, last_epoch(program.model.learn, run.train)
    numbers = {name: jnp.asarray([each[name] for each in batch], jnp.float32) for name in batch[0]}
    state, records = program.init(numbers), [list[dict[str, Any]]() for _ in batch]
    going = set(range(len(batch)))
    for epoch in range(1, total + 1):
        started, key = time.perf_counter(), jax.random.fold_in(jax.random.key(train.seed), epoch)
        order = order_of(learn, train.batch_size, train.seed, epoch)
        state, sums = program.epoch(state, program.model.given, order, key, numbers)
        totals = jax.device_get(sums)
        jax.block_until_ready(state)
        seconds, last = (time.perf_counter() - started) / len(batch), epoch == total or stop()
        for k in sorted(going):
            record: dict[str, Any] = {"epoch": epoch, "seconds": seconds}
            own = {name: float(total[k]) for name, total in totals.items()}
            if "loss" in own:
                record["loss"] = own["loss"] / max(own["count"], 1)
            if wrong := trouble(epoch, own, steps_of(order)):
                record["wrong"] = wrong
            elif last or epoch % train.eval_every == 0:
                mine = jax.tree.map(lambda leaf, k=k: leaf[k], (numbers, state.params))
                record |= program.evaluate(mine).metrics
            records[k].append(record)
            if not watch(k, record) or exhausted(records[k], train):
                going.discard(k)
        if last or not going:
            return


def _state(run: Run, model: Recommender) -> TrainState:
    return init_state(model, _optimizer(run, model), run.train.seed)


def _epoch(run: Run, model: Recommender, state: TrainState, given: Given, order: Order, key: Array) -> Any:
    return make_epoch(model.learn, _optimizer(run, model))(state, given, order, key)


def _optimizer(run: Run, model: Recommender) -> Any:
    train = settled(run.train, model.learn)
    return make_optimizer(train, steps_per_epoch(model.learn, train.batch_size) * int(train.epochs))


def _with_numbers(run: Run, numbers: Numbers) -> Run:
    """The run with these settings, which are not checked: they may be traced."""
    return run._replace(config=_replaced(run.config, numbers), train=_replaced(run.train, numbers))


def _replaced(config: Any, numbers: Numbers) -> Any:
    parts: dict[str, dict[str, Array]] = {}
    for name, setting in settings_of(type(config)).items():
        if name in numbers:
            parts.setdefault(setting.part, {})[name] = numbers[name]
    own = parts.pop("", {})
    inner = {part: dataclasses.replace(getattr(config, part), **given) for part, given in parts.items()}
    return dataclasses.replace(config, **own, **inner)
