"""Parameters of a network that are neither zero nor one."""

import jax
import numpy as np
import pytest


@pytest.fixture(scope="session")
def randomised():
    """A function from the shapes of variables to random ones, none of them 0 or 1."""

    def randomised(variables, seed):
        rng = np.random.default_rng(seed)
        return jax.tree.map(lambda leaf: rng.normal(0, 0.5, leaf.shape).astype(np.float32), variables)

    return randomised
