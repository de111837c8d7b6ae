"""GF-CF against its formula with dense matrices."""

import numpy as np

from ancf_jax.models.graph.gfcf import Config, make


def test_scores_are_the_formula_for_known_and_new_users(log, scores_of):
    scores, rows = scores_of(make(Config(factors=3, weight=0.7), log.data))
    np.testing.assert_allclose(scores, rows @ (log.smooth() + 0.7 * log.ideal(3, 0.5)), atol=1e-5)


def test_more_factors_than_the_log_has_make_the_ideal_filter_the_identity_on_it(log, scores_of):
    scores, rows = scores_of(make(Config(factors=50, weight=0.7), log.data))
    known = log.x.sum(0) > 0
    np.testing.assert_allclose(scores, rows @ log.smooth() + 0.7 * rows * known, atol=1e-5)
