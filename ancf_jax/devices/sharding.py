"""Many devices and hosts, on JAX's own SPMD runtime: a mesh of `data` x `model`, or None for one device.

Batches are split by users over `data`, tables by rows over `model`; everything else is on every device. Steps stay as
they are written: XLA's partitioner splits them and adds the communication (Xu et al., GSPMD: General and Scalable
Parallelization for ML Computation Graphs, 2021). A table that the axis does not divide gets rows of zeros, which no
model sees: `shard` cuts them off inside the compiled program, where they are how XLA lays out an uneven split anyway.
"""

import re
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.multihost_utils import process_allgather
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from ancf_jax.devices.settings import MeshConfig
from ancf_jax.types import Array, ArrayLike, ClosedForm, InputError, Recommender, map_scoring, shapes_of


def connect(config: MeshConfig) -> Mesh | None:
    """Join the other processes, if there are any, and make the mesh; to be called before any use of a device.

    None without --mesh in a single process; several processes without --mesh split batches over all of their devices.
    Raises InputError for a bad --mesh.
    """
    if config.num_processes > 1:
        jax.distributed.initialize(config.coordinator, config.num_processes, config.process_id)
    text = config.mesh or (f"data={jax.device_count()}" if config.num_processes > 1 else "")
    return parse_mesh(text) if text else None


def is_first() -> bool:
    """Whether this is the process that writes files: the only one, or number 0."""
    return not jax.distributed.is_initialized() or jax.process_index() == 0


def parse_mesh(text: str) -> Mesh:
    """The mesh that a text like data=4,model=2 describes, over all devices of all processes; an absent axis has size 1.

    Raises InputError if the text is no such list, or if its product is not the number of devices.
    """
    devices = jax.device_count()
    sizes = {"data": 1, "model": 1}
    parts = [re.fullmatch(r"(data|model)=([1-9]\d*)", part.strip()) for part in text.split(",")]
    given = {part[1]: int(part[2]) for part in parts if part}
    sizes |= given
    if len(given) < len(parts) or sizes["data"] * sizes["model"] != devices:
        raise InputError(f"flag --mesh: {text!r} is not data=A,model=B with A * B = {devices}, the number of devices")
    return jax.make_mesh(tuple(sizes.values()), tuple(sizes), axis_types=(AxisType.Auto,) * 2)


def axis_size(mesh: Mesh | None, axis: str) -> int:
    """How many parts an axis makes: 1 without a mesh."""
    return 1 if mesh is None else mesh.shape[axis]


def check_batch(batch: int, mesh: Mesh | None) -> None:
    """Raises InputError if the data axis does not divide a step's training rows."""
    parts = axis_size(mesh, "data")
    if batch % parts:
        raise InputError(
            f"flag --batch_size: a step of {batch} training rows is not divided by the data axis of --mesh, {parts}; "
            f"legal are multiples of {parts} that are not above the number of training rows"
        )


def replicate(tree: Any, mesh: Mesh | None) -> Any:
    """Host arrays, the same in every process, on every device."""
    if mesh is None:
        return jax.device_put(tree)  # jnp.asarray would compile a program for each shape
    return jax.tree.map(lambda x: _place(x, NamedSharding(mesh, PartitionSpec())), tree)


def join(tree: Any, mesh: Mesh | None) -> Any:
    """Host arrays [r, ...], each process's own rows, as arrays of all their rows on every device."""
    return replicate(process_allgather(tree, tiled=True), mesh)


def split(tree: Any, mesh: Mesh | None, axis: int = 0) -> Any:
    """Host arrays, the same in every process, in equal parts along `axis` over the data axis."""
    if mesh is None:
        return jax.device_put(tree)
    return jax.tree.map(lambda x: _place(x, NamedSharding(mesh, PartitionSpec(*[None] * axis, "data"))), tree)


def everywhere(mesh: Mesh | None) -> NamedSharding | None:
    """The sharding of what is whole on every device, where every process can read it."""
    return None if mesh is None else NamedSharding(mesh, PartitionSpec())


def shardings(tree: Any, mesh: Mesh) -> Any:
    """How params, optimizer states and what `prepare` returns lie on the mesh, a sharding a leaf.

    Leaves below a key `tables` are split by rows over the model axis; all others are on every device.
    """
    rows, whole = NamedSharding(mesh, PartitionSpec("model")), NamedSharding(mesh, PartitionSpec())
    return jax.tree_util.tree_map_with_path(lambda path, x: rows if _is_table(path, x) else whole, tree)


def constrain(tree: Any, mesh: Mesh | None) -> Any:
    """Inside a compiled function, lay a tree out by `shardings`."""
    return tree if mesh is None else jax.lax.with_sharding_constraint(tree, shardings(tree, mesh))


def abstract(tree: Any, mesh: Mesh | None) -> Any:
    """The shapes, types and, on a mesh, `shardings` of a tree."""
    if mesh is None:
        return tree
    return jax.tree.map(
        lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree, shardings(tree, mesh)
    )


def shard(model: Recommender, mesh: Mesh | None) -> Recommender:
    """The same recommender on the devices: what it is given is on each, and tables are born split over the model axis.

    So that the axis divides them, they have more rows, as has what `prepare` returns below a key `tables`. The
    functions of `model` still see their own numbers of rows.
    """
    model = model._replace(given=replicate(model.given, mesh))
    if mesh is None:
        return model
    learn, parts = model.learn, mesh.shape["model"]
    params = shapes_of(model)
    ready = jax.eval_shape(model.prepare, params, model.given)

    def fill(path: Any, x: Array) -> Array:
        return jnp.pad(x, [(0, -len(x) % parts)] + [(0, 0)] * (x.ndim - 1)) if _is_table(path, x) else x

    def cut(x: Any, own: Any) -> Any:
        return x if x.shape == own.shape else x[: own.shape[0]]

    def reads(function: Any, own: Any) -> Any:
        return lambda tree, *rest: function(jax.tree.map(cut, tree, own), *rest)

    def writes(function: Any) -> Any:
        return lambda *args: constrain(jax.tree_util.tree_map_with_path(fill, function(*args)), mesh)

    learn = learn._replace(init=writes(learn.init))
    if isinstance(learn, ClosedForm):
        learn = learn._replace(sweep=writes(reads(learn.sweep, params)))
    else:
        advance = learn.advance and writes(reads(learn.advance, params))
        learn = learn._replace(loss=reads(learn.loss, params), advance=advance)
    filled = model._replace(learn=learn, prepare=writes(reads(model.prepare, params)))
    return map_scoring(partial(reads, own=ready), filled)


def _is_table(path: Any, leaf: Any) -> bool:
    return leaf.ndim > 0 and any(getattr(key, "key", None) == "tables" for key in path)


def _place(array: ArrayLike, sharding: NamedSharding) -> Array:
    array = np.asarray(array)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])
