"""BSPM against the solver's stages with dense matrices, and against the solution of its equation."""

import numpy as np
import scipy.linalg

from ancf_jax.models.graph.bspm import Config, make


def test_scores_are_those_of_the_solver_for_known_and_new_users(log, scores_of):
    scores, rows = scores_of(make(Config(factors=3, weight=0.4, time=3.0, solver_steps=2), log.data))
    smooth = log.smooth()
    state, step = rows @ (smooth + 0.4 * log.ideal(3, 0.5)), 1.5
    for _ in range(2):
        first = -state @ smooth
        second = -(state + step / 2 * first) @ smooth
        third = -(state + step / 2 * second) @ smooth
        fourth = -(state + step * third) @ smooth
        state = state + step / 6 * (first + 2 * second + 2 * third + fourth)
    np.testing.assert_allclose(scores, state, atol=1e-5)


def test_many_steps_solve_the_equation(log, scores_of):
    scores, rows = scores_of(make(Config(factors=3, weight=0.4, time=2.0, solver_steps=20), log.data))
    smooth = log.smooth()
    start = rows @ (smooth + 0.4 * log.ideal(3, 0.5))
    np.testing.assert_allclose(scores, start @ scipy.linalg.expm(-2.0 * smooth), atol=1e-5)
