"""Items that are like an item: by the vectors that a model scores with, or by who has both where it has none."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from ancf_jax.serving.explain import directions
from ancf_jax.serving.recommend import Server
from ancf_jax.types import Array, Interactions, Query

VECTORS = "cosine of the two items' vectors, the mean of all subtracted"
TOGETHER = "cosine of the two items' users: who has both, over the root of who has each"


class Likeness(NamedTuple):
    """How much items are like each other."""

    method: str  # VECTORS or TOGETHER
    to_all: Callable[[int], np.ndarray]  # item -> [I]
    among: Callable[[np.ndarray], np.ndarray]  # items [n] -> [n, n]


def likeness_of(server: Server) -> Likeness:
    """The likeness of items, prepared for many questions."""
    vectors = item_vectors(server)
    if vectors is not None and vectors.shape[1] > 1:  # one number has no direction
        every = np.asarray(directions(vectors))
        return Likeness(VECTORS, lambda item: every @ every[item], lambda items: every[items] @ every[items].T)
    users = _users_of_items(server.log, server.data.num_items)

    def among(items: np.ndarray) -> np.ndarray:
        return (users[items] @ users[items].T).toarray()

    return Likeness(TOGETHER, lambda item: (users @ users[[item]].T).toarray()[:, 0], among)


def similar_items(likeness: Likeness, item: int, top_k: int) -> tuple[np.ndarray, np.ndarray]:
    """The `top_k` items most like a dense id `item`, best first, with their likeness.

    Only items whose likeness is positive are listed; of equally like ones those of the lowest ids come first.
    """
    alike = likeness.to_all(item).copy()
    alike[item] = 0.0
    best = np.argsort(-alike, kind="stable")[:top_k]
    best = best[alike[best] > 0]
    return best, alike[best]


def item_vectors(server: Server) -> Array | None:
    """The vectors [I, D] that items are scored with; None where the score is no inner product."""
    if server.model.embed is None:
        return None
    nobody = jnp.full((1, server.model.history), server.data.num_items)
    query = Query(jnp.full(1, server.data.num_users), nobody, jnp.zeros(nobody.shape))
    return jax.jit(server.model.embed)(server.ready, query)[1]


def _users_of_items(log: Interactions, num_items: int) -> scipy.sparse.csr_array:
    """Who has each item [I, U], in rows of length 1."""
    users, items = np.asarray(log.users), np.asarray(log.items)
    matrix = scipy.sparse.csr_array((np.ones(len(items)), (items, users)), shape=(num_items, len(log.offsets) - 1))
    matrix.data[:] = 1.0  # repeated pairs were added up
    length = np.sqrt(np.maximum(np.diff(matrix.indptr), 1))
    return scipy.sparse.csr_array(scipy.sparse.diags_array(1 / length) @ matrix)
