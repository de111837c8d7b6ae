"""Lists whose items are unlike each other, by maximal marginal relevance.

    next = argmax over what is left of (1 - d) r_i - d max over the chosen j of alike(i, j)

r is the score, from 0 for the worst to 1 for the best of the items to choose from. Source: Carbonell & Goldstein, The
Use of MMR, Diversity-Based Reranking for Reordering Documents and Producing Summaries, 1998.
"""

from collections.abc import Callable

import numpy as np

POOL = 10  # times the length of a list: the best items by score, from which it is chosen


def diversified(
    items: np.ndarray, scores: np.ndarray, alike: Callable[[np.ndarray], np.ndarray], top_k: int, diversity: float
) -> np.ndarray:
    """The places [top_k] of the items chosen from `items` [n], best first, by their scores [n]; d in [0, 1].

    alike(items [m]) is their likeness to each other [m, m]. What has no finite score is padding, and comes last.
    """
    count = int(np.isfinite(scores).sum())
    low, high = scores[:count].min(initial=np.inf), scores[:count].max(initial=-np.inf)
    relevance = (scores[:count] - low) / (high - low) if high > low else np.ones(count)
    among, chosen = alike(items[:count]), np.zeros(0, np.int64)
    likest, left = np.full(count, -np.inf), np.ones(count, bool)
    for _ in range(min(top_k, count)):
        spread = np.where(np.isfinite(likest), likest, 0.0)
        best = int(np.argmax(np.where(left, (1 - diversity) * relevance - diversity * spread, -np.inf)))
        chosen, left[best] = np.append(chosen, best), False
        likest = np.maximum(likest, among[best])
    return np.concatenate([chosen, np.arange(count, len(items))])[:top_k]
