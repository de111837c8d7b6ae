"""Whether what grows with the data fits the memory, asked before it is taken."""

import os
from pathlib import Path

from ancf_jax.types import InputError

CGROUP = Path("/sys/fs/cgroup/memory.max")  # what a container may use; "max" or missing where nothing limits it


def machine() -> int:
    """Bytes of memory that this machine, or the container, has in all."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = CGROUP.read_text().strip() if CGROUP.exists() else ""
    return min(physical, int(limit)) if limit.isdigit() else physical


def available() -> int:
    """Bytes of memory that the first device has in all."""
    import jax  # takes a second, which reading a log should not cost

    stats = jax.local_devices()[0].memory_stats() or {}
    return int(stats["bytes_limit"]) if "bytes_limit" in stats else machine()


def check_memory(model: str, need: int, what: str) -> None:
    """Raises InputError if `need` bytes, for `what`, are more than the device has."""
    have = available()
    if need > have:
        raise InputError(
            f"--model={model}: {what} need {need / 2**30:.3g} GiB and this device has {have / 2**30:.3g}; legal are "
            "fewer items, as by --item_core"
        )


def check_machine(what: str, need: int, legal: str) -> None:
    """Raises InputError that says what is `legal` if `need` bytes, for `what`, are more than this machine has."""
    have = machine()
    if need > have:
        raise InputError(
            f"{what} need {need / 2**30:.3g} GiB and this machine has {have / 2**30:.3g}; legal are {legal}"
        )
