"""Values of interactions (ratings, quantities): their biases, and heads that predict them from a model's scores.

    squared:  prediction mu + sigma s;  loss ((r - mu) / sigma - s)^2
    ordinal:  P(r <= v_k) = sigma(theta_k - s), theta ascending;  loss -log P(r);  prediction sum over k of v_k P(v_k)

with mu and sigma the mean and standard deviation of the training values, and over their distinct values v_1 < ... <
v_K. Ordinal takes from values their order alone, so that 2 and 3 may be further apart than 4 and 5 (McCullagh,
Regression Models for Ordinal Data, 1980; Koren & Sill, OrdRec: An Ordinal Model for Predicting Personalized Item Rating
Distributions, 2011). Its predictions ascend with s: they rank as scores do.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.types import Array, ArrayLike, InputError, Interactions, Query

RATING_LOSSES = ("squared", "ordinal")
MOST_LEVELS = 100


class Head(NamedTuple):
    """A loss of scores against values, and the predictions that go with it; `init()` is a part of the net's params."""

    init: Callable[[], dict[str, Array]]
    loss: Callable[[dict[str, Array], Array, Array], Array]  # params, scores [...], values [...] -> [...], float32
    predict: Callable[[dict[str, Array], Array], Array]  # params, scores [...] -> values [...]


def make_head(loss: str, values: ArrayLike) -> Head:
    """The head called `loss`, one of RATING_LOSSES, for training values [R].

    Raises InputError when there are too many distinct values for ordinal.
    """
    observed = np.asarray(values, np.float64)
    return _squared(observed) if loss == "squared" else _ordinal(observed)


def moments(values: ArrayLike) -> tuple[float, float]:
    """mu and sigma of training values [R]; 0 without any, and 1 where they do not vary."""
    observed = np.asarray(values, np.float64)
    return (float(observed.mean()), float(observed.std()) or 1.0) if len(observed) else (0.0, 1.0)


def damped_means(values: Array, ids: Array, count: int, damping: float) -> Array:
    """sum / (damping + number) of the values [R] of each id below `count`: [count]."""
    sums, numbers = (jnp.zeros(count).at[ids].add(part) for part in (values, 1.0))
    return sums / jnp.maximum(damping + numbers, 1.0)


def residuals(
    train: Interactions, num_users: int, num_items: int, item_damping: float, user_damping: float
) -> tuple[Array, Array, Array]:
    """mu [], b_i [I] and what they and b_u leave of the training values, r_ui - mu - b_i - b_u [R].

        b_i = sum_u (r_ui - mu) / (item_damping + n_i),    b_u = sum_j (r_uj - mu - b_j) / (user_damping + n_u)

    (Koren, Factor in the Neighbors, 2010).
    """
    users, items, values = map(jnp.asarray, train[:3])
    mean = values.mean()
    item_bias = damped_means(values - mean, items, num_items, item_damping)
    left = values - mean - item_bias[items]
    return mean, item_bias, left - damped_means(left, users, num_users, user_damping)[users]


def left_by(query: Query, mean: Array, item_bias: Array, user_damping: float) -> tuple[Array, Array]:
    """b_u [B] of a query's users, and what it and the other biases leave of their histories' values [B, H].

    item_bias [I + 1]; the values left are 0 at padding.
    """
    rated = query.history < len(item_bias) - 1
    left = jnp.where(rated, query.values - mean - item_bias[query.history], 0.0)
    user_bias = left.sum(1) / jnp.maximum(user_damping + rated.sum(1), 1.0)
    return user_bias, jnp.where(rated, left - user_bias[:, None], 0.0)


def _squared(values: np.ndarray) -> Head:
    mean, scale = moments(values)
    return Head(
        dict,
        lambda params, scores, values: ((values - mean) / scale - scores.astype(jnp.float32)) ** 2,
        lambda params, scores: mean + scale * scores.astype(jnp.float32),
    )


def _ordinal(values: np.ndarray) -> Head:
    levels, counts = np.unique(values, return_counts=True)
    if not 2 <= len(levels) <= MOST_LEVELS:
        raise InputError(
            f"flag --loss: ordinal needs 2 to {MOST_LEVELS} distinct values in training, not {len(levels)}; legal with "
            "these is a squared loss"
        )
    # Where scores are 0, the first probabilities are the training shares.
    share = np.cumsum(counts)[:-1] / counts.sum()
    start = np.log(share / (1 - share))  # theta [K - 1]
    middle = jnp.asarray((levels[:-1] + levels[1:]) / 2, jnp.float32)

    def init() -> dict[str, Array]:
        """theta_1, then the logarithms of the gaps theta_k - theta_k-1: [K - 1]."""
        return {"thresholds": jnp.asarray(np.append(start[0], np.log(np.diff(start))), jnp.float32)}

    def gaps_of(params: dict[str, Array]) -> Array:
        return jnp.exp(params["thresholds"][1:].astype(jnp.float32))  # [K - 2]

    def thresholds(params: dict[str, Array]) -> Array:
        return params["thresholds"][0] + jnp.pad(jnp.cumsum(gaps_of(params)), (1, 0))  # [K - 1]

    def log_loss(params: dict[str, Array], scores: Array, values: Array) -> Array:
        place = jnp.sum(values[..., None] > middle, axis=-1)  # [...] 0..K - 1
        bounds = jnp.pad(thresholds(params), 1, constant_values=(-jnp.inf, jnp.inf))  # [K + 1]
        below, above = (bounds[index] - scores.astype(jnp.float32) for index in (place, place + 1))
        # log(sigma(a) - sigma(b)) = log sigma(a) + log sigma(-b) + log(1 - e^(b - a)), and a - b without the scores,
        # which would cancel its digits.
        gap = jnp.pad(gaps_of(params), 1, constant_values=jnp.inf)[place]
        return -(jax.nn.log_sigmoid(above) + jax.nn.log_sigmoid(-below) + jnp.log(-jnp.expm1(-gap)))

    def predict(params: dict[str, Array], scores: Array) -> Array:
        # sum of v_k P(v_k) = v_1 + sum over k of (v_k+1 - v_k) P(r > v_k), without an array [..., K]
        def add(total: Array, step: tuple[Array, Array]) -> tuple[Array, None]:
            threshold, rise = step
            return total + rise * jax.nn.sigmoid(scores.astype(jnp.float32) - threshold), None

        rises = jnp.asarray(np.diff(levels), jnp.float32)
        total, _ = jax.lax.scan(add, jnp.full(scores.shape, levels[0], jnp.float32), (thresholds(params), rises))
        return total

    return Head(init, log_loss, predict)
