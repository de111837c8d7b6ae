"""LightGCN: embeddings averaged over the layers of a graph convolution that has no weights.

    E^(k+1) = D^-1/2 A D^-1/2 E^(k),    E = (E^(0) + ... + E^(K)) / (K + 1),    score(u, i) = <e_u, e_i>

learned by BPR with an L2 penalty on E^(0) (He, Deng, Wang, Li, Zhang & Wang, LightGCN: Simplifying and Powering Graph
Convolution Network for Recommendation, 2020), or by another loss of losses.py, in which, for bce, all negatives weigh
as much as the positive. The released code penalises half the squares with 0.0001.
"""

from dataclasses import dataclass

import jax

from ancf_jax.config import Range, Space, field
from ancf_jax.models.graph.propagation import over_graph
from ancf_jax.nn.layers import table
from ancf_jax.nn.losses import SAMPLED_LOSSES
from ancf_jax.types import Array, Data, Given, Params, Recommender

SEARCH: Space = {
    "factors": (32, 64, 128),
    "layers": (1, 2, 3, 4),
    "loss": SAMPLED_LOSSES,
    "negatives": (1, 4, 16, 64),
    "l2": Range(0.000001, 0.01, log=True),
    "stddev": Range(0.01, 0.3, log=True),
    "batch_size": (2048, 4096, 8192, 16384),
}


@dataclass(frozen=True)
class Config:
    """LightGCN."""

    factors: int = field(64, "embedding width D", low=1)
    layers: int = field(3, "layers of propagation K", low=1)
    loss: str = field("bpr", "loss of a positive against its negatives", SAMPLED_LOSSES)
    negatives: int = field(1, "sampled negatives per positive, N", low=1)
    l2: float = field(0.00005, "L2 penalty on the initial embeddings of each triple", low=0)
    stddev: float = field(0.1, "standard deviation of the initial embeddings", low=0)


def make(config: Config, data: Data) -> Recommender:
    """LightGCN; the whole graph is propagated in every step, so large batches make short epochs."""

    def init(key: Array, given: Given) -> Params:
        user, item = jax.random.split(key)
        tables = {
            "user": table(user, data.num_users, config.factors, config.stddev),
            "item": table(item, data.num_items, config.factors, config.stddev),
        }
        return {"tables": tables, "net": {}}

    return over_graph(
        data,
        layers=config.layers,
        init=init,
        step=lambda net, k, x, message, key: message,
        combine=lambda layers: sum(layers[1:], layers[0]) / len(layers),
        objective=config.loss,
        negatives=config.negatives,
        l2=config.l2,
    )
