"""How true reasons are: what becomes of a recommendation as a history is taken away, its strongest reasons first.

The best item i of a user's list is explained by a weight of each of the n interactions of the history. In steps
t = 0..10, the m(t) interactions of the largest weights are taken out, m rising from 0 to n as evenly as whole numbers
can. With rank(t) that of i among all items that the user does not have, 1 being the best, the means over t are

    pos@k = mean [rank(t) <= k]                  del = mean p_i(history without these)
    cdcg  = mean 1 / log2(1 + rank(t))           ins = mean p_i(these alone)

where p_i makes a probability of the score, if it is known what makes one: 1 / (1 + e^-s) of log-odds, the softmax over
the catalogue of log-probabilities; otherwise p_i is the score itself. Lower is better, but for ins. What ties counts by
its expectation over random orders. Sources: O. Barkan et al., 2024, "A Counterfactual Framework for Learning and
Evaluating Explanations for Recommender Systems" (LXR); O. Barkan et al., 2026, "Fidelity-Aware Recommendation
Explanations via Stochastic Path Integration" (SPINRec), whose released code takes these 11 steps and their plain mean.
"""

from typing import Any

import jax
import jax.numpy as jnp

from ancf_jax.evaluation.fidelity.removal import without
from ancf_jax.evaluation.metrics import hit_rate, ndcg
from ancf_jax.evaluation.ranks import full_ranks
from ancf_jax.types import LOG_ODDS, LOG_PROBABILITY, Array, Query, Recommender

STEPS = 10
KS = (5, 10, 20)
LOWER_IS_BETTER = (*(f"pos@{k}" for k in KS), "del", "cdcg")
METRICS = (*LOWER_IS_BETTER, "ins")


def recommended(model: Recommender, ready: Any, query: Query, seen: Array, num_items: int) -> Array:
    """The best item [B] for each user of those that are not in `seen` [B, S], padded with I."""
    scores = model.score(ready, query)
    return jnp.argmax(jnp.where(_hidden(seen, num_items), -jnp.inf, scores), axis=1)


def fidelity(
    model: Recommender, num_items: int, ready: Any, query: Query, seen: Array, items: Array, weights: Array
) -> dict[str, Array]:
    """The metrics [B] of weights [B, W] of the latest W columns as reasons for `items` [B]."""
    users, length = query.history.shape
    weights = jnp.pad(weights, ((0, 0), (length - weights.shape[1], 0)))
    present = query.history < num_items
    order = jnp.argsort(jnp.where(present, -weights, jnp.inf), axis=1, stable=True)
    place = jnp.argsort(order, axis=1)  # 0 for the strongest
    count = present.sum(axis=1)
    hidden = _hidden(seen, num_items)

    def step(t: Array) -> dict[str, Array]:
        taken = place < (t * (count // STEPS) + jnp.minimum(t, count % STEPS))[:, None]
        scores = model.score(ready, without(query, taken, num_items))
        alone = model.score(ready, without(query, ~taken, num_items))
        ranks, _ = full_ranks(scores, hidden, items[:, None])
        found = {f"pos@{k}": hit_rate(ranks, k) for k in KS}
        found["cdcg"] = ndcg(ranks, jnp.ones(users, int), num_items)
        return found | {"del": _probability(model, scores, items), "ins": _probability(model, alone, items)}

    return jax.tree.map(lambda value: value.mean(axis=0), jax.lax.map(step, jnp.arange(STEPS + 1)))


def _hidden(seen: Array, num_items: int) -> Array:
    rows = jnp.arange(len(seen))[:, None]
    return jnp.zeros((len(seen), num_items), bool).at[rows, seen].set(True, mode="drop")


def _probability(model: Recommender, scores: Array, items: Array) -> Array:
    own = jnp.take_along_axis(scores, items[:, None], axis=1)[:, 0]
    if model.unit == LOG_ODDS:
        return jax.nn.sigmoid(own)
    return jnp.exp(own - jax.nn.logsumexp(scores, axis=1)) if model.unit == LOG_PROBABILITY else own
