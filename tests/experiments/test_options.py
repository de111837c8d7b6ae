"""What scripts share: compiled programs are kept for the next process."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from absl import flags
from experiments import options
options.define_cache()
flags.FLAGS(sys.argv)
options.keep_programs()
import jax
jax.jit(lambda x: x + 1)(1.0)
"""


@pytest.mark.parametrize(
    ("given", "elsewhere", "kept"),
    [([], False, "home/.cache/ancf_jax/compiled"), ([], True, "there"), (["--nocompilation_cache"], False, None)],
)
def test_programs_are_kept(given, elsewhere, kept, tmp_path):
    run(given, elsewhere, tmp_path / "home", tmp_path)
    found = {path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("jit_*")}
    assert found == ({kept} if kept else set())


def test_where_nothing_can_be_written_none_are_kept_and_nothing_is_said(tmp_path):
    (tmp_path / "home").write_text("no folder")
    run([], False, tmp_path / "home", tmp_path)


def run(given, elsewhere, home, folder):
    """The program, which succeeds without a word."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")} | {"HOME": home}
    if elsewhere:  # then what is worth keeping is for JAX's own settings to say
        environment |= {"JAX_COMPILATION_CACHE_DIR": folder / "there"}
        environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    command = [sys.executable, "-c", PROGRAM, *given]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
