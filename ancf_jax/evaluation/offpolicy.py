"""Off-policy evaluation: the reward that a policy would earn, estimated from rewards that another one logged.

For n logged choices a of a behaviour beta(a | s) with their rewards r, and the policy pi to be judged, each choice
counts w = min(pi(a | s) / beta(a | s), cap). A cap trades bias for variance (Ionides, Truncated Importance Sampling,
2008). Probabilities are given by their logarithms, for those of rare choices are 0 in float32 and their ratio is not.
"""

import numpy as np
from numpy.typing import ArrayLike

from ancf_jax.evaluation.value_errors import ratio_per_user
from ancf_jax.types import Interactions


def ips(reward: ArrayLike, log_pi: ArrayLike, log_beta: ArrayLike, cap: float = float("inf")) -> float:
    """Inverse propensity score: mean(w r) over arrays of one shape, without bias if no weight is capped.

    Source: D. Horvitz and D. Thompson, 1952, "A generalization of sampling without replacement from a finite universe".
    """
    return float(np.mean(_weights(log_pi, log_beta, cap) * np.asarray(reward)))


def snips(reward: ArrayLike, log_pi: ArrayLike, log_beta: ArrayLike, cap: float = float("inf")) -> float:
    """Self-normalised ips: sum(w r) / sum(w) over arrays of one shape; never outside the range of the rewards.

    0 if all weights are. Biased, by O(1 / n), but it does not move with the scale of the weights.
    Source: A. Swaminathan and T. Joachims, 2015, "The self-normalized estimator for counterfactual learning".
    """
    weights = _weights(log_pi, log_beta, cap)
    return float(np.sum(weights * np.asarray(reward)) / (weights.sum() or 1.0))


def per_user(
    held_out: Interactions, log_pi: np.ndarray, log_beta: np.ndarray, places: np.ndarray
) -> dict[str, np.ndarray]:
    """ips and snips of the held-out values, as values of users [E] whose means are the estimates over all pairs.

    `log_pi` and `log_beta` [W, P] are of the pairs at `places` in held_out, as value_errors.make_predictor has them.
    Every held-out pair is judged in the state that the known history leads to, the propensities are learnt, and nothing
    is capped.
    """
    reward = np.asarray(held_out.values, np.float64)
    logs = np.empty((2, len(reward) + 1))  # and a last one for padding
    logs[:, places] = log_pi, log_beta
    log_pi, log_beta = logs[:, :-1]
    weights, one = _weights(log_pi, log_beta, np.inf), np.ones(len(reward))
    plain, normalised = (estimate(reward, log_pi, log_beta) for estimate in (ips, snips))
    return {
        "ips": ratio_per_user(held_out, weights * reward, one, plain),
        "snips": ratio_per_user(held_out, weights * reward, weights, normalised),
    }


def _weights(log_pi: ArrayLike, log_beta: ArrayLike, cap: float) -> np.ndarray:
    """min(pi / beta, cap) in float64, where a ratio above exp(700) counts as that; 0 where pi is, whatever beta is."""
    log_beta = np.maximum(np.asarray(log_beta, np.float64), -1e300)
    return np.minimum(np.exp(np.minimum(np.asarray(log_pi, np.float64) - log_beta, 700)), cap)
