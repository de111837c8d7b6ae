"""Event files as TensorBoard reads them: protocol buffers framed by their length."""

import struct
import sys

import pytest

from ancf_jax.runs.boards import event_files
from ancf_jax.types import InputError


def scalars(folder) -> dict[tuple[str, int], float]:
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            event = Event.FromString(content[12 : 12 + length])
            found |= {(each.tag, event.step): each.simple_value for each in event.summary.value}
            content = content[16 + length :]
    return found


def test_every_number_of_an_epoch_is_a_scalar(tmp_path):
    pytest.importorskip("tensorboardX")
    with event_files(tmp_path / "runs") as write:
        write({"epoch": 3, "seconds": 0.5, "loss": 0.25})
        write({"epoch": 4, "seconds": 0.5, "ndcg@10": 0.125, "mine.metrics:half": 0.5})
    assert scalars(tmp_path / "runs") == {
        ("training/seconds", 3): 0.5,
        ("training/loss", 3): 0.25,
        ("training/seconds", 4): 0.5,
        ("validation/ndcg_at_10", 4): 0.125,
        ("validation/mine.metrics.half", 4): 0.5,
    }


def test_a_run_that_told_nothing_leaves_no_file(tmp_path):
    pytest.importorskip("tensorboardX")
    with event_files(tmp_path / "runs"):
        pass
    assert not (tmp_path / "runs").exists()


def test_without_the_library_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(InputError, match=r"flag --tensorboard: .*\[tensorboard\]"), event_files(tmp_path):
        pass
