"""What is known of each epoch as TensorBoard event files: tensorboard --logdir=checkpoints"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ancf_jax.devices.sharding import is_first
from ancf_jax.runs.fit import TIMES
from ancf_jax.types import InputError


@contextmanager
def event_files(folder: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yields what writes an epoch's record as scalars into event files in `folder`, @ written _at_.

    A resumed run takes the place of what an interrupted one wrote of the same epochs. Of several processes the first
    writes. Raises InputError without tensorboardX ([tensorboard]).
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise InputError(
            "flag --tensorboard: needs tensorboardX; install the package with its [tensorboard] extra"
        ) from None
    writers: list[Any] = []

    def write(record: dict[str, Any]) -> None:
        if not writers and is_first():
            writers.append(SummaryWriter(str(folder), purge_step=record["epoch"]))
        for writer in writers:
            for name, value in record.items():
                if name != "epoch":
                    part = "training" if name in TIMES else "validation"
                    writer.add_scalar(f"{part}/{name.replace('@', '_at_').replace(':', '.')}", value, record["epoch"])
            writer.flush()

    try:
        yield write
    finally:
        for writer in writers:
            writer.close()
