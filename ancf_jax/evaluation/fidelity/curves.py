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

from ancf_jax.evaluation.metrics import hit_rate, ndcg
from ancf_jax.evaluation.ranks import full_ranks
from ancf_jax.nn.removal import without
from ancf_jax.types import LOG_ODDS, LOG_PROBABILITY, Array, Query, Recommender

STEPS = 10
KS = (5, 10, 20)
LOWER_IS_BETTER = (*(f"pos@{k}" for k in KS), "del", "cdcg")
METRICS = (*LOWER_IS_BETTER, "ins")


def recommended(model: Recommender, ready: Any, query: Query, hidden: Array) -> Array:
    """The best item [B] for each user of those that are not `hidden` [B, I]."""
    return jnp.argmax(jnp.where(hidden, -jnp.inf, model.score(ready, query)), axis=1)


def fidelity(
    model: Recommender, num_items: int, ready: Any, query: Query, hidden: Array, items: Array, weights: Array
) -> dict[str, Array]:
    """The metrics [B] of weights [B, H] of the interactions as reasons for `items` [B], ranked among all not hidden."""
    users, present = len(items), query.history < num_items
    order = jnp.argsort(jnp.where(present, -weights, jnp.inf), axis=1, stable=True)
    place, count = jnp.argsort(order, axis=1), present.sum(axis=1)  # place 0 is of the strongest

    def step(t: Array) -> dict[str, Array]:
        taken = place < (t * (count // STEPS) + jnp.minimum(t, count % STEPS))[:, None]
        both = [without(query, gone, num_items) for gone in (taken, ~taken)]
        scores = model.score(ready, jax.tree.map(lambda *parts: jnp.concatenate(parts), *both))
        ranks, _ = full_ranks(scores[:users], hidden, items[:, None])
        left, alone = (_probability(model, part, items) for part in (scores[:users], scores[users:]))
        found = {f"pos@{k}": hit_rate(ranks, k) for k in KS}
        return found | {"cdcg": ndcg(ranks, jnp.ones(users, int), num_items), "del": left, "ins": alone}

    return jax.tree.map(lambda value: value.mean(axis=0), jax.lax.map(step, jnp.arange(STEPS + 1)))


def _probability(model: Recommender, scores: Array, items: Array) -> Array:
    own = jnp.take_along_axis(scores, items[:, None], axis=1)[:, 0]
    if model.unit == LOG_ODDS:
        return jax.nn.sigmoid(own)
    return jnp.exp(own - jax.nn.logsumexp(scores, axis=1)) if model.unit == LOG_PROBABILITY else own
