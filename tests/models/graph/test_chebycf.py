"""ChebyCF against the polynomial through its points, by eigenvectors."""

import numpy as np
import pytest
from numpy.polynomial import chebyshev

from ancf_jax.models.graph.chebycf import Config, coefficients_of, make


def plateau(order, flatness):
    """The polynomial through the values of the plateau, at the roots of the Chebyshev polynomial of the next order."""
    roots = chebyshev.chebpts1(order + 1)
    points = chebyshev.chebpts2(order + 1).round(12)
    values = np.where(points < 0, 1 + abs(points) ** flatness, 1 - abs(points) ** flatness) / 2
    return chebyshev.chebfit(roots, values, order)


@pytest.mark.parametrize(("order", "flatness"), [(1, 2.0), (4, 0.3), (5, 10.0), (8, 1.5)])
def test_coefficients_interpolate(order, flatness):
    np.testing.assert_allclose(coefficients_of(order, flatness), plateau(order, flatness), atol=1e-12)


@pytest.mark.parametrize("order", [1, 6])
def test_scores_are_the_formula_for_known_and_new_users(log, scores_of, order):
    config = Config(order=order, flatness=1.5, factors=3, weight=0.2, normalisation=0.4)
    scores, rows = scores_of(make(config, log.data))
    values, vectors = np.linalg.eigh(np.eye(rows.shape[1]) - 2 * log.smooth())
    response = (vectors * chebyshev.chebval(values, plateau(order, 1.5))) @ vectors.T
    degrees = np.maximum(log.x.sum(0), 1)
    expected = (rows * degrees**-0.4) @ (response + 0.2 * log.ideal(3, 0.0)) * degrees**0.4
    np.testing.assert_allclose(scores, expected, atol=1e-5)
