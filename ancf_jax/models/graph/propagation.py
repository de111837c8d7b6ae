"""Recommenders on the graph of users and items: propagation, a loss on the vectors that come of it, and new users.

Every distinct interaction of the training part is an edge. With A [U + I, U + I] the adjacency matrix, D the diagonal
of its degrees and E^(0) the tables, layer k of K is followed by

    E^(k+1) = step_k(E^(k), M^(k)),    M^(k) = D^-1/2 A D^-1/2 E^(k)

The vector of a node is what `combine` makes of its layers 0..K, and a score is an inner product. A user whom training
does not know is a new node with E^(0) = 0 and edges to its history, to whose items it changes nothing.

Users only have items for neighbours, so a layer is two products of a sparse matrix [U, I] or its transpose. On a CPU
JAX's compressed rows took a seventh of the time of a segment sum of gathered rows. D^-1/2 A D^-1/2 is symmetric, so the
gradient of a propagation is a propagation too, and nothing is scattered.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax.experimental.sparse import BCSR

from ancf_jax.data import samplers
from ancf_jax.data.interactions import longest
from ancf_jax.nn.layers import Dropout, inner_products
from ancf_jax.nn.losses import masked_mean, pair_loss, pair_squares
from ancf_jax.types import Array, ArrayLike, Data, Given, Gradient, Params, Query, Recommender


class Nodes(NamedTuple):
    """A vector for each node; the unknown user and the padding item have no edges."""

    users: Array  # [U + 1, D]
    items: Array  # [I + 1, D]


class Batch(NamedTuple):
    """Triples (u, i, j)."""

    users: Array  # [B]
    items: Array  # [B, 1 + N]: the user's, and those that the user does not have


Step = Callable[[Any, int, Array, Array, Array | None], Array]  # net, k, E^(k) and M^(k) [n, D], key -> E^(k+1)
Combine = Callable[[Sequence[Array]], Array]  # layers 0..K, each [n, D] -> [n, W]


class Matrix(NamedTuple):
    """A sparse matrix [m, n] by compressed rows: row r has data[ends[r]:ends[r + 1]] at columns of the same places."""

    data: ArrayLike  # [E] float32
    columns: ArrayLike  # [E] int32
    ends: ArrayLike  # [m + 1] int32


class Graph(NamedTuple):
    """D^-1/2 A D^-1/2 of the training part, and what scales an item's vector on its way to a new user."""

    to_users: Matrix  # [U + 1, I + 1]
    to_items: Matrix  # its transpose
    item_scale: ArrayLike  # [I + 1] d^-1/2


def edges(data: Data) -> scipy.sparse.csr_array:
    """The items of each user as a 0/1 matrix [U + 1, I + 1]."""
    pairs = np.asarray(data.train.users), np.asarray(data.train.items)
    shape = (data.num_users + 1, data.num_items + 1)
    matrix = scipy.sparse.csr_array((np.ones(len(pairs[0]), np.float32), pairs), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def inverse_root(degrees: np.ndarray) -> np.ndarray:
    """d^-1/2 [n] float32, and 0 for a node without edges."""
    return np.where(degrees > 0, np.maximum(degrees, 1) ** -0.5, 0.0).astype(np.float32)


def graph_of(matrix: scipy.sparse.csr_array) -> Graph:
    """The graph with these `edges`."""
    user, item = (inverse_root(matrix.sum(axis)) for axis in (1, 0))
    to_users = scipy.sparse.csr_array(scipy.sparse.diags_array(user) @ matrix @ scipy.sparse.diags_array(item))
    return Graph(by_rows(to_users), by_rows(scipy.sparse.csr_array(to_users.T)), item)


def by_rows(matrix: scipy.sparse.csr_array) -> Matrix:
    """The same matrix as arrays."""
    return Matrix(matrix.data, matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32))


def product(matrix: Matrix, x: Array) -> Array:
    """A X [m, B] of a sparse matrix A [m, n] and X [n, B]."""
    parts = jnp.asarray(matrix.data), jnp.asarray(matrix.columns), jnp.asarray(matrix.ends)
    return BCSR(parts, shape=(len(matrix.ends) - 1, len(x))) @ x


def propagation(graph: Graph) -> Callable[[Nodes], Nodes]:
    """D^-1/2 A D^-1/2 as a function of float32 nodes."""

    @jax.custom_vjp
    def propagate(nodes: Nodes) -> Nodes:
        return Nodes(product(graph.to_users, nodes.items), product(graph.to_items, nodes.users))

    propagate.defvjp(lambda nodes: (propagate(nodes), None), lambda _, gradient: (propagate(gradient),))
    return propagate


