"""The tests run on the CPU and keep compiled programs between runs."""

import os
from pathlib import Path

from hypothesis import settings

# JAX reads these when it is imported, which is after this file.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

# The first example compiles, so its time says nothing.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")
