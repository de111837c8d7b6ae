"""Whether arrays that grow faster than the data fit the device, asked before they are allocated."""

import os
from pathlib import Path

import jax

from ancf_jax.types import InputError

CGROUP = Path("/sys/fs/cgroup/memory.max")  # what a container may use; "max" or missing where nothing limits it


def available() -> int:
    """Bytes of memory that the first device has in all."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return int(stats["bytes_limit"])
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = CGROUP.read_text().strip() if CGROUP.exists() else ""
    return min(physical, int(limit)) if limit.isdigit() else physical


def check_memory(model: str, need: int, what: str) -> None:
    """Raises InputError if `need` bytes, for `what`, are more than the device has."""
    have = available()
    if need > have:
        raise InputError(
            f"--model={model}: {what} need {need / 2**30:.3g} GiB and this device has {have / 2**30:.3g}; legal are "
            "fewer items, as by --item_core"
        )
