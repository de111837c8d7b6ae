"""PureSVD against SciPy's truncated singular value decomposition."""

import jax
import numpy as np
import pytest
from scipy.sparse.linalg import svds

from ancf_jax.data.interactions import build
from ancf_jax.models.linear import singular
from ancf_jax.models.linear.puresvd import Config, make
from ancf_jax.types import Data

USERS, ITEMS, FACTORS = 30, 12, 3


@pytest.fixture(scope="module")
def trained():
    """The 0/1 matrix [U, I], the model and its parameters after its one sweep; user 4 has nothing, 6 items twice."""
    rng = np.random.default_rng(1)
    x = rng.random((USERS, FACTORS)) @ rng.random((FACTORS, ITEMS)) > 0.6
    x[4] = False
    users, items = np.nonzero(np.concatenate([x, x[6:7]]))
    users = np.where(users == USERS, 6, users)
    data = Data(USERS, ITEMS, build(users, items, np.ones(len(users)), np.arange(len(users)), USERS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(singular, "EXTRA", 2)
        model = make(Config(factors=FACTORS, iterations=20), data)
        params = jax.jit(model.learn.sweep)(
            model.learn.init(jax.random.key(0), model.given), model.given, jax.random.key(0)
        )
    return x.astype(np.float64), model, params


def test_item_vectors_are_the_leading_right_singular_vectors(trained):
    x, _, params = trained
    table = np.asarray(params["tables"]["item"])
    assert table.shape == (ITEMS + 1, FACTORS) and not table[-1].any()
    np.testing.assert_allclose(table.T @ table, np.eye(FACTORS), atol=1e-5)
    leading = svds(x, FACTORS)[2].T  # [I, D], in ascending order of singular values
    np.testing.assert_allclose(np.abs(table[:-1].T @ leading[:, ::-1]), np.eye(FACTORS), atol=1e-3)


def test_scores_project_any_history(trained, ask):
    x, model, params = trained
    u, s, vt = svds(x, FACTORS)
    histories = [*(np.flatnonzero(row).tolist() for row in x), [7, 0]]  # the last one is a new user's
    scores = model.score(params, ask([*range(USERS), USERS], histories, model.history, ITEMS))
    expected = np.concatenate([(u * s) @ vt, vt[:, [0, 7]].sum(1)[None] @ vt])
    np.testing.assert_allclose(scores, expected, atol=1e-3)
