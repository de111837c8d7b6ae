"""Optax transforms from the settings of a training."""

from typing import Any

import jax
import optax

from ancf_jax.settings import TrainConfig
from ancf_jax.types import Params


def make_schedule(config: TrainConfig, steps: int) -> optax.Schedule:
    """The learning rate over `steps`: constant, cosine after a linear warm-up, or cosine cycles that restart.

    What `config` leaves to the model is decided before, see loop.settled.
    """
    rate: Any = config.learning_rate  # a search may trace it
    if config.schedule == "cosine":
        warmup = int(config.warmup * steps)
        return optax.warmup_cosine_decay_schedule(0.0, rate, warmup, max(steps, warmup + 1))
    if config.schedule == "cyclical":
        length = max(steps // config.cycles, 1)
        cycle = optax.cosine_decay_schedule(rate, length, alpha=0.05)
        return optax.join_schedules([cycle] * config.cycles, [length * n for n in range(1, config.cycles)])
    return optax.constant_schedule(rate)


def make_optimizer(config: TrainConfig, steps: int) -> optax.GradientTransformation:
    """The Optax transform for `steps` steps in all. Weight decay is on the net's kernels alone, see `is_kernel`."""
    schedule = make_schedule(config, steps)
    scale = {"adam": optax.scale_by_adam, "adagrad": optax.scale_by_rss, "sgd": optax.identity}[config.optimizer]()

    def kernels(params: Params) -> Any:
        return jax.tree_util.tree_map_with_path(lambda path, x: is_kernel(path), params)

    parts = [scale]
    if config.clip:
        parts.insert(0, optax.clip_by_global_norm(config.clip))
    if config.weight_decay:
        parts.append(optax.add_decayed_weights(config.weight_decay, kernels))
    return optax.chain(*parts, optax.scale_by_learning_rate(schedule))


def is_linear(config: TrainConfig) -> bool:
    """Whether a table's update is its gradient times a number that hangs on the step alone."""
    return config.optimizer == "sgd" and not config.clip


def is_kernel(path: Any) -> bool:
    """Whether a leaf of the params is a matrix of a layer: below `net`, and called a kernel.

    So neither tables nor biases, positions, recency and scales are drawn towards zero.
    """
    top, *rest = (key.key for key in path)
    return top == "net" and any("kernel" in key for key in rest)
