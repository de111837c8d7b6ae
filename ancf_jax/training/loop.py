"""Training of any recommender: one donated, jitted scan per epoch, and the loop around it.

An epoch depends on (seed, epoch) alone: its order is permuted on the host with that pair, its keys are folded from it.
So a run resumed from the state after an epoch repeats the uninterrupted run bit for bit.
"""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from ancf_jax.config import AUTO
from ancf_jax.devices.sharding import axis_size, check_batch, constrain, join, replicate, split
from ancf_jax.evaluation.metrics import merit
from ancf_jax.settings import TrainConfig
from ancf_jax.training.batches import Order, batch_of, keys_of, mean_over, order_of, sampled, steps_of
from ancf_jax.training.lazy_rows import Loss, make_direct_step, make_lazy_step, new_slots
from ancf_jax.training.meanwhile import meanwhile
from ancf_jax.training.optimizers import is_linear
from ancf_jax.training.signals import put_off
from ancf_jax.types import Array, ClosedForm, Given, Gradient, Interactions, Params, Recommender, moved


class TrainState(NamedTuple):
    """Arrays only: what training carries from one epoch to the next."""

    epoch: Array  # [] int32, epochs done
    params: Params
    opt_state: Any


FINITE = "finite"  # of an epoch's sums: whether what it ends with is finite
STEPS = "finite_steps"  # and how many steps there are until a loss is not
SMALLER = "try a smaller --learning_rate, --clip, or --precision=float32"
VALUES = "are values too large? Try --clip_quantile or --target=min-max; of a closed form a larger penalty"
Epoch = Callable[..., tuple[TrainState, dict[str, Array]]]  # state, given, order, key -> state, sums


def settled(config: TrainConfig, learn: Gradient | ClosedForm) -> TrainConfig:
    """The settings with what is left to the model decided. Sweeps have no rate, and their own number."""
    own = Gradient._field_defaults if isinstance(learn, ClosedForm) else learn._asdict()
    left = {name: own[name] for name in ("epochs", "learning_rate", "schedule")}
    return replace(config, **{name: value for name, value in left.items() if getattr(config, name) == AUTO})


def epochs_of(learn: Gradient | ClosedForm, epochs: int) -> int:
    """How many epochs there are: a closed form has its own number of sweeps."""
    return learn.sweeps if isinstance(learn, ClosedForm) else epochs


def last_epoch(learn: Gradient | ClosedForm, config: TrainConfig) -> int:
    """The epoch that training ends with, if nothing stops it earlier."""
    epochs = epochs_of(learn, int(settled(config, learn).epochs))
    return min(epochs, config.until) if config.until else epochs


def make_step(loss: Loss, tx: optax.GradientTransformation) -> Callable:
    """(params, opt_state), batch, key -> (params, opt_state), sums: one gradient step."""

    def step(carry: tuple[Params, Any], batch: Any, key: Array) -> tuple[tuple[Params, Any], dict[str, Array]]:
        params, opt_state = carry
        moving = moved(params)
        slope = jax.value_and_grad(lambda part: loss({**params, **part}, batch, key), has_aux=True)
        (_, sums), gradient = slope(moving)
        updates, opt_state = tx.update(gradient, opt_state, moving)
        return ({**params, **optax.apply_updates(moving, updates)}, opt_state), sums

    return step


