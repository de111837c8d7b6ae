"""Off-policy evaluation: the reward that a policy would earn, estimated from rewards that another one logged.

For n logged choices a of a behaviour beta(a | s) with their rewards r, and the policy pi to be judged, each choice
counts w = min(pi(a | s) / beta(a | s), cap). A cap trades bias for variance (Ionides, Truncated Importance Sampling,
2008).
"""

import jax.numpy as jnp
import numpy as np

from ancf_jax.evaluation.value_errors import ratio_per_user
from ancf_jax.types import Array, ArrayLike, Interactions


def ips(reward: ArrayLike, pi: ArrayLike, beta: ArrayLike, cap: float = float("inf")) -> Array:
    """Inverse propensity score: mean(w r) over arrays of one shape, without bias if no weight is capped.

    Source: D. Horvitz and D. Thompson, 1952, "A generalization of sampling without replacement from a finite universe".
    """
    return jnp.mean(_weights(pi, beta, cap) * jnp.asarray(reward))


def snips(reward: ArrayLike, pi: ArrayLike, beta: ArrayLike, cap: float = float("inf")) -> Array:
    """Self-normalised ips: sum(w r) / sum(w) over arrays of one shape; never outside the range of the rewards.

    0 if all weights are. Biased, by O(1 / n), but it does not move with the scale of the weights.
    Source: A. Swaminathan and T. Joachims, 2015, "The self-normalized estimator for counterfactual learning".
    """
    weights = _weights(pi, beta, cap)
    total = jnp.sum(weights)
    return jnp.sum(weights * jnp.asarray(reward)) / jnp.where(total > 0, total, 1.0)


def per_user(held_out: Interactions, pi: np.ndarray, beta: np.ndarray, places: np.ndarray) -> dict[str, np.ndarray]:
    """ips and snips of the held-out values, as values of users [E] whose means are the estimates over all pairs.

    `pi` and `beta` [W, P] are of the pairs at `places` in held_out, as errors.make_predictor has them. Every held-out
    pair is judged in the state that the known history leads to, the propensities are learnt, and nothing is capped.
    """
    reward = np.asarray(held_out.values, np.float64)
    weights = np.empty(len(reward) + 1)  # and a last one for padding
    weights[places] = np.asarray(pi, np.float64) / beta
    weights = weights[:-1]
    one = np.ones(len(reward))
    plain, normalised = (float(estimate(reward, weights, one)) for estimate in (ips, snips))
    return {
        "ips": ratio_per_user(held_out, weights * reward, one, plain),
        "snips": ratio_per_user(held_out, weights * reward, weights, normalised),
    }


def _weights(pi: ArrayLike, beta: ArrayLike, cap: float) -> Array:
    return jnp.minimum(jnp.asarray(pi) / jnp.asarray(beta), cap)
