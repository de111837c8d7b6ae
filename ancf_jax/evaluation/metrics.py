"""Metrics as pure functions of arrays: of ranks, of recommended lists, and of predicted values.

`ranks` hold the places [..., P] of a user's held-out items among all candidates, in any order, see ranks.Ranks; `count`
[...] is how many there are. Relevance is binary but for graded_ndcg. The functions of ranks return one value a user
[...], 0 for a user with nothing held out. Each is the EXPECTATION of its metric over random orders of the items that
tie, in closed form, after F. McSherry and M. Najork, 2008, "Computing information retrieval performance measures
efficiently in the presence of tied scores". In what follows rank_p is an item's place, from 0, in one such order;
b = better_p and n = tied_p are those of ranks.Ranks, g is how many held-out items are in a tie, and m = min(max(k - b,
0), n) of its places are among the first k.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.evaluation.ranks import Ranks
from ancf_jax.types import Array, ArrayLike

ERRORS = ("rmse", "mae", "mse")  # the metrics of predicted values
PLACES = 128  # of a tie that mrr goes through at once


def hit_rate(ranks: Ranks, k: int) -> Array:
    """Hit rate at k: 1 if any held-out item is among the first k, else 0.

    HR@k = [min_p rank_p < k], expected 1 - C(n - m, g) / C(n, g) in the best tie with held-out items; in [0, 1]. For a
    single held-out item it equals recall@k.
    Source: M. Deshpande and G. Karypis, 2004, "Item-based top-N recommendation algorithms".
    """
    better, tied, held = (part[..., None] for part in _best(ranks))  # [..., 1]
    other = jnp.arange(ranks.better.shape[-1])  # [P] of the held-out items in the tie
    missed = jnp.maximum(tied - jnp.clip(k - better, 0, tied) - other, 0) / jnp.maximum(tied - other, 1)  # [..., P]
    return 1 - jnp.where(other < held, missed, 1).prod(axis=-1)


def recall(ranks: Ranks, count: ArrayLike, k: int) -> Array:
    """Recall at k: the share of the held-out items that are among the first k.

    Recall@k = #{p : rank_p < k} / count, expected sum_p m / n / count; in [0, 1]. The divisor is not min(k, count).
    Source: C. Cleverdon, 1967, "The Cranfield tests on index language devices".
    """
    return _hits(ranks, k) / jnp.maximum(count, 1)


def precision(ranks: Ranks, k: int) -> Array:
    """Precision at k: the share of the first k places that held-out items take.

    Precision@k = #{p : rank_p < k} / k, expected sum_p m / n / k; in [0, 1].
    Source: C. Cleverdon, 1967, "The Cranfield tests on index language devices".
    """
    return _hits(ranks, k) / k


def ndcg(ranks: Ranks, count: ArrayLike, k: int) -> Array:
    """Normalised discounted cumulative gain at k with binary gains.

    NDCG@k = sum_{p : rank_p < k} 1 / log2(rank_p + 2) / sum_{r < min(k, count)} 1 / log2(r + 2), in [0, 1]; an item's
    expected gain is the mean over its n places. For a single held-out item without a tie it is ln 2 / ln(rank + 2) if
    rank < k, else 0.
    Source: K. Järvelin and J. Kekäläinen, 2002, "Cumulated gain-based evaluation of IR techniques".
    """
    ideal = jnp.asarray(np.cumsum(_discounts(k)), jnp.float32)  # [K]
    return _discounted(ranks, k).sum(axis=-1) / ideal[jnp.clip(jnp.asarray(count), 1, k) - 1]


def graded_ndcg(ranks: Ranks, gains: ArrayLike, k: int) -> Array:
    """Normalised discounted cumulative gain at k with graded gains.

    gNDCG@k = sum_{p : rank_p < k} g_p / log2(rank_p + 2) / sum_{r < k} v_r / log2(r + 2), in [0, 1], with the `gains`
    g_p [..., P] of the held-out items, which are not negative and 0 at padding, and v_0 >= v_1 >= ... the same in
    order; 0 where none is above 0. Gains are linear, for 2^v - 1 (C. Burges et al., 2005) overflows for quantities.
    Source: K. Järvelin and J. Kekäläinen, 2002, "Cumulated gain-based evaluation of IR techniques".
    """
    gains = jnp.asarray(gains)  # [..., P]
    best = -jnp.sort(-gains, axis=-1)[..., :k]  # [..., min(k, P)]
    ideal = (best * _discounts(k)[: best.shape[-1]]).sum(axis=-1)  # [...]
    return (gains * _discounted(ranks, k)).sum(axis=-1) / jnp.where(ideal > 0, ideal, 1)


def mrr(ranks: Ranks) -> Array:
    """Mean reciprocal rank, for one user: the reciprocal of the place of the best held-out item.

    RR = 1 / (min_p rank_p + 1), in [0, 1], without a cut-off. In the best tie with held-out items it is expected to be
    sum_{x < n} P(x) / (b + x + 1), where P(x) = C(n - 1 - x, g - 1) / C(n, g), that the first of the g is at place x,
    comes from the chance g / (n - x) that it is there if none was before.
    Source: E. Voorhees, 1999, "The TREC-8 question answering track report".
    """
    better, tied, held = (part[..., None] for part in _best(ranks))  # [..., 1]

    def add(part: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
        """Add the next places of the tie to the sum [..., 1], and what is left of the chance that all were others'."""
        found, left = sums
        place = part * PLACES + jnp.arange(PLACES)  # [PLACES]
        here = jnp.minimum(held / jnp.maximum(tied - place, 1), 1)  # [..., PLACES]
        none = left * jnp.cumprod(1 - here, axis=-1)
        first = jnp.concatenate([left, none[..., :-1]], axis=-1) * here
        return found + (first / (better + place + 1)).sum(axis=-1, keepdims=True), none[..., -1:]

    most = jnp.max(tied)  # no tie, no work
    parts = jnp.where(most > 1, jnp.ceil(most / PLACES), 0).astype(jnp.int32)
    found, _ = jax.lax.fori_loop(0, parts, add, (jnp.zeros_like(better), jnp.ones_like(better)))
    return jnp.where(tied > 1, found, 1 / (better + 1))[..., 0]