def make_epoch(
    learn: Gradient | ClosedForm,
    tx: optax.GradientTransformation,
    *,
    lazy_rows: bool = False,
    linear: bool = False,
    mesh: Mesh | None = None,
) -> Epoch:
    """One pass over the training rows in an `order`, or one sweep of a closed form: jitted, the state donated.

    With `lazy_rows`, a step reads and writes only the table rows that its batch touches, most directly if the updates
    of `tx` are `linear`; errors as in lazy_rows.py.
    """

    @partial(jax.jit, donate_argnums=0)
    def sweep(state: TrainState, given: Given, order: Order, key: Array):
        params = learn.sweep(state.params, given, key)  # type: ignore[union-attr]
        return constrain(TrainState(state.epoch + 1, params, state.opt_state), mesh), {FINITE: _are_finite(params)}

    @partial(jax.jit, donate_argnums=0)
    def epoch(state: TrainState, given: Given, order: Order, key: Array):
        advance = learn.advance  # type: ignore[union-attr]
        params = state.params if advance is None else advance(state.params, state.epoch + 1)
        carry: tuple = (params, state.opt_state)

        def loss(params: Params, batches: list[Any], key: Array) -> tuple[Array, dict[str, Array]]:
            keys = keys_of(key, len(batches))
            return mean_over([learn.loss(params, given, *each) for each in zip(batches, keys, strict=True)])  # type: ignore[union-attr]

        if lazy_rows and linear:
            step = make_direct_step(loss, tx)
        elif lazy_rows:
            step, carry = make_lazy_step(loss, tx), (*carry, new_slots(params))
        else:
            step = make_step(loss, tx)

        def body(carry, x):
            rows, key = x
            draw, drop = jax.random.split(key)
            return step(carry, sampled(learn, given, rows, draw), drop)  # type: ignore[arg-type]

        keys = jax.random.split(key, steps_of(order))
        (params, opt_state, *_), sums = jax.lax.scan(body, carry, (order, keys))
        health = {FINITE: _are_finite((params, opt_state)), STEPS: jnp.cumprod(jnp.isfinite(sums["loss"]))}
        return constrain(TrainState(state.epoch + 1, params, opt_state), mesh), jax.tree.map(jnp.sum, sums | health)

    return sweep if isinstance(learn, ClosedForm) else epoch


def epoch_by(
    model: Recommender, config: TrainConfig, tx: optax.GradientTransformation, mesh: Mesh | None = None
) -> Epoch:
    """`make_epoch` of a model as it is trained by these settings."""
    return make_epoch(model.learn, tx, lazy_rows=config.lazy_rows, linear=is_linear(config), mesh=mesh)


def init_state(model: Recommender, tx: optax.GradientTransformation, seed: int, mesh: Mesh | None = None) -> TrainState:
    """The state before the first epoch."""
    learn = model.learn

    @jax.jit
    def begin(key: Array, given: Given) -> tuple[Params, Any]:
        params = learn.init(key, given)
        return params, () if isinstance(learn, ClosedForm) else constrain(tx.init(moved(params)), mesh)

    params, opt_state = begin(jax.random.fold_in(jax.random.key(seed), 0), model.given)
    state = TrainState(replicate(np.int32(0), mesh), params, opt_state)
    # On its device for good, as what a checkpoint gives is: an epoch after either is one program.
    return jax.device_put(state, jax.local_devices()[0]) if mesh is None else state


def _are_finite(tree: Any) -> Array:
    """Whether all numbers of a tree are finite."""
    floats = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.array([jnp.isfinite(leaf).all() for leaf in floats], bool).all()


def trouble(epoch: int, totals: dict[str, float], steps: int) -> str:
    """What is wrong with an epoch of so many steps that ended with these sums, and what to try; '' if nothing is."""
    if "loss" not in totals:
        return "" if totals[FINITE] else f"sweep {epoch} ends with numbers that are not finite; {VALUES}"
    if totals[STEPS] < steps:
        where = f"from step {int(totals[STEPS]) + 1} of {steps} on"
        return f"the training loss of epoch {epoch} is not finite {where}; {SMALLER}"
    if not totals[FINITE]:
        return f"epoch {epoch} of {steps} steps ends with parameters or moments that are not finite; {SMALLER}"
    return "" if math.isfinite(totals["loss"]) else f"the losses of epoch {epoch} are too large to be added; {VALUES}"


class Fit(NamedTuple):
    """What training returns: the records of all epochs, and the number of the best one."""

    records: list[dict[str, float]]
    best: int


