"""Turbo-CF against its formula with a dense matrix."""

import numpy as np
import pytest

from ancf_jax.devices import memory
from ancf_jax.models.graph import turbocf
from ancf_jax.models.graph.turbocf import Config, make
from ancf_jax.types import InputError


@pytest.mark.parametrize("slices", [2, 1024])
def test_scores_are_the_formula_for_known_and_new_users(log, scores_of, monkeypatch, slices):
    monkeypatch.setattr(turbocf, "SLICE", slices)  # rows in several parts, the last one not full
    scores, rows = scores_of(make(Config(activity=0.6, power=0.7), log.data))
    scaled = log.normalised(0.6, 0.4)
    np.testing.assert_allclose(scores, rows @ (scaled.T @ scaled) ** 0.7, rtol=1e-5, atol=1e-6)


def test_too_many_pairs_are_refused_before_they_are_made(log, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: turbocf.COPIES * 8 * log.data.num_items**2 - 1)
    with pytest.raises(InputError, match="81 pairs of items"):
        make(Config(), log.data)
