"""ChebyCF: a filter of any shape by Chebyshev interpolation, beside the ideal one; in the terms of filters.py,

    score(u, .) = D_i^b (sum_k c_k T_k(L~) + a V V^T) D_i^-b r,    L~ = I - 2 P,    k = 0..K

with T_k(x) = 2 x T_(k-1)(x) - T_(k-2)(x) the Chebyshev polynomials of the Laplacian, scaled to [-1, 1]. Their sum is
the polynomial through the points (x_j, h(z_j)), j = 0..K, of a plateau h that smooth signals pass (x = -1) and rough
ones do not (x = 1),

    h(z) = (1 - sign(z) |z|^phi) / 2,    x_j = cos(pi (K - j + 1/2) / (K + 1)),    z_j = cos(pi (K - j) / K)
    c_k = 2 / (K + 1) sum_j h(z_j) T_k(x_j),    but half of that for k = 0

(Kim, Sung, Han & Lee, Graph Spectral Filtering with Chebyshev Interpolation for Recommendation, 2025). z_j in place of
x_j, a little nearer to the ends, is how the released code has it, which the published figures are by.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ancf_jax.config import Range, Space, field
from ancf_jax.models.graph.filters import Filters, over_histories, weighed
from ancf_jax.types import Array, Data, Recommender

SEARCH: Space = {
    "flatness": Range(0.5, 12.0, log=True),
    "factors": (64, 128, 256, 512),
    "weight": Range(0.01, 2.0, log=True),
    "normalisation": Range(0.0, 0.6),
}


@dataclass(frozen=True)
class Config:
    """ChebyCF."""

    order: int = field(8, "order K of the polynomial", low=1)
    flatness: float = field(10.0, "exponent phi of the plateau: large ones are flat in the middle", above=0)
    factors: int = field(128, "singular vectors D of the ideal filter", low=1)
    weight: float = field(0.2, "weight a of the ideal filter", low=0)
    normalisation: float = field(0.0, "exponent b of the degrees: large ones recommend popular items", low=0)


def make(config: Config, data: Data) -> Recommender:
    """ChebyCF; learns the singular vectors in one sweep."""
    return over_histories(data, factors=config.factors, respond=respond_of(config))


def respond_of(config: Config) -> Callable[[Array, Filters], Array]:
    """D_i^b (sum_k c_k T_k(L~) + a V V^T) D_i^-b x of signals x [I + 1, B]."""
    coefficients = coefficients_of(config.order, config.flatness)

    def respond(signal: Array, filters: Filters) -> Array:
        def laplacian(x: Array) -> Array:
            return x - 2 * filters.smooth(x)

        def response(x: Array) -> Array:
            before, term = x, laplacian(x)  # T_0 and T_1
            total = coefficients[0] * before + coefficients[1] * term
            for c in coefficients[2:]:
                before, term = term, 2 * laplacian(term) - before
                total = total + c * term
            return total + config.weight * filters.ideal(x)

        return weighed(response, filters.degrees, config.normalisation)(signal)

    return respond


def coefficients_of(order: int, flatness: float) -> list[float]:
    """c_k [K + 1] of the plateau."""
    j = np.arange(order + 1)
    extrema = np.sin(np.pi * (2 * j - order) / (2 * order))  # cos(pi (K - j) / K), exactly 0 in the middle
    angles = np.pi * (order - j + 0.5) / (order + 1)
    target = (1 - np.sign(extrema) * np.abs(extrema) ** flatness) / 2
    found = [2 / (order + 1) * np.sum(target * np.cos(k * angles)) for k in range(order + 1)]  # T_k(cos t) = cos(k t)
    return [float(found[0]) / 2, *map(float, found[1:])]
