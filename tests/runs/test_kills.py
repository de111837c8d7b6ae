"""A run that is killed at any moment, and rerun, comes to what it comes to uninterrupted, to the bit.

What a kill leaves is what lies there at that moment. So the folder is copied before every file event of one run, and the
run is taken up from the copies: here from some of them, in tests/reliability from all, and after real kills.
"""

import json
import shutil

import numpy as np
import pytest

from ancf_jax.config import from_json
from ancf_jax.models import MODELS
from ancf_jax.runs.fit import fit_run
from ancf_jax.runs.run import Run, open_data
from ancf_jax.settings import DataConfig, TrainConfig
from tests.reliability.snapshots import left_of, shots_of

pytestmark = pytest.mark.xdist_group("fit")
SHOTS = 5  # copies that are taken up here


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A run that has two epochs, and again on the validation part, and its data."""
    folder = tmp_path_factory.mktemp("log")
    rng = np.random.default_rng(0)
    rows = [f"{user},{item}\n" for user in range(12) for item in rng.permutation(15)[:6]]
    (folder / "log.csv").write_text("user,item\n" + "".join(rows))
    config = from_json(MODELS["gmf"].config, {"factors": 4})
    train = TrainConfig(epochs=2, batch_size=8, learning_rate=0.05)
    run = Run("gmf", DataConfig(dataset=str(folder / "log.csv")), config, train)
    return run, open_data(run)


def test_a_run_killed_before_a_file_event_comes_to_the_same(case, tmp_path):
    with shots_of(tmp_path / "run", tmp_path / "shots") as shots:
        fit_run(*case, tmp_path / "run")
    whole = left_of(tmp_path / "run")
    assert len(shots) > 20 and whole["metrics.jsonl"]
    for shot in shots[:: len(shots) // SHOTS]:
        fit_run(*case, shot)
        assert left_of(shot) == whole, shot
        assert not [path for path in shot.rglob(".*") if path.name != ".lock"]


def test_a_run_whose_files_are_lost_comes_to_the_same(case, tmp_path):
    """Of each kind of file, one is cut short, one has a bit flipped, and one is deleted."""
    fit_run(*case, tmp_path / "run")
    whole = left_of(tmp_path / "run")
    steps = sorted((tmp_path / "run" / "checkpoints").iterdir())
    for number, name in enumerate(["config.json", "metrics.jsonl", "result.json", f"checkpoints/{steps[-1].name}"]):
        folder = shutil.copytree(tmp_path / "run", tmp_path / str(number))
        path = folder / name
        path = max(path.rglob("*"), key=lambda path: path.is_file() and path.stat().st_size) if path.is_dir() else path
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 16
        path.write_bytes(content[: len(content) // 2] if number % 2 else content)
        fit_run(*case, folder)
        assert left_of(folder) == whole, name


def test_a_process_is_refused_while_another_writes(case, tmp_path):
    from ancf_jax.files import locked
    from ancf_jax.types import InputError

    with locked(tmp_path), pytest.raises(InputError, match=r"--workdir: process \d+ of .* writes to"):
        fit_run(*case, tmp_path)
    assert json.loads((tmp_path / ".lock").read_text().split()[0]) > 0