def average_precision(ranks: Ranks, count: ArrayLike, k: int) -> Array:
    """Average precision at k, whose mean over users is MAP@k.

    AP@k = sum_{j : r_j < k} (j + 1) / (r_j + 1) / min(k, count), where r_0 <= r_1 <= ... are the ranks; in [0, 1].
    Of the x items of its tie before one at place b + x, x c are held out in the mean, c = (g - 1) / (n - 1), beside
    itself and the a held-out ones that are better. With x = (b + x + 1) - (b + 1), the mean over its places is

        sum_{x < m} (a + 1 + x c) / (b + x + 1) / n = ((a + 1 - c (b + 1)) (H_{b + m} - H_b) + c m) / n

    with the harmonic numbers H.
    Source: C. Buckley and E. Voorhees, 2000, "Evaluating evaluation measure stability".
    """
    better, tied = jax.lax.sort((jnp.asarray(ranks.better), jnp.asarray(ranks.tied)), num_keys=1)  # [..., P] twice
    order = jnp.arange(better.shape[-1])
    rises = jnp.diff(better, axis=-1) > 0  # [..., P - 1]; padding does not matter
    opens = jnp.concatenate([jnp.ones_like(better[..., :1], bool), rises], axis=-1)
    closes = jnp.concatenate([rises, jnp.ones_like(better[..., :1], bool)], axis=-1)
    ahead = jax.lax.cummax(jnp.where(opens, order, 0), better.ndim - 1)  # a
    held = jax.lax.cummin(jnp.where(closes, order + 1, len(order)), better.ndim - 1, reverse=True) - ahead  # g
    share = (held - 1) / jnp.maximum(tied - 1, 1)  # c
    harmonic = jnp.asarray(np.concatenate([[0], np.cumsum(1 / np.arange(1, k + 1))]), jnp.float32)  # [K + 1]
    start, end = _within(better, k), _within(better + tied, k)  # b and b + m
    alone = jnp.where(better < k, (ahead + 1) / (better + 1), 0)
    among = (ahead + 1 - share * (start + 1)) * (harmonic[end] - harmonic[start]) + share * (end - start)
    return jnp.where(tied > 1, among / tied, alone).sum(axis=-1) / jnp.clip(jnp.asarray(count), 1, k)


