"""What every recommender must do, as tests that also try a model of one's own (with the package's `test` extra):

    python -m ancf_jax.contract --model=package.module

Further options are pytest's. The module has `Config` and `make` (see `models.entry_of`), and if it wants `CONTRACT`, a
dict of settings of the model or of training that suit a board of 16 users and items; `"personal": False` in it says
that the model ranks alike for all.
"""

import ctypes
import os
import sys
from importlib.metadata import version
from pathlib import Path

MOST = 1.5 * 2**30  # bytes of memory of a process of tests, above which it lets compiled programs go

# Most of a test is compilation, and what is computed does not hang on how well it is compiled.
UNOPTIMISED = (
    "backend_optimization_level=0",
    "llvm_disable_expensive_passes=true",
    "cpu_parallel_codegen_split_count=1",
)
BEFORE_0_11 = ("cpu_use_fusion_emitters=false",)  # of jaxlib: later ones end at a flag that they do not know


def compile_quickly() -> None:
    """Tests run on the CPU, and compile without optimising, unless XLA_FLAGS is set, be it to nothing.

    JAX reads this when it is imported, so call it before.
    """
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    known = UNOPTIMISED if tuple(map(int, version("jaxlib").split(".")[:2])) >= (0, 11) else UNOPTIMISED + BEFORE_0_11
    os.environ.setdefault("XLA_FLAGS", " ".join(f"--xla_{flag}" for flag in known))


def let_go() -> None:
    """Compiled programs are kept from test to test, unless they would fill the memory."""
    if "jax" in sys.modules and _resident() > MOST:
        sys.modules["jax"].clear_caches()
        _give_back()


def _give_back() -> None:
    """What is free goes to the system, where its library can; else all would be let go after each test from now on."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


def _resident() -> float:
    """The bytes of memory that this process has now; more than any where the system does not tell."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else float("inf")
