"""Losses of a positive against its negatives, each `[...] x [..., N] -> [...]`: one loss per positive.

A row of negatives may be sampled (N of I items) or be the whole catalogue, the positive among them, and then
`catalogue_softmax` has the mean of its loss over many positives without all their scores at once.
"""

from typing import Any

import jax
import jax.numpy as jnp

from ancf_jax.types import LOG_ODDS, LOG_PROBABILITY, Array

SAMPLED_LOSSES = ("bce", "bpr", "sampled_softmax")
PAIR_LOSSES = (*SAMPLED_LOSSES, "full_softmax")
UNITS = {"bce": LOG_ODDS, "sampled_softmax": LOG_PROBABILITY, "full_softmax": LOG_PROBABILITY}  # of scores learnt by it
BLOCK = 1 << 21  # scores of the softmax over the catalogue that are in memory at once


def bce(positive: Array, negatives: Array, ratio: float) -> Array:
    """Binary cross-entropy: softplus(-s+) + ratio * mean_n softplus(s-_n).

    `ratio` is the weight of the negatives per positive: N for plain sums over sampled pairs (He et al., Neural
    Collaborative Filtering, 2017).

    >>> bool(jnp.allclose(bce(jnp.zeros(()), jnp.zeros(4), 4.0), 5 * jnp.log(2.0)))
    True
    """
    return jax.nn.softplus(-positive) + ratio * jnp.mean(jax.nn.softplus(negatives), axis=-1)


def gbce(positive: Array, negatives: Array, calibration: float, num_items: int) -> Array:
    """Generalised binary cross-entropy: -(log sigma(s+)^beta + sum_n log(1 - sigma(s-_n))) / (N + 1).

    beta = alpha (t (1 - 1 / alpha) + 1 / alpha) = 1 - t (1 - alpha), with alpha = N / (I - 1) the share of the others
    that is sampled, and t the calibration. Sampling makes positives too frequent, so that sigma(s) is above an item's
    probability: t = 0 is plain binary cross-entropy, and for t = 1 sigma(s) is that probability (Petrov & Macdonald,
    gSASRec: Reducing Overconfidence in Sequential Recommendation Trained with Negative Sampling, 2023).

    >>> bool(jnp.allclose(gbce(jnp.zeros(()), jnp.zeros(4), 0.0, 9), jnp.log(2.0)))
    True
    """
    count = negatives.shape[-1]
    beta = 1.0 - calibration * (1.0 - count / (num_items - 1))
    return (beta * jax.nn.softplus(-positive) + jnp.sum(jax.nn.softplus(negatives), axis=-1)) / (count + 1)


def bpr(positive: Array, negatives: Array) -> Array:
    """Bayesian personalised ranking: mean_n softplus(s-_n - s+) (Rendle et al., BPR, 2009)."""
    return jnp.mean(jax.nn.softplus(negatives - positive[..., None]), axis=-1)


def bpr_max(positive: Array, negatives: Array, score_l2: float) -> Array:
    """-log sum_n w_n sigma(s+ - s-_n) + score_l2 * sum_n w_n (s-_n)^2, with w the softmax of the negatives' scores.

    So the negatives that score highest count most, and their scores are kept small (Hidasi & Karatzoglou, Recurrent
    Neural Networks with Top-k Gains for Session-based Recommendations, 2018). In float32; a negative of -inf is absent.

    >>> bool(jnp.allclose(bpr_max(jnp.ones(()), jnp.ones(4), 0.5), jnp.log(2.0) + 0.5))
    True
    """
    positive, negatives = positive.astype(jnp.float32)[..., None], negatives.astype(jnp.float32)
    log_weights = jax.nn.log_softmax(jnp.maximum(negatives, -1e9), axis=-1)
    order = jax.nn.logsumexp(log_weights + jax.nn.log_sigmoid(positive - negatives), axis=-1)
    squares = jnp.where(negatives > -jnp.inf, negatives, 0.0) ** 2
    return score_l2 * jnp.sum(jnp.exp(log_weights) * squares, axis=-1) - order


def sampled_softmax(positive: Array, negatives: Array, num_items: int) -> Array:
    """-s+ + log(e^s+ + (I - 1) / N * sum_n e^s-_n): uniform negatives stand for all the others.

    The factor is the log-q correction of uniform sampling (Bengio & Senecal, Adaptive Importance Sampling, 2008), so
    the loss estimates the full softmax.
    """
    shift = jnp.log((num_items - 1) / negatives.shape[-1])
    return jnp.logaddexp(positive, jax.nn.logsumexp(negatives, axis=-1) + shift) - positive


def full_softmax(positive: Array, scores: Array) -> Array:
    """-s+ + log sum_i e^s_i over scores [..., I] of the whole catalogue, the positive among them."""
    return jax.nn.logsumexp(scores, axis=-1) - positive