def auc(ranks: Ranks, count: ArrayLike, candidates: ArrayLike) -> Array:
    """Area under the ROC curve: the share of (held-out, other) pairs in the right order, ties counting half.

    AUC = 1 - (sum_p rank_p - count (count - 1) / 2) / (count (candidates - count)), in [0, 1], where `candidates` [...]
    is the number of items ranked, the held-out ones included. It is 1 where there is no other item.
    Source: J. Hanley and B. McNeil, 1982, "The meaning and use of the area under a ROC curve".
    """
    count = jnp.asarray(count, jnp.float32)
    others = jnp.asarray(candidates) - count  # [...]
    middle = jnp.asarray(ranks.better) + (jnp.asarray(ranks.tied) - 1) / 2  # [..., P] the mean place
    behind = jnp.where(jnp.isfinite(middle), middle, 0).sum(axis=-1) - count * (count - 1) / 2  # [...]
    return jnp.where(count > 0, 1 - behind / jnp.maximum(count * others, 1), 0)


def ranking(ranks: Ranks, count: ArrayLike, candidates: ArrayLike, ks: tuple[int, ...]) -> dict[str, Array]:
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


def _best(ranks: Ranks) -> tuple[Array, Array, Array]:
    """Of the best tie with held-out items: better items, items in it, held-out ones among them; [...] each."""
    better, tied = jnp.asarray(ranks.better), jnp.asarray(ranks.tied)
    best = better.min(axis=-1)
    inside = (better == best[..., None]) & jnp.isfinite(better)  # [..., P]
    return best, jnp.where(inside, tied, 1).max(axis=-1), inside.sum(axis=-1)


def _hits(ranks: Ranks, k: int) -> Array:
    better, tied = jnp.asarray(ranks.better), jnp.asarray(ranks.tied)
    return (jnp.clip(k - better, 0, tied) / tied).sum(axis=-1)  # [...]


def _discounts(k: int) -> np.ndarray:
    """1 / log2(r + 2) of the places r = 0, ..., k - 1: [K]."""
    return 1 / np.log2(np.arange(k) + 2)


def _discounted(ranks: Ranks, k: int) -> Array:
    """The mean discount [..., P] of each item's places; a place from k on brings nothing."""
    better, tied = jnp.asarray(ranks.better), jnp.asarray(ranks.tied)
    sums = jnp.asarray(np.concatenate([[0], np.cumsum(_discounts(k))]), jnp.float32)  # [K + 1]
    among = (sums[_within(better + tied, k)] - sums[_within(better, k)]) / tied
    return jnp.where(tied > 1, among, jnp.where(better < k, 1 / jnp.log2(better + 2), 0))


def _within(places: Array, k: int) -> Array:
    """Places, which may be +inf, as whole numbers of at most k."""
    return jnp.minimum(places, k).astype(jnp.int32)


def _exposure(lists: ArrayLike, num_items: int) -> Array:
    return jnp.zeros(num_items, jnp.int32).at[jnp.asarray(lists).ravel()].add(1, mode="drop")  # [I]


def _list_mean(lists: ArrayLike, values: Array) -> Array:
    lists = jnp.asarray(lists)  # [..., K]
    listed = lists < len(values)
    return jnp.where(listed, values[lists], 0).sum(axis=-1) / jnp.maximum(listed.sum(axis=-1), 1)  # [...]
