"""What cannot fit is refused in one line."""

import pytest

from ancf_jax.devices import memory
from ancf_jax.types import InputError


def test_what_cannot_fit_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 3 * 2**30)
    memory.check_memory("ease", 3 * 2**30, "two arrays")
    with pytest.raises(InputError, match=r"--model=ease: two arrays need 4 GiB and this device has 3;.*--item_core"):
        memory.check_memory("ease", 4 * 2**30, "two arrays")


@pytest.mark.parametrize(("limit", "fits"), [("1024\n", 1024), ("max\n", None), (None, None)])
def test_a_container_limits_it(monkeypatch, tmp_path, limit, fits):
    monkeypatch.setattr(memory, "CGROUP", tmp_path / "memory.max")
    if limit is not None:
        memory.CGROUP.write_text(limit)
    assert memory.available() == fits or (fits is None and memory.available() > 2**28)
