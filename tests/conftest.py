"""The tests run on the CPU and keep compiled programs between runs."""

import gc
import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from hypothesis import settings

from ancf_jax.contract import compile_quickly, let_go

# JAX reads these when it is imported, which is after this file.
compile_quickly()
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".cache" / "jax"))
# To keep what compiles in less takes longer than it saves.
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

# Most of what is imported, traced and compiled stays: looking for garbage in it again and again takes time.
gc.set_threshold(50_000, 20, 20)

# The first example compiles, so its time says nothing.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """One worker runs all tests of a file, so what they share is made, traced and compiled once."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


def pytest_collection_finish():
    """What is there by now stays until the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def memory():
    yield
    let_go()


@pytest.fixture(scope="session")
def script():
    """A function that runs a script with arguments: exit status, stdout, stderr."""

    from absl.testing import flagsaver

    from experiments import console

    def run(module, *args):
        out, err = io.StringIO(), io.StringIO()
        with flagsaver.flagsaver(), pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(sys, "argv", ["script", *map(str, args)])
            patch.setattr(console.endings, "leave", console.endings.fail)  # this process goes on to the next test
            with pytest.raises(SystemExit) as stop:
                console.run(module.define, module.main)
        return stop.value.code, out.getvalue(), err.getvalue()

    return run
