"""GF-CF: a linear and an ideal low-pass filter of a history r, in the terms of filters.py,

    score(u, .) = P r + a D_i^1/2 V V^T D_i^-1/2 r

(Shen, Wu, Zhang, Shan, Zhang, Letaief & Li, How Powerful is Graph Convolution for Recommendation?, 2021).
"""

from dataclasses import dataclass

from ancf_jax.config import Range, Space, field
from ancf_jax.models.graph.filters import Filters, over_histories, weighed
from ancf_jax.types import Array, Data, Recommender

SEARCH: Space = {"factors": (64, 128, 256, 512), "weight": Range(0.01, 2.0, log=True)}


@dataclass(frozen=True)
class Config:
    """GF-CF."""

    factors: int = field(128, "singular vectors D of the ideal filter", low=1)
    weight: float = field(0.3, "weight a of the ideal filter", low=0)


def make(config: Config, data: Data) -> Recommender:
    """GF-CF; learns the singular vectors in one sweep."""

    def respond(history: Array, filters: Filters) -> Array:
        ideal = weighed(filters.ideal, filters.degrees, 0.5)
        return filters.smooth(history) + config.weight * ideal(history)

    return over_histories(data, factors=config.factors, respond=respond)
