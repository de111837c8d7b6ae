"""BSPM: a history r is blurred, then sharpened along an ordinary differential equation; in the terms of filters.py,

    s(0) = P r + b D_i^1/2 V V^T D_i^-1/2 r,    ds / dt = -P s,    score(u, .) = s(T)

(Choi, Hong, Park & Cho, Blurring-Sharpening Process Models for Collaborative Filtering, 2023: both blurs are merged
early). The equation is solved by the Runge-Kutta method of order 4, which for a linear one is, whatever its stages are,

    s(t + h) = (1 - Z + Z^2 / 2 - Z^3 / 6 + Z^4 / 24) s(t),    Z = h P
"""

from dataclasses import dataclass

import jax

from ancf_jax.config import Range, Space, field
from ancf_jax.models.graph.filters import Filters, over_histories, weighed
from ancf_jax.types import Array, Data, Recommender

ORDER = 4
SEARCH: Space = {
    "factors": (64, 128, 256, 448),
    "weight": Range(0.01, 2.0, log=True),
    "time": Range(0.5, 4.0),
    "solver_steps": (1, 2),
}


@dataclass(frozen=True)
class Config:
    """BSPM."""

    factors: int = field(64, "singular vectors D of the ideal filter", low=1)
    weight: float = field(0.2, "weight b of the ideal filter", low=0)
    time: float = field(2.5, "how long T the history is sharpened; 0 leaves it blurred", low=0)
    solver_steps: int = field(1, "steps of the solver", low=1)


def make(config: Config, data: Data) -> Recommender:
    """BSPM; learns the singular vectors in one sweep."""
    step = config.time / config.solver_steps

    def sharpen(filters: Filters, start: Array) -> Array:
        """s(t + h), by Horner's rule."""
        total = start
        for n in range(ORDER, 0, -1):
            total = start - step / n * filters.smooth(total)
        return total

    def respond(history: Array, filters: Filters) -> Array:
        ideal = weighed(filters.ideal, filters.degrees, 0.5)
        blurred = filters.smooth(history) + config.weight * ideal(history)
        return jax.lax.fori_loop(0, config.solver_steps, lambda _, s: sharpen(filters, s), blurred)

    return over_histories(data, factors=config.factors, respond=respond)
