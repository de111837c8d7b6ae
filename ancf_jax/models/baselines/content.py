"""Content: score(u, i) = cosine(p_u, x_i), a user's profile against the features of an item.

    p_u = sum over h in u's history of w_h x_h / |x_h|,   w_h = 2^(-age_h / half_life)

with the age counted in interactions, 0 for the latest (Pazzani & Billsus, Content-Based Recommendation Systems, 2007;
Rocchio, Relevance Feedback in Information Retrieval, 1971). Nothing is learnt, so an item that nobody has yet is scored
as any other, and so is a need in words, whose features stand for the profile.

With `groups`, items are smoothed by the k-means group g(i) that they belong to (Liu & Croft, Cluster-Based Retrieval
Using Language Models, 2004, whose interpolation of a document with its cluster this is, on vectors of length 1):

    x_i <- (1 - s) x_i / |x_i| + s c_g(i) / |c_g(i)|   in the item's part of the score,   c_g = mean of x_j / |x_j| in g

An item of which nothing is known is in no group, and scores 0.

Memory: one float32 array [I, F] of the F features, two with groups, and the histories as rows [B, I].
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import scipy.sparse

from ancf_jax.config import Range, Space, field
from ancf_jax.data.features import dense, required, row_lengths
from ancf_jax.data.interactions import whole_history
from ancf_jax.devices.memory import check_memory
from ancf_jax.nn.layers import unit_rows
from ancf_jax.types import Array, ClosedForm, Data, Given, Matrix, Params, Query, Recommender

SEARCH: Space = {
    "half_life": (0.0, 1.0, 3.0, 10.0, 30.0, 100.0),
    "groups": (0, 30, 100, 300),
    "group_share": Range(0.05, 0.8),
}


@dataclass(frozen=True)
class Config:
    """Content."""

    half_life: float = field(0.0, "interactions after which one counts half in the profile (0: all count alike)", low=0)
    groups: int = field(0, "k-means groups that smooth the items' features (0: none)", low=0)
    group_share: float = field(0.3, "share of the group in an item's features, with --groups", low=0, high=1)


def make(config: Config, data: Data) -> Recommender:
    """Content-based recommendation. Raises InputError if nothing is known of the items."""
    known = required("content", data.features)
    num_items, width = known.shape
    check_memory("content", (2 if config.groups else 1) * 4 * num_items * width, f"the features [{num_items}, {width}]")
    features = dense(_unit(known))
    views = {"feature": features}  # as they make profiles, and as they are scored
    if config.groups:
        centres = _unit(group_means(features, config.groups))
        views["smoothed"] = _unit((1 - config.group_share) * features + config.group_share * centres)

    def prepare(params: Params, given: Given) -> dict[str, dict[str, Array]]:
        return {"tables": given.own}

    def items_of(ready: dict[str, dict[str, Array]]) -> Array:
        return ready["tables"].get("smoothed", ready["tables"]["feature"])

    def profile(ready: dict[str, dict[str, Array]], query: Query) -> Array:
        """Unit vectors [B, F]; zeros for who has no history, or none of known features."""
        age = jnp.arange(query.history.shape[1])[::-1]
        weights = 0.5 ** (age / config.half_life) if config.half_life else jnp.ones(age.shape)
        rows = jnp.arange(len(query.history))[:, None]
        bags = jnp.zeros((len(rows), num_items)).at[rows, query.history].add(weights, mode="drop")
        return unit_rows(bags @ ready["tables"]["feature"])

    def score(ready: dict[str, dict[str, Array]], query: Query, items: Array | None = None) -> Array:
        scores = profile(ready, query) @ items_of(ready).T
        return scores if items is None else jnp.take_along_axis(scores, items, axis=1)

    def embed(ready: dict[str, dict[str, Array]], query: Query) -> tuple[Array, Array]:
        return profile(ready, query), items_of(ready)

    def retrieve(ready: dict[str, dict[str, Array]], wanted: Array) -> tuple[Array, Array]:
        return unit_rows(wanted), items_of(ready)

    learn = ClosedForm(1, lambda key, given: {"tables": {}, "net": {}}, lambda params, given, key: params)
    order = "yes" if config.half_life else "no"
    return Recommender(
        learn,
        Given(data.train, views),
        whole_history(data),
        prepare,
        score,
        embed,
        retrieve=retrieve,
        order=order,
        narrow=1,
    )


def group_means(features: np.ndarray, groups: int) -> np.ndarray:
    """The mean of the k-means group that each item is in [I, F], of at most `groups` groups of the rows [I, F].

    Rows of zeros, of which nothing is known, are in no group and stay.
    """
    from sklearn.cluster import KMeans  # takes a second, which only groups should cost

    means, known = np.zeros_like(features), features.any(axis=1)
    if not known.any():
        return means
    some = features[known]
    few = np.count_nonzero(some) < 0.1 * some.size  # as words are, whose distances cost what is not zero alone
    rows = scipy.sparse.csr_matrix(some) if few else some
    found = KMeans(min(groups, len(some)), n_init=1, random_state=0).fit_predict(rows)
    # Summed anew, for threads may have added in another order, and a run is to repeat bit for bit.
    sums = np.zeros((groups, features.shape[1]), np.float32)
    np.add.at(sums, found, some)
    means[known] = (sums / np.maximum(np.bincount(found, minlength=groups), 1)[:, None])[found]
    return means


def _unit(rows: Matrix) -> Matrix:
    """The rows at length 1; rows of zeros stay."""
    length = row_lengths(rows)
    length = np.where(length > 0, length, 1)
    if isinstance(rows, np.ndarray):
        return np.asarray(rows / length[:, None], np.float32)
    data = rows.data / np.repeat(length, np.diff(rows.indptr))
    return scipy.sparse.csr_matrix((data.astype(np.float32), rows.indices, rows.indptr), rows.shape)
