"""What every recommender must do, as tests that also try a model of one's own (with the package's `test` extra):

    python -m ancf_jax.contract --model=package.module

Further options are pytest's. The module has `Config` and `make` (see `models.entry_of`), and if it wants `CONTRACT`, a
dict of settings of the model or of training that suit a board of 16 users and items; `"personal": False` in it says
that the model ranks alike for all.
"""

import os

# Most of a test is compilation, and what is computed does not hang on how well it is compiled.
UNOPTIMISED = ("backend_optimization_level=0", "llvm_disable_expensive_passes=true", "cpu_use_fusion_emitters=false")


def compile_quickly() -> None:
    """Tests run on the CPU, and compile without optimising. JAX reads this when it is imported, so call it before."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.setdefault("XLA_FLAGS", " ".join(f"--xla_{flag}" for flag in UNOPTIMISED))
