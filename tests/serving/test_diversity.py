"""Maximal marginal relevance, against its definition by brute force."""

import numpy as np
import pytest

from ancf_jax.serving.diversity import diversified

RNG = np.random.default_rng(0)
ALIKE = np.corrcoef(RNG.normal(size=(30, 4)))
ITEMS = RNG.permutation(30)[:12]
SCORES = np.sort(RNG.normal(size=12))[::-1]


def by_definition(diversity, count):
    relevance, chosen = (SCORES - SCORES.min()) / (SCORES.max() - SCORES.min()), []
    while len(chosen) < count:
        worth = {
            n: (1 - diversity) * relevance[n]
            - diversity * max((ALIKE[ITEMS[n], ITEMS[m]] for m in chosen), default=0.0)
            for n in range(len(ITEMS))
            if n not in chosen
        }
        chosen.append(max(worth, key=worth.get))
    return chosen


@pytest.mark.parametrize("diversity", [0.0, 0.3, 0.7, 1.0])
def test_it_is_what_its_source_defines(diversity):
    found = diversified(ITEMS, SCORES, lambda items: ALIKE[np.ix_(items, items)], 5, diversity)
    assert found.tolist() == by_definition(diversity, 5)
    assert found[0] == 0 and (diversity > 0 or found.tolist() == [0, 1, 2, 3, 4])


def test_padding_comes_last():
    scores = np.append(SCORES[:2], [-np.inf] * 3)
    found = diversified(np.append(ITEMS[:2], [30] * 3), scores, lambda items: ALIKE[np.ix_(items, items)], 4, 0.5)
    assert sorted(found[:2].tolist()) == [0, 1] and found[2:].tolist() == [2, 3]
    nothing = diversified(np.array([30]), np.array([-np.inf]), lambda items: np.zeros((0, 0)), 1, 0.5)
    assert nothing.tolist() == [0]