def pair_loss(
    name: str, positive: Array, negatives: Array, *, num_items: int, ratio: float, calibration: float = 0.0
) -> Array:
    """The loss called `name`, one of PAIR_LOSSES or gbce, in float32; a negative of -inf counts as absent."""
    positive, negatives = positive.astype(jnp.float32), negatives.astype(jnp.float32)
    if name == "bce":
        return bce(positive, negatives, ratio)
    if name == "gbce":
        return gbce(positive, negatives, calibration, num_items)
    if name == "bpr":
        return bpr(positive, negatives)
    if name == "sampled_softmax":
        return sampled_softmax(positive, negatives, num_items)
    return full_softmax(positive, negatives)


def pair_squares(user_squares: Array, item_squares: Array) -> Array:
    """|e_u|^2 + |e_i|^2 + mean_j |e_j|^2 [B] from |e_u|^2 [B] and, positive first, those of items [B, 1 + N]."""
    return user_squares + item_squares[:, 0] + jnp.mean(item_squares[:, 1:], -1)


def masked_mean(values: Array, mask: Array) -> tuple[Array, dict[str, Array]]:
    """The mean of values where mask, and the sums to log: {'loss': sum, 'count': number}; in float32."""
    total = jnp.sum(jnp.where(mask, values.astype(jnp.float32), 0.0))
    count = jnp.sum(mask)
    return total / jnp.maximum(count, 1), {"loss": total, "count": count}


def catalogue_softmax(states: Array, item: Array, positive: Array, counted: Array) -> tuple[Array, dict[str, Array]]:
    """`masked_mean` of the full softmax, log sum_i e^<states_p, item_i> - s+_p, over the positives p that are counted.

    For states [..., D], item [I, D] and the positives' own scores [...] or, where a state has P of them, [..., P], of
    the shape of `counted`.
    """
    states = states.reshape(-1, states.shape[-1])
    total = sum_of_logs(states, item, jnp.sum(counted.reshape(len(states), -1), axis=1))
    mean, sums = masked_mean(-positive, counted)
    return mean + total / jnp.maximum(sums["count"], 1), {**sums, "loss": sums["loss"] + total}


def log_sums(states: Array, item: Array) -> Array:
    """log sum_i e^<states_t, item_i> of each state, [T] in float32, for states [T, D] and item [I, D].

    One block of scores is in memory at a time, and the gradient computes it again. Who needs only a weighted sum of
    them, with weights that do not hang on them, has `sum_of_logs` at less cost.
    """

    @jax.checkpoint
    def log_sum(state: Array) -> Array:
        return jax.nn.logsumexp(jnp.matmul(item, state, preferred_element_type=jnp.float32))

    return jax.lax.map(log_sum, states, batch_size=max(min(BLOCK // len(item), len(states)), 1))


@jax.custom_vjp
def sum_of_logs(states: Array, item: Array, times: Array) -> Array:
    """The sum over t of times_t log sum_i e^<states_t, item_i>, for states [T, D], item [I, D], times [T] int or bool.

    Scores are computed for the states that count at all, one block of them in memory at a time, and once: the gradient
    is the mean of the items' vectors under the softmax, and is taken along.
    """
    return logs_with_gradient(states, item, times)[0]


def logs_with_gradient(states: Array, item: Array, times: Array) -> tuple[Array, Any]:
    """The sum, and what `logs_backward` makes the gradient of."""
    length = max(min(BLOCK // len(item), len(states)), 1)
    order = jnp.nonzero(times, size=len(states) + length, fill_value=len(states))[0]

    def add(n: Array, sums: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        total, by_states, by_item = sums
        index = jax.lax.dynamic_slice_in_dim(order, n * length, length)
        rows = states.at[index].get(mode="fill", fill_value=0)  # [P, D], 0 behind the last
        weight = jnp.take(times, index, mode="fill", fill_value=0)[:, None].astype(jnp.float32)
        scores = jnp.matmul(rows, item.T, preferred_element_type=jnp.float32)  # [P, I]
        top = scores.max(1, keepdims=True)
        weights = jnp.exp(scores - top)
        scale = weights.sum(1, keepdims=True)
        logs = weight * (top + jnp.log(scale))
        weights, share = weights.astype(item.dtype), weight / scale
        mean = share * jnp.matmul(weights, item, preferred_element_type=jnp.float32)
        rows = (share * rows).astype(item.dtype)
        by_item = by_item + jnp.matmul(weights.T, rows, preferred_element_type=jnp.float32)
        return total + jnp.sum(logs), by_states.at[index].set(mean.astype(states.dtype), mode="drop"), by_item

    nothing = (jnp.zeros(()), jnp.zeros_like(states), jnp.zeros(item.shape))
    total, by_states, by_item = jax.lax.fori_loop(0, -(-jnp.count_nonzero(times) // length), add, nothing)
    return total, (by_states, by_item.astype(item.dtype))


def logs_backward(gradients: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array, None]:
    """The gradients by states and item."""
    by_states, by_item = gradients
    return cotangent.astype(by_states.dtype) * by_states, cotangent.astype(by_item.dtype) * by_item, None


sum_of_logs.defvjp(logs_with_gradient, logs_backward)