def fit(
    model: Recommender,
    config: TrainConfig,
    state: TrainState,
    tx: optax.GradientTransformation,
    *,
    validate: Callable[[Params], dict[str, float]] | None,
    save: Callable[[TrainState, float, list[dict[str, Any]]], None],
    report: Callable[[dict[str, float]], None],
    records: list[dict[str, float]] | None = None,
    part: Callable[[int], Interactions] | None = None,
    stop: Callable[[], bool] | None = None,
    run_epoch: Epoch | None = None,
    mesh: Mesh | None = None,
) -> Fit:
    """Train from `state` to the last epoch, or until validation has not improved `patience` times in a row.

    `validate` gives the metrics of params; `save` receives (state, value that is greatest for the best epoch, records
    so far) at every evaluation and at the end, and of what training starts from if the model `ranks` that, which is
    done while the first epoch trains; `report` receives each epoch's record once it is saved. Ctrl-C and SIGTERM wait
    until the running epoch is saved. `stop` is asked after each epoch whether it is to be the last, as when time is
    over. `records` are those of the epochs that `state` has behind it. With `part`, an epoch trains on part(epoch), the
    rows that this process has read, in place of the training part, and is saved whether or not it is evaluated.
    `run_epoch` is `epoch_by`, if it was made before. `model` and `state` were made for the same `mesh`, whose processes
    all call this function.

    Raises FloatingPointError when a loss, a parameter or a moment is not finite: nothing of that epoch is saved; and if
    validation never gave a number. Raises InputError if the data axis of the mesh does not divide a batch.
    """
    records = list(records or [])
    epochs = last_epoch(model.learn, config)
    check_batch(batch_of(model.learn, config.batch_size), mesh)
    run_epoch = run_epoch or epoch_by(model, config, tx, mesh)
    given = model.given
    tell_of_start: Callable[[], None] | None = None
    if isinstance(model.learn, Gradient) and model.learn.ranks and validate is not None and not records:
        first = jax.tree.map(jnp.copy, state)  # the first epoch takes `state` itself
        ranked = meanwhile(partial(validate, first.params))
        if mesh is not None:
            ranked()  # programs of several devices wait for each other: one at a time

        def tell_of_start() -> None:
            records.append(start := {"epoch": 0, "seconds": 0.0} | ranked())
            save(first, _worth(start, config), records)
            report(start)

    with put_off() as ending:
        for epoch in range(int(state.epoch) + 1, epochs + 1):
            if exhausted(records, config):
                break
            started = time.perf_counter()
            if part is not None:
                rows = part(epoch)
                given = given._replace(train=Interactions(*join(rows[:4], mesh), *replicate(rows[4:], mesh)))
            key = jax.random.fold_in(jax.random.key(config.seed), epoch)
            order = order_of(model.learn, config.batch_size, config.seed, epoch, axis_size(mesh, "data"))
            state, sums = run_epoch(state, given, split(order, mesh, axis=1), key)
            totals = {name: float(value) for name, value in jax.device_get(sums).items()}
            jax.block_until_ready(state)
            record: dict[str, float] = {"epoch": epoch, "seconds": time.perf_counter() - started}
            if tell_of_start is not None:
                tell_of_start()
                tell_of_start = None
            if wrong := trouble(epoch, totals, steps_of(order)):
                raise FloatingPointError(wrong)
            if "loss" in totals:
                record["loss"] = totals["loss"] / max(totals["count"], 1)
            last = epoch == epochs or (stop is not None and stop())
            due = last or epoch % config.eval_every == 0
            if due and validate is not None:
                record |= validate(state.params)
            records.append(record)
            ended = ending()
            if due or part is not None or ended:
                save(state, float(epoch) if validate is None else _worth(record, config), records)
            report(record)
            if last or ended:
                break
    if tell_of_start is not None:  # no epoch was asked for
        tell_of_start()
    if validate is not None and records and not any(math.isfinite(_worth(record, config)) for record in records):
        raise FloatingPointError(f"validation {config.metric} is a number in no epoch; {VALUES}")
    return Fit(records, best_epoch(records, config, validated=validate is not None))


def _worth(record: dict[str, float], config: TrainConfig) -> float:
    """What the best epoch is picked by: the greatest; -inf where there is no number."""
    value = merit(config.metric, record.get(config.metric, math.nan))
    return value if math.isfinite(value) else -math.inf


def best_epoch(records: list[dict[str, float]], config: TrainConfig, *, validated: bool) -> int:
    """The evaluated epoch with the best metric, the earliest of equals; the last one without validation."""
    evaluated = [record for record in records if config.metric in record]
    if not validated or not evaluated:
        return int(records[-1]["epoch"])
    return int(max(evaluated, key=lambda record: _worth(record, config))["epoch"])


def exhausted(records: list[dict[str, float]], config: TrainConfig) -> bool:
    """Whether the last `patience` evaluations of what was trained brought nothing better than the best before them.

    What ranks before its first epoch may be ahead of the first ones, which says nothing of those to come.
    """
    values = [_worth(record, config) for record in records if config.metric in record and record["epoch"]]
    if not config.patience or len(values) <= config.patience:
        return False
    return max(values[-config.patience :]) <= max(values[: -config.patience])
