"""Neural graph collaborative filtering (NGCF): a graph convolution whose messages depend on both of their ends.

    E^(k+1) = leaky((E^(k) + M^(k)) W_1k + (E^(k) * M^(k)) W_2k),    M^(k) = D^-1/2 A D^-1/2 E^(k)

with * element-wise and leaky(x) = max(x, 0.2 x); a node's vector is the concatenation of its layers 0..K, and score(u,
i) = <e_u, e_i>, learned by BPR with an L2 penalty on E^(0) (Wang, He, Wang, Feng & Chua, Neural Graph Collaborative
Filtering, 2019). Message dropout is on the new vectors, as in the released code; node dropout silences nodes.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from ancf_jax.config import Range, Space, field
from ancf_jax.models.graph.propagation import drop, over_graph
from ancf_jax.nn.layers import table
from ancf_jax.types import Array, Data, Given, Params, Recommender

SEARCH: Space = {
    "factors": (32, 64, 128),
    "layers": (1, 2, 3),
    "dropout": Range(0.0, 0.5),
    "node_dropout": Range(0.0, 0.5),
    "l2": Range(0.000001, 0.01, log=True),
    "stddev": Range(0.01, 0.3, log=True),
    "batch_size": (2048, 4096, 8192, 16384),
}


@dataclass(frozen=True)
class Config:
    """NGCF."""

    factors: int = field(64, "embedding width D, of every layer", low=1)
    layers: int = field(3, "layers of propagation K", low=1)
    dropout: float = field(0.1, "message dropout", low=0, high=0.99)
    node_dropout: float = field(
        0.1, "share of the nodes that send nothing in a layer of a training step", low=0, high=0.99
    )
    l2: float = field(0.00005, "L2 penalty on the initial embeddings of each triple", low=0)
    stddev: float = field(0.1, "standard deviation of the initial embeddings", low=0)


def make(config: Config, data: Data) -> Recommender:
    """NGCF; the whole graph is propagated in every step, so large batches make short epochs."""

    def init(key: Array, given: Given) -> Params:
        user, item, *keys = jax.random.split(key, 2 + 2 * config.layers)
        tables = {
            "user": table(user, data.num_users, config.factors, config.stddev),
            "item": table(item, data.num_items, config.factors, config.stddev),
        }
        glorot, shape = jax.nn.initializers.glorot_uniform(), (config.factors, config.factors)
        pairs = zip(keys[::2], keys[1::2], strict=True)
        layers = ({"sum_kernel": glorot(a, shape), "product_kernel": glorot(b, shape)} for a, b in pairs)
        net = {f"layer_{k}": layer for k, layer in enumerate(layers)}
        return {"tables": tables, "net": net}

    def step(net: Any, k: int, x: Array, message: Array, key: Array | None) -> Array:
        weights = net[f"layer_{k}"]
        hidden = (x + message) @ weights["sum_kernel"] + (x * message) @ weights["product_kernel"]
        return drop(jax.nn.leaky_relu(hidden, 0.2), config.dropout, key)

    return over_graph(
        data,
        layers=config.layers,
        init=init,
        step=step,
        combine=lambda layers: jnp.concatenate(layers, axis=-1),
        objective="bpr",
        negatives=1,
        l2=config.l2,
        node_dropout=config.node_dropout,
    )
