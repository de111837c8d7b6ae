"""Scripts where little is as it should be, for real: one clear line, and what was done is kept."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import recommend, train
from tests.reliability.hostile import environment

UNSHARE = shutil.which("unshare") or ""


@pytest.mark.skipif(
    not UNSHARE or subprocess.run([UNSHARE, "-m", "true"], capture_output=True).returncode != 0,
    reason="this user may not mount",
)
def test_without_home_git_letters_and_room(tmp_path):
    """ASCII alone, no HOME, no git; a disk that is full, then has room, then is read-only."""
    command = [UNSHARE, "-m", sys.executable, "-m", "tests.reliability.hostile", str(tmp_path)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    lines = {what: [line for line in said.splitlines() if line] for what, (_, said) in found.items()}
    assert {what: status for what, (status, _) in found.items()} == {
        "a full disk": 1,
        "the same command again": 0,
        "a disk that is read-only": 2,
        "lists from it": 0,
    }
    assert lines["a full disk"][-1].startswith("error: the disk is full (")
    assert "No space left on device); free some" in lines["a full disk"][-1]
    assert lines["a disk that is read-only"][-1].endswith("a run cannot be written: Read-only file system")
    assert json.loads(lines["the same command again"][-1])["commit"] is None
    assert "Traceback" not in str(lines) and "caf\\xe9" in "\n".join(lines["lists from it"])


def test_spaces_and_an_emoji_in_every_path(script, shop, tmp_path):
    folder = tmp_path / "our \U0001f95d logs"
    folder.mkdir()
    shutil.copy(shop / "log.csv", folder / "the log \U0001f95d.csv")
    data = [f"--dataset={folder}/the log \U0001f95d.csv", "--user_column=customer", "--item_column=product"]
    workdir = f"--workdir={folder}/a run \U0001f95d"
    status, _, err = script(train, *data, "--model=gmf", "--epochs=1", "--beside=", workdir)
    assert status == 0, err
    status, _, err = script(recommend, workdir, "--user=c03", f"--output={folder}/lists \U0001f95d.csv")
    assert status == 0 and len(os.listdir(folder)) == 3, err
