"""Which devices and processes share the work."""

import re
from dataclasses import dataclass

from ancf_jax.config import field
from ancf_jax.types import InputError


@dataclass(frozen=True)
class MeshConfig:
    """Which devices and processes share the work. A run may resume on others; its results change by rounding alone.

    But for --stream, whose windows depend on the number of processes.
    """

    mesh: str = field(
        "", "devices as data=A,model=B: batches split in A, tables in B (empty: one; data=all of several processes)"
    )
    coordinator: str = field("", "HOST:PORT of process 0, where several processes meet")
    num_processes: int = field(1, "processes that train together", low=1)
    process_id: int = field(0, "the number of this process; process 0 prints and writes", low=0)

    def __post_init__(self) -> None:
        if bool(self.coordinator) != (self.num_processes > 1) or self.process_id >= self.num_processes:
            raise InputError(
                "flags --coordinator, --num_processes, --process_id: legal are all three or none, with at least 2 "
                "processes, numbered from 0"
            )
        if self.coordinator and not re.fullmatch(r".+:\d+", self.coordinator):
            raise InputError(f"flag --coordinator: {self.coordinator!r} is not HOST:PORT")
