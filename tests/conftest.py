"""The tests run on the CPU and keep compiled programs between runs."""

import os
from pathlib import Path

from hypothesis import settings

# JAX reads these when it is imported, which is after this file.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Most of a test is compilation, and what is computed does not hang on how well it is compiled.
UNOPTIMISED = ("backend_optimization_level=0", "llvm_disable_expensive_passes=true", "cpu_use_fusion_emitters=false")
os.environ.setdefault("XLA_FLAGS", " ".join(f"--xla_{flag}" for flag in UNOPTIMISED))
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

# The first example compiles, so its time says nothing.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")
