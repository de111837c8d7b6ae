"""A run that is killed at any moment, and rerun, comes to what it comes to uninterrupted, to the bit.

What a kill leaves is what lies there at that moment. So the folder is copied before every file event of a run, and the
run is taken up from the copies: here from some of them, in tests/reliability from all, and after real kills.
"""

import shutil

import numpy as np
import pytest

from ancf_jax.config import from_json
from ancf_jax.files import locked
from ancf_jax.models import MODELS
from ancf_jax.runs.fit import fit_run
from ancf_jax.runs.run import Run, open_data
from ancf_jax.settings import DataConfig, TrainConfig
from ancf_jax.types import InputError
from tests.reliability.snapshots import left_of, shots_of

SHOTS = 3  # copies that are taken up here


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A run of two epochs and its data."""
    folder = tmp_path_factory.mktemp("log")
    rng = np.random.default_rng(0)
    rows = [f"{user},{item}\n" for user in range(12) for item in rng.permutation(15)[:6]]
    (folder / "log.csv").write_text("user,item\n" + "".join(rows))
    config = from_json(MODELS["gmf"].config, {"factors": 4})
    train = TrainConfig(epochs=2, batch_size=8, learning_rate=0.05, knows="train")
    run = Run("gmf", DataConfig(dataset=str(folder / "log.csv")), config, train)
    return run, open_data(run)


@pytest.fixture(scope="module")
def whole(case, tmp_path_factory):
    """The folder of that run, uninterrupted, and copies of it as it was before every file event."""
    root = tmp_path_factory.mktemp("whole")
    with shots_of(root / "run", root / "shots") as shots:
        fit_run(*case, root / "run")
    return root / "run", shots


def test_a_run_killed_before_a_file_event_comes_to_the_same(case, whole):
    folder, shots = whole
    expected = left_of(folder)
    assert len(shots) > 20 and len(expected["metrics.jsonl"]) == 2
    for shot in shots[len(shots) // 5 :: len(shots) // SHOTS]:
        fit_run(*case, shot)
        assert left_of(shot) == expected, shot
        assert not [path for path in shot.rglob(".*") if path.name != ".lock"]


def test_a_run_whose_files_are_lost_comes_to_the_same(case, whole, tmp_path, caplog):
    """A file cut short, one with a bit flipped, one deleted; and the largest of the latest checkpoint."""
    folder = shutil.copytree(whole[0], tmp_path / "run")
    latest = folder / "checkpoints" / "2"
    array = max(latest.rglob("d/*"), key=lambda path: path.stat().st_size)
    for path in (folder / "config.json", array):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 16
        path.write_bytes(content)
    (folder / "metrics.jsonl").write_text((folder / "metrics.jsonl").read_text()[:-9])
    (folder / "result.json").unlink()
    fit_run(*case, folder)
    assert left_of(folder) == left_of(whole[0])
    assert f"{array} is damaged" in caplog.text and "config.json is damaged" in caplog.text


def test_a_process_is_refused_while_another_writes(case, tmp_path):
    with locked(tmp_path), pytest.raises(InputError, match=r"--workdir: process \d+ of .* writes to"):
        fit_run(*case, tmp_path)
    with locked(tmp_path):  # the other is gone
        assert int((tmp_path / ".lock").read_text().split()[0]) > 0
