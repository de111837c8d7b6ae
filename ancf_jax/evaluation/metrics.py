"""Metrics as pure functions of arrays: of ranks, of recommended lists, and of predicted values.

`ranks` [..., P] are the 0-based ranks of a user's held-out items among all candidates, in any order and padded with
+inf; `count` [...] is how many there are. A rank may be fractional: the expected rank under ties. Relevance is binary
but for graded_ndcg. The functions of ranks return one value a user [...], 0 for a user with nothing held out.
"""

import jax.numpy as jnp

from ancf_jax.types import Array, ArrayLike

ERRORS = ("rmse", "mae", "mse")  # the metrics of predicted values


def hit_rate(ranks: ArrayLike, k: int) -> Array:
    """Hit rate at k: 1 if any held-out item is among the first k, else 0.

    HR@k = [min_p rank_p < k], in {0, 1}. For a single held-out item it equals recall@k.
    Source: M. Deshpande and G. Karypis, 2004, "Item-based top-N recommendation algorithms".
    """
    return (jnp.min(jnp.asarray(ranks), axis=-1) < k).astype(jnp.float32)


def recall(ranks: ArrayLike, count: ArrayLike, k: int) -> Array:
    """Recall at k: the share of the held-out items that are among the first k.

    Recall@k = #{p : rank_p < k} / count, in [0, 1]; the divisor is count, not min(k, count).
    Source: C. Cleverdon, 1967, "The Cranfield tests on index language devices".
    """
    return _hits(ranks, k) / jnp.maximum(count, 1)


def precision(ranks: ArrayLike, k: int) -> Array:
    """Precision at k: the share of the first k places that held-out items take.

    Precision@k = #{p : rank_p < k} / k, in [0, 1].
    Source: C. Cleverdon, 1967, "The Cranfield tests on index language devices".
    """
    return _hits(ranks, k) / k


def ndcg(ranks: ArrayLike, count: ArrayLike, k: int) -> Array:
    """Normalised discounted cumulative gain at k with binary gains.

    NDCG@k = sum_{p : rank_p < k} 1 / log2(rank_p + 2) / sum_{r < min(k, count)} 1 / log2(r + 2), in [0, 1].
    For a single held-out item it is ln 2 / ln(rank + 2) if rank < k, else 0.
    Source: K. Järvelin and J. Kekäläinen, 2002, "Cumulated gain-based evaluation of IR techniques".
    """
    ranks = jnp.asarray(ranks)  # [..., P]
    gains = jnp.where(ranks < k, 1 / jnp.log2(ranks + 2), 0).sum(axis=-1)  # [...]
    ideal = jnp.cumsum(1 / jnp.log2(jnp.arange(k) + 2))  # [K]
    return gains / ideal[jnp.clip(jnp.asarray(count), 1, k) - 1]


def graded_ndcg(ranks: ArrayLike, gains: ArrayLike, values: ArrayLike, k: int) -> Array:
    """Normalised discounted cumulative gain at k with graded gains.

    gNDCG@k = sum_{p : rank_p < k} g_p / log2(rank_p + 2) / sum_{r < k} v_r / log2(r + 2), in [0, 1], with the `values`
    v_0 >= v_1 >= ... of the held-out items; 0 where none is above 0. `values` [..., P] are not negative, and `gains`
    [..., P] are the same numbers, or their means among held-out items that tie; both are 0 at padding.
    Gains are linear, for 2^v - 1 (C. Burges et al., 2005) overflows for quantities.
    Source: K. Järvelin and J. Kekäläinen, 2002, "Cumulated gain-based evaluation of IR techniques".
    """
    ranks, best = jnp.asarray(ranks), -jnp.sort(-jnp.asarray(values), axis=-1)[..., :k]  # [..., P], [..., min(k, P)]
    found = jnp.where(ranks < k, jnp.asarray(gains) / jnp.log2(ranks + 2), 0).sum(axis=-1)  # [...]
    ideal = (best / jnp.log2(jnp.arange(best.shape[-1]) + 2)).sum(axis=-1)  # [...]
    return found / jnp.where(ideal > 0, ideal, 1)


def mrr(ranks: ArrayLike) -> Array:
    """Mean reciprocal rank, for one user: the reciprocal of the place of the best held-out item.

    RR = 1 / (min_p rank_p + 1), in [0, 1], without a cut-off.
    Source: E. Voorhees, 1999, "The TREC-8 question answering track report".
    """
    return 1 / (jnp.min(jnp.asarray(ranks), axis=-1) + 1)


def average_precision(ranks: ArrayLike, count: ArrayLike, k: int) -> Array:
    """Average precision at k, whose mean over users is MAP@k.

    AP@k = sum_{j : r_j < k} (j + 1) / (r_j + 1) / min(k, count), where r_0 <= r_1 <= ... are the ranks; in [0, 1].
    Source: C. Buckley and E. Voorhees, 2000, "Evaluating evaluation measure stability".
    """
    ordered = jnp.sort(jnp.asarray(ranks), axis=-1)  # [..., P]
    places = jnp.arange(1, ordered.shape[-1] + 1)  # [P]
    return jnp.where(ordered < k, places / (ordered + 1), 0).sum(axis=-1) / jnp.clip(jnp.asarray(count), 1, k)


def auc(ranks: ArrayLike, count: ArrayLike, candidates: ArrayLike) -> Array:
    """Area under the ROC curve: the share of (held-out, other) pairs in the right order, ties counting half.

    AUC = 1 - (sum_p rank_p - count (count - 1) / 2) / (count (candidates - count)), in [0, 1], where `candidates` [...]
    is the number of items ranked, the held-out ones included. It is 1 where there is no other item.
    Source: J. Hanley and B. McNeil, 1982, "The meaning and use of the area under a ROC curve".
    """
    ranks, count = jnp.asarray(ranks), jnp.asarray(count, jnp.float32)
    others = jnp.asarray(candidates) - count  # [...]
    behind = jnp.where(jnp.isfinite(ranks), ranks, 0).sum(axis=-1) - count * (count - 1) / 2  # [...]
    return jnp.where(count > 0, 1 - behind / jnp.maximum(count * others, 1), 0)


