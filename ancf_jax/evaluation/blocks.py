"""Rows of an evaluation through one jitted function, in blocks of one size that fit a memory budget."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from ancf_jax.devices.sharding import axis_size, everywhere, split
from ancf_jax.types import Array, InputError

AT_ONCE = 2  # blocks on a CPU: some operations of one leave cores idle
Step = Callable[..., dict[str, Any]]  # ready, *parts, one block of rows -> name -> [B, ...]


def run_in_blocks(
    step: Step,
    parts: Any,
    rows: Any,
    *,
    block: int,
    bytes_per_row: int,
    budget: float,
    mesh: Mesh | None,
    measure: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> Callable[[Any], dict[str, np.ndarray]]:
    """The function from `ready` to what step(ready, *parts, *some rows) gives for all `rows`, columns of one length.

    `measure`, if given, takes what the step gives for a block, on the host, and makes of it what is returned. At most
    `block` rows of `bytes_per_row` are taken at once, split over the data axis of `mesh`, and half as many, and half
    again, where the compiled steps that run at a time need more than `budget` GiB. Raises InputError if not even one
    row fits.
    """
    at_once = AT_ONCE if mesh is None and jax.default_backend() == "cpu" else 1
    step = jax.jit(step, out_shardings=everywhere(mesh))
    count, devices = len(rows[0]), axis_size(mesh, "data")
    blocks: list[tuple[Array, ...]] = []

    def cut(size: int) -> list[tuple[Array, ...]]:
        """The rows in blocks of one size; the last row is repeated."""
        places = np.minimum(np.arange(-(-count // size) * size), count - 1).reshape(-1, size)
        return [tuple(split(column[place], mesh) for column in rows) for place in places]

    def run(ready: Any) -> dict[str, np.ndarray]:
        if not blocks:
            most = min(block, int(budget / at_once * 2**30 / bytes_per_row) * devices)
            size = users_that_fit(
                lambda size: step.lower(ready, *parts, *cut(size)[0]).compile(),
                max(most + -most % devices, devices),
                devices,
                budget,
                at_once,
            )
            blocks.extend(cut(size))

        def found(rows: tuple[Array, ...]) -> dict[str, Any]:
            return jax.device_get(measure(jax.device_get(step(ready, *parts, *rows))))

        # No more at a time: a CPU would start the next while one still holds its memory.
        with ThreadPoolExecutor(at_once) as pool:
            outputs = [found(blocks[0]), *pool.map(found, blocks[1:])]  # the first compiles for the others
        return {name: np.concatenate([output[name] for output in outputs])[:count] for name in outputs[0]}

    return run


def users_that_fit(compiled: Callable[[int], Any], most: int, least: int, budget: float, at_once: int = 1) -> int:
    """How many users, `most` halved until they fit, the step compiled for so many ranks within `budget` GiB.

    So many users `at_once` times.
    """
    while True:
        memory = compiled(most).memory_analysis()  # None where a platform does not say
        need = 0 if memory is None else at_once * (memory.temp_size_in_bytes + memory.output_size_in_bytes)
        if need <= budget * 2**30:
            return most
        if most == least:
            raise InputError(
                f"flag --memory_budget: {budget:g} GiB are too few; to rank the items of one user at a time takes "
                f"{need / 2**30:.2g}"
            )
        most = max(most // 2 // least, 1) * least
