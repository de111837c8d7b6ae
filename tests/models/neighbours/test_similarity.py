"""Similarities against NumPy, SciPy and scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.spatial.distance import cdist
from sklearn.metrics.pairwise import cosine_similarity

from ancf_jax.models.neighbours.similarity import SIMILARITIES, comparable, farthest, product, similarity, slices
from ancf_jax.types import InputError

ROWS, COLUMNS = 11, 40
compiled = jax.jit(similarity, static_argnums=(0, 2))


@pytest.fixture(scope="module")
def values():
    """Ratings [ROWS, COLUMNS], NaN where there is none: row 4 has one, row 5 only threes, row 6 all."""
    rng = np.random.default_rng(0)
    values = rng.integers(1, 6, (ROWS, COLUMNS)).astype(float)
    values[rng.random(values.shape) < 0.6] = np.nan
    values[4], values[4, 1] = np.nan, 2
    values[5, ::3] = 3
    values[5] = np.where(np.isnan(values[5]), np.nan, 3)
    values[6] = rng.integers(1, 6, COLUMNS)
    return values


def sparse(values):
    rows, columns = np.nonzero(~np.isnan(values))
    return csr_matrix((values[rows, columns], (rows, columns)), shape=values.shape)


def between(kind, values, weight=None, shrinkage=0.0):
    """s_ab of all pairs of rows, as the module computes it."""
    weight = np.ones(values.shape[1]) if weight is None else weight
    has = ~np.isnan(values)
    left = np.where(has, values - np.nanmean(values, axis=1, keepdims=True), 0.0)
    matrix = jax.tree.map(jnp.asarray, comparable(kind, sparse(values)))
    return np.asarray(
        compiled(kind, matrix, len(values), jnp.asarray(1.0 * has.T), jnp.asarray(left.T), weight, shrinkage)
    )


def by_definition(kind, values, weight, shrinkage):
    """s_ab of all pairs of rows, sum by sum."""
    left = values - np.nanmean(values, axis=1, keepdims=True)
    found = np.zeros((len(values), len(values)))
    for a, b in np.ndindex(found.shape):
        in_a, in_b = ~np.isnan(values[a]), ~np.isnan(values[b])
        shared = weight[in_a & in_b].sum()
        if kind == "cosine":
            found[a, b] = shared / (np.sqrt(weight[in_a].sum() * weight[in_b].sum()) + shrinkage)
        elif kind == "jaccard":
            found[a, b] = shared / (weight[in_a | in_b].sum() + shrinkage)
        else:
            w, x, y = (part[in_a & in_b] for part in (weight, left[a], left[b]))
            norm = np.sqrt((w * x**2).sum() * (w * y**2).sum())
            found[a, b] = (w * x * y).sum() / norm * shared / (shared + shrinkage) if norm else 0.0
    return found


def test_cosine_is_that_of_scikit_learn(values):
    has = ~np.isnan(values)
    np.testing.assert_allclose(between("cosine", values), cosine_similarity(has), rtol=1e-6, atol=1e-6)


def test_jaccard_is_that_of_scipy(values):
    has = ~np.isnan(values)
    np.testing.assert_allclose(between("jaccard", values), 1 - cdist(has, has, "jaccard"), rtol=1e-6, atol=1e-6)


def test_pearson_of_rows_without_gaps_is_numpys(values):
    whole = np.random.default_rng(1).normal(3, 1, values.shape)
    np.testing.assert_allclose(between("pearson", whole), np.corrcoef(whole), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", SIMILARITIES)
def test_weights_and_shrinkage_enter_by_the_definition(values, kind):
    weight = np.random.default_rng(2).uniform(0.1, 2, COLUMNS)
    found = between(kind, values, weight, 2.5)
    np.testing.assert_allclose(found, by_definition(kind, values, weight, 2.5), rtol=1e-5, atol=1e-6)
    assert len(np.unique(found.round(4))) > ROWS


def test_a_product_is_that_of_the_matrix_in_any_slices_and_chunks(values, monkeypatch):
    matrix = sparse(values)
    monkeypatch.setattr("ancf_jax.models.neighbours.similarity.CHUNK", 7 * 3)  # slices of seven rows at once
    x = np.random.default_rng(3).normal(size=(COLUMNS, 3)).astype(np.float32)
    np.testing.assert_allclose(product(slices(matrix, 4), jnp.asarray(x), ROWS), matrix @ x, rtol=1e-5, atol=1e-5)


def test_pearson_refuses_values_that_are_all_the_same(values):
    with pytest.raises(InputError, match=r"--similarity: pearson .* legal are cosine, jaccard"):
        comparable("pearson", sparse(0 * values + 1))


def test_farthest_of_the_nearest():
    similar = jnp.array([[0.5, -0.2], [0.1, 0.3], [0.4, -0.1]])  # of three rows to two
    np.testing.assert_allclose(farthest(similar, 2), [0.4, 0.0])
