"""Files that are never half written, are known to be damaged, and belong to one writer."""

import json
import os
import signal
import subprocess
import sys

import pytest

from ancf_jax.files import at_home, json_text, locked, read_json, replace, sealed
from ancf_jax.types import InputError

HOLD = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
file.write("4242 of there"); file.flush()
print("held", flush=True); input()
"""


def test_a_lock_names_who_holds_it_and_ends_with_the_process(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / ".lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(InputError, match="process 4242 of there writes to"), locked(tmp_path):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    (tmp_path / ".result.json.4242.partial").write_text("half")  # what it was writing
    with locked(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_folder_that_is_none_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--workdir: .*file cannot be written: "), locked(tmp_path / "file"):
        pass


@pytest.mark.parametrize("content", [b"", b"[]", b"7", b'{"a": ', b"\xff\xfe", b"[" * 9999, b'{"a": []}', b"{}"])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "it.json").write_bytes(content)
    with pytest.raises(InputError, match=r"it\.json is damaged: "):
        read_json(tmp_path / "it.json", a=dict)


def test_any_changed_digit_is_found(tmp_path):
    path, content = tmp_path / "it.json", {"rate": 0.001, "none": float("nan"), "list": (1, [2, {"x": "é"}])}
    path.write_text(json_text(sealed(content)))
    text = path.read_text()
    assert read_json(path) == json.loads(json_text(content))
    for place, letter in enumerate(text.partition("sha256")[0]):
        if letter.isdigit():
            path.write_text(text[:place] + str((int(letter) + 1) % 10) + text[place + 1 :])
            with pytest.raises(InputError, match='does not fit its "sha256"'):
                read_json(path)


def test_a_link_is_not_written_through(tmp_path):
    (tmp_path / "other").write_text("mine")
    (tmp_path / f".it.{os.getpid()}.partial").symlink_to(tmp_path / "other")
    replace(tmp_path / "it", lambda file: file.write(b"new"))
    assert (tmp_path / "other").read_text() == "mine" and (tmp_path / "it").read_text() == "new"


def test_without_a_home_the_cache_is_a_folder_of_a_while(monkeypatch, tmp_path):
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert at_home("~/.cache/it") == tmp_path / ".cache" / "it" and str(at_home("~nobody/it")) == "~nobody/it"
