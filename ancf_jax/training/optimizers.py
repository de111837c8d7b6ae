"""Optax transforms from the settings of a training."""

from typing import Any

import jax
import optax

from ancf_jax.settings import TrainConfig
from ancf_jax.types import Params


def make_schedule(config: TrainConfig, steps: int) -> optax.Schedule:
    """The learning rate over `steps`: constant, cosine after a linear warm-up, or cosine cycles that restart."""
    rate = config.learning_rate
    if config.schedule == "cosine":
        warmup = int(config.warmup * steps)
        return optax.warmup_cosine_decay_schedule(0.0, rate, warmup, max(steps, warmup + 1))
    if config.schedule == "cyclical":
        length = max(steps // config.cycles, 1)
        cycle = optax.cosine_decay_schedule(rate, length, alpha=0.05)
        return optax.join_schedules([cycle] * config.cycles, [length * n for n in range(1, config.cycles)])
    return optax.constant_schedule(rate)


def make_optimizer(config: TrainConfig, steps: int) -> optax.GradientTransformation:
    """The Optax transform for `steps` steps in all. Weight decay is on the net's matrices alone, never on tables."""
    schedule = make_schedule(config, steps)
    scale = {"adam": optax.scale_by_adam, "adagrad": optax.scale_by_rss, "sgd": optax.identity}[config.optimizer]()

    def matrices(params: Params) -> Any:
        return jax.tree_util.tree_map_with_path(lambda path, x: path[0].key == "net" and x.ndim > 1, params)

    parts = [scale]
    if config.clip:
        parts.insert(0, optax.clip_by_global_norm(config.clip))
    if config.weight_decay:
        parts.append(optax.add_decayed_weights(config.weight_decay, matrices))
    return optax.chain(*parts, optax.scale_by_learning_rate(schedule))
