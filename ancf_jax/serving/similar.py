"""Items that are like an item: by the vectors that a model scores with, or by who has both where it has none."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from ancf_jax.serving.explain import directions
from ancf_jax.serving.recommend import Server
from ancf_jax.types import Interactions, Query

VECTORS = "cosine of the two items' vectors, the mean of all subtracted"
TOGETHER = "cosine of the two items' users: who has both, over the root of who has each"


def similar_items(server: Server, item: int, top_k: int) -> tuple[str, np.ndarray, np.ndarray]:
    """How likeness is measured, and the `top_k` items most like a dense id `item`, best first, with their likeness.

    Only items whose likeness is positive are listed; of equally like ones those of the lowest ids come first.
    """
    alike = _by_vectors(server, item)
    method = VECTORS if alike is not None else TOGETHER
    alike = alike if alike is not None else _together(server.log, item, server.data.num_items)
    alike[item] = 0.0
    best = np.argsort(-alike, kind="stable")[:top_k]
    best = best[alike[best] > 0]
    return method, best, alike[best]


def _by_vectors(server: Server, item: int) -> np.ndarray | None:
    """The likeness [I] of all items by the model's vectors; None if it has none of more than one number."""
    if server.model.embed is None:
        return None
    nobody = jnp.full((1, server.model.history), server.data.num_items)
    query = Query(jnp.full(1, server.data.num_users), nobody, jnp.zeros(nobody.shape))
    _, vectors = jax.jit(server.model.embed)(server.ready, query)
    if vectors.shape[1] == 1:  # one number has no direction
        return None
    every = directions(vectors)
    return np.array(every @ every[item])


def _together(log: Interactions, item: int, num_items: int) -> np.ndarray:
    """The likeness [I] of all items by who has both."""
    users, items = np.asarray(log.users), np.asarray(log.items)
    matrix = scipy.sparse.csr_array((np.ones(len(items)), (users, items)), shape=(len(log.offsets) - 1, num_items))
    matrix.data[:] = 1.0  # repeated pairs were added up
    count = np.maximum(matrix.sum(axis=0), 1.0)
    both = matrix.T @ matrix[:, [item]].toarray()[:, 0]
    return both / np.sqrt(count * count[item])