def drop(x: Array, rate: float, key: Array | None) -> Array:
    """Dropout; none without a key."""
    return Dropout(rate).apply({}, x, key is None, rngs=None if key is None else {"dropout": key})


def over_graph(
    data: Data,
    *,
    layers: int,
    init: Callable[[Array, Given], Params],
    step: Step,
    combine: Combine,
    objective: str,
    negatives: int,
    l2: float,
    node_dropout: float = 0.0,
) -> Recommender:
    """The recommender of the module's head, by gradient steps over triples; the tables are `user` and `item`.

    The pair loss `objective` of s_ui against `negatives` s_uj + l2 (|e_u|^2 + |e_i|^2 + mean_j |e_j|^2) over rows of
    E^(0) is minimised. In a step of training, a node sends nothing with probability `node_dropout`. The whole graph is
    propagated in every step, whatever its batch, so many negatives cost little.
    """
    num_users, num_items = data.num_users, data.num_items

    def follow(net: Any, k: int, nodes: Nodes, propagate: Callable[[Nodes], Nodes], key: Array | None) -> Nodes:
        """Layer k + 1."""
        keys = [None] * 4 if key is None else jax.random.split(jax.random.fold_in(key, k), 4)
        senders = (x * drop(jnp.ones((len(x), 1)), node_dropout, key) for x, key in zip(nodes, keys[:2], strict=True))
        messages = propagate(Nodes(*senders))
        parts = zip(nodes, messages, keys[2:], strict=True)
        return Nodes(*(step(net, k, x, message, key) for x, message, key in parts))

    def walk(params: Params, graph: Graph, key: Array | None) -> list[Nodes]:
        """Layers 0..K."""
        tables, propagate = params["tables"], propagation(graph)
        nodes = [Nodes(tables["user"].astype(jnp.float32), tables["item"].astype(jnp.float32))]
        for k in range(layers):
            nodes.append(follow(params["net"], k, nodes[-1], propagate, key))
        return nodes

    def sample(key: Array, given: Given, index: Array) -> Batch:
        users, items = jnp.asarray(given.train.users)[index], jnp.asarray(given.train.items)[index]
        others = samplers.negatives(key, given.train, users, negatives, num_items)
        return Batch(users, jnp.concatenate([items[:, None], others], axis=1))

    def loss(params: Params, given: Given, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        nodes = walk(params, given.own, key)
        user, item = (combine(part) for part in zip(*nodes, strict=True))
        scores = jnp.einsum("bd,bkd->bk", user[batch.users], item[batch.items])  # [B, 1 + N]
        losses = pair_loss(objective, scores[:, 0], scores[:, 1:], num_items=num_items, ratio=1.0)
        user, item = (jnp.sum(part**2, -1) for part in nodes[0])  # of all nodes: less to gather than the rows
        losses = losses + l2 * pair_squares(user[batch.users], item[batch.items])
        return masked_mean(losses, jnp.ones_like(losses, bool))

    def prepare(params: Params, given: Given) -> dict:
        """The vectors of users [U + 1, W] and items [I, W], and what an item sends to a new user in each layer."""
        users, items = zip(*walk(params, given.own, None), strict=True)
        sent = jnp.concatenate(items[:-1], axis=1) * given.own.item_scale[:, None]  # [I + 1, K D]
        tables = {"user": combine(users), "item": combine(items)[:num_items], "sent": sent}
        return {"tables": tables, "net": params["net"]}

    def arrive(ready: dict, history: Array) -> Array:
        """The vectors [B, W] of new users with the history [B, H]."""
        degree = jnp.sum(history < num_items, axis=1)
        total = jax.lax.map(lambda row: ready["tables"]["sent"][row].sum(0), history)  # [B, K D]
        messages = jnp.split(total / jnp.sqrt(jnp.maximum(degree, 1))[:, None], layers, axis=1)
        users = [jnp.zeros_like(messages[0])]
        for k, message in enumerate(messages):
            users.append(step(ready["net"], k, users[-1], message, None))
        return combine(users)

    def embed(ready: dict, query: Query) -> tuple[Array, Array]:
        user, new = ready["tables"]["user"][query.users], query.users == num_users
        user = jax.lax.cond(
            jnp.any(new), lambda: jnp.where(new[:, None], arrive(ready, query.history), user), lambda: user
        )
        return user, ready["tables"]["item"]

    learn = Gradient(len(data.train.users), init, sample, loss, batch=8192)
    return Recommender(
        learn,
        Given(data.train, graph_of(edges(data))),
        longest(data.train),
        prepare,
        inner_products(embed),
        embed,
        alone=True,
    )
