"""The tests run on the CPU and keep compiled programs between runs."""

import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

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
def script():
    """A function that runs a script with arguments: exit status, stdout, stderr."""

    from absl.testing import flagsaver

    from experiments import console

    def run(module, *args):
        out, err = io.StringIO(), io.StringIO()
        with flagsaver.flagsaver(), pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(sys, "argv", ["script", *map(str, args)])
            with pytest.raises(SystemExit) as stop:
                console.run(module.define, module.main)
        return stop.value.code, out.getvalue(), err.getvalue()

    return run
