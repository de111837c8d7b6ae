"""The tests run on the CPU and keep compiled programs between runs."""

import os
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from ancf_jax.contract import compile_quickly

# JAX reads these when it is imported, which is after this file.
compile_quickly()
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

# The first example compiles, so its time says nothing.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")


@pytest.fixture(scope="module", autouse=True)
def let_go():
    """Compiled programs are kept while a file's tests run, and no longer: of all files they would fill the memory."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()


@pytest.fixture(scope="session")
def enumerated_ranks():
    """(scores, visible, held) -> ranks, for full ranking."""

    def enumerated_ranks(scores, visible, held) -> list[float]:
        """Mean places of the held-out items, best first, over every way of breaking ties."""
        places: list[float] = []
        for value in sorted({scores[i] for i in held}, reverse=True):
            better = sum(scores[i] > value for i in visible)
            tied = sum(scores[i] == value for i in visible)
            own = sum(scores[i] == value for i in held)
            places += list(better + np.mean(list(combinations(range(tied), own)), axis=0))
        return places

    return enumerated_ranks
