"""Singular vectors against NumPy's, where powers tell them apart too slowly."""

import jax
import numpy as np

from ancf_jax.models.linear import singular

ROWS, FACTORS = 90, 10


def matrix(squares, seed=0):
    """A symmetric matrix [n, n] with these eigenvalues, and its eigenvectors."""
    vectors = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(squares),) * 2))[0]
    return (vectors * squares) @ vectors.T, vectors


def found(g, factors, rounds):
    g = g.astype(np.float32)
    run = jax.jit(lambda key: singular.leading(lambda q: g @ q, key, len(g), factors, rounds))
    return np.asarray(run(jax.random.key(0)), np.float64)


def test_vectors_of_singular_values_that_lie_close_together():
    squares = 100 * 0.995 ** np.arange(ROWS)
    g, expected = matrix(squares)
    vectors = found(g, FACTORS, 6)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(FACTORS), atol=1e-5)
    np.testing.assert_allclose(np.abs(vectors.T @ expected[:, :FACTORS]), np.eye(FACTORS), atol=2e-3)


def test_a_singular_value_that_dwarfs_the_others():
    g, expected = matrix(np.array([1e3, *np.linspace(10, 1, ROWS - 1)]))
    vectors = found(g, 3, 8)
    np.testing.assert_allclose(np.abs(vectors.T @ expected[:, :3]), np.eye(3), atol=5e-3)


def test_vectors_of_singular_value_0_are_zeros():
    g, expected = matrix(np.array([3.0, 2.0, 1.0, 0.0, 0.0, 0.0]))
    vectors = found(g, 5, 3)
    np.testing.assert_allclose(vectors @ vectors.T, expected[:, :3] @ expected[:, :3].T, atol=1e-5)
    assert not vectors[:, 3:].any()