def ranking(ranks: ArrayLike, count: ArrayLike, candidates: ArrayLike, ks: tuple[int, ...]) -> dict[str, Array]:
    """Every metric of ranks by its name in tables: hr@k, ndcg@k, recall@k, precision@k and map@k for k in ks, mrr, auc.

    `ranks` [..., P], `count` [...] and `candidates` [...] as above; each value is [...], in [0, 1].
    """
    values = {"mrr": mrr(ranks), "auc": auc(ranks, count, candidates)}
    for k in ks:
        values[f"hr@{k}"] = hit_rate(ranks, k)
        values[f"ndcg@{k}"] = ndcg(ranks, count, k)
        values[f"recall@{k}"] = recall(ranks, count, k)
        values[f"precision@{k}"] = precision(ranks, k)
        values[f"map@{k}"] = average_precision(ranks, count, k)
    return values


def coverage(lists: ArrayLike, num_items: int) -> Array:
    """Catalogue coverage: the share of all items that are recommended to anyone.

    coverage = #{i : i in any list} / I, in [0, 1]. `lists` [B, K] are item ids, I where a list is shorter.
    Source: M. Ge, C. Delgado-Battenfeld and D. Jannach, 2010, "Beyond accuracy: evaluating recommender systems by
    coverage and serendipity".
    """
    return (_exposure(lists, num_items) > 0).mean()


def gini(lists: ArrayLike, num_items: int) -> Array:
    """Gini index of how unequally the recommendations fall on the items: 0 if equally.

    G = sum_{j=1..I} (2 j - I - 1) x_j / (I sum_j x_j) where x_1 <= x_2 <= ... count how often an item is recommended;
    in [0, 1 - 1 / I]. `lists` [B, K] are item ids, I where a list is shorter.
    Source: D. Fleder and K. Hosanagar, 2009, "Blockbuster culture's next rise or fall".
    """
    exposure = jnp.sort(_exposure(lists, num_items)).astype(jnp.float32)  # [I]
    # Weights within [-1, 1]: float32 sums of 2 j - I - 1 would lose digits for large catalogues.
    weights = (2 * jnp.arange(1, num_items + 1) - num_items - 1) / num_items  # [I]
    return (weights * exposure).sum() / jnp.maximum(exposure.sum(), 1)


def novelty(lists: ArrayLike, counts: ArrayLike, num_users: int) -> Array:
    """Novelty: the mean self-information of the recommended items, in bits.

    novelty = mean_{i in list} -log2(max(counts_i, 1) / U), in [0, log2 U], where `counts` [I] is how many of the U
    users have the item; one that nobody has counts as one user's. `lists` [..., K] are item ids, I where a list is
    shorter.
    Source: T. Zhou et al., 2010, "Solving the apparent diversity-accuracy dilemma of recommender systems".
    """
    return _list_mean(lists, -jnp.log2(jnp.maximum(counts, 1) / num_users))


def popularity(lists: ArrayLike, counts: ArrayLike) -> Array:
    """Popularity bias: the mean number of users who already have the recommended items.

    popularity = mean_{i in list} counts_i, in [0, U], with `counts` [I]. `lists` [..., K] as for novelty.
    Source: H. Abdollahpouri, R. Burke and B. Mobasher, 2019, "Managing popularity bias in recommender systems with
    personalized re-ranking".
    """
    return _list_mean(lists, jnp.asarray(counts, jnp.float32))


def merit(name: str, value: float) -> float:
    """A metric's value such that greater is better: negated for mse, rmse and mae."""
    return -value if name in ERRORS else value


def mse(predicted: ArrayLike, observed: ArrayLike) -> Array:
    """Mean squared error: mean (predicted - observed)^2 over arrays of one shape, in squared units of the value.

    Source: C. F. Gauss, 1823, "Theoria combinationis observationum erroribus minimis obnoxiae".
    """
    return jnp.mean((jnp.asarray(predicted) - jnp.asarray(observed)) ** 2)


def rmse(predicted: ArrayLike, observed: ArrayLike) -> Array:
    """Root mean squared error: sqrt(mse), in units of the value. Arrays of one shape.

    Source: J. Bennett and S. Lanning, 2007, "The Netflix prize".
    """
    return jnp.sqrt(mse(predicted, observed))


def mae(predicted: ArrayLike, observed: ArrayLike) -> Array:
    """Mean absolute error: mean |predicted - observed| over arrays of one shape, in units of the value.

    Source: J. Herlocker et al., 2004, "Evaluating collaborative filtering recommender systems".
    """
    return jnp.mean(jnp.abs(jnp.asarray(predicted) - jnp.asarray(observed)))


def _hits(ranks: ArrayLike, k: int) -> Array:
    return (jnp.asarray(ranks) < k).sum(axis=-1)  # [...]


def _exposure(lists: ArrayLike, num_items: int) -> Array:
    return jnp.zeros(num_items, jnp.int32).at[jnp.asarray(lists).ravel()].add(1, mode="drop")  # [I]


def _list_mean(lists: ArrayLike, values: Array) -> Array:
    lists = jnp.asarray(lists)  # [..., K]
    listed = lists < len(values)
    return jnp.where(listed, values[lists], 0).sum(axis=-1) / jnp.maximum(listed.sum(axis=-1), 1)  # [...]
