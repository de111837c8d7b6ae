"""A trained model as files that need no line of this package: its score function, its weights, and what ids stand for.

    score.stablehlo      the score function, serialised by jax.export, for any number of users
    weights.safetensors  its weights by name
    vectors.safetensors  `items` [I, D], and `users` [U, D] where a user is a vector, of which a score is <user, item>
    users.parquet        id and row of every user
    items.parquet        id, row and title of every item
    model.json           sizes, the length H of a history, and what a score is

With jax and safetensors alone,

    score = jax.export.deserialize(open("score.stablehlo", "rb").read()).call
    score(safetensors.numpy.load_file("weights.safetensors"), users, history, values)  # [B, I] float32

for users [B] int32 by row, or U for one that is new; history [B, H] int32 of item rows, oldest first, padded with I on
the left; and values [B, H] float32 of these interactions, 0 at padding.
"""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ancf_jax.data.dataset import Dataset
from ancf_jax.serving.lookup import title_of
from ancf_jax.types import Array, Data, InputError, Query, Recommender

PLATFORMS = ("cpu", "cuda", "tpu")


def export(folder: Path, name: str, dataset: Dataset, data: Data, model: Recommender, ready: Any) -> dict[str, Any]:
    """Write a model called `name`, `ready` to score, to a new folder, and return what model.json holds. Atomic.

    Raises InputError if the folder is there, if safetensors or flatbuffers are not ([export]), or for a model whose
    scores are made by a call of this version of JAX alone, such as products of sparse matrices.
    """
    try:
        import flatbuffers  # noqa: F401  # which jax.export writes by
        from safetensors.flax import save_file
    except ImportError as error:
        raise InputError(f"{error.name} is missing: pip install 'ancf_jax[export]'") from None
    if folder.exists():
        raise InputError(f"flag --output: {folder} is there already; choose a new folder")
    content = {
        "model": name,
        "dataset": dataset.name,
        "users": data.num_users,
        "items": data.num_items,
        "history": model.history,
        "score": model.unit,
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}") as unfinished:
        part = Path(unfinished) / "part"
        part.mkdir()
        save_file(named(ready), part / "weights.safetensors")
        (part / "score.stablehlo").write_bytes(score_function(model, ready))
        vectors = vectors_of(model, data, ready)
        if vectors:
            save_file(vectors, part / "vectors.safetensors")
        users = {"id": np.asarray(dataset.user_ids), "row": np.arange(data.num_users)}
        titles = [title_of(dataset, item) for item in range(data.num_items)]
        items = {"id": np.asarray(dataset.item_ids), "row": np.arange(data.num_items), "title": titles}
        pd.DataFrame(users).to_parquet(part / "users.parquet", index=False)
        pd.DataFrame(items).to_parquet(part / "items.parquet", index=False)
        (part / "model.json").write_text(json.dumps(content, indent=1) + "\n")
        os.replace(part, folder)
    return content


def named(ready: Any) -> dict[str, Array]:
    """The arrays of what a model scores by, by their paths, such as tables/item."""
    leaves = jax.tree_util.tree_leaves_with_path(ready)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): jnp.asarray(leaf) for path, leaf in leaves}


def score_function(model: Recommender, ready: Any) -> bytes:
    """The serialised score of all items, of weights by name, users [B], history [B, H] and values [B, H], for any B.

    Users are scored one after another: models choose the blocks that they compute in by a number that is known.
    """
    structure, weights = jax.tree.structure(ready), named(ready)

    def score(weights: dict[str, Array], users: Array, history: Array, values: Array) -> Array:
        whole = jax.tree.unflatten(structure, [weights[name] for name in names])

        def of_user(row: tuple[Array, Array, Array]) -> Array:
            return model.score(whole, Query(*(part[None] for part in row)))[0]

        return jax.lax.map(of_user, (users, history, values))

    names = list(weights)
    (count,) = jax.export.symbolic_shape("b")
    shapes = (((count,), jnp.int32), ((count, model.history), jnp.int32), ((count, model.history), jnp.float32))
    asked = (jax.ShapeDtypeStruct(shape, kind) for shape, kind in shapes)
    kept = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), weights)
    exported = jax.export.export(jax.jit(score), platforms=PLATFORMS)
    try:
        return bytes(exported(kept, *asked).serialize())
    except ValueError as error:
        if "custom call" not in str(error):
            raise
        raise InputError(
            "--workdir: this model cannot be exported: its scores are products of sparse matrices, by calls that other "
            "versions of JAX need not have"
        ) from error


def vectors_of(model: Recommender, data: Data, ready: Any) -> dict[str, Array]:
    """The vectors of items, and of users where these hang on no history, if a score is an inner product."""
    if model.embed is None:
        return {}
    users = jnp.arange(data.num_users)
    nothing = jnp.full((len(users), model.history), data.num_items)
    query = Query(users, nothing, jnp.zeros(nothing.shape))
    if not model.history or model.alone:
        return dict(zip(("users", "items"), jax.jit(model.embed)(ready, query), strict=True))
    return {"items": jax.jit(model.embed)(ready, jax.tree.map(lambda x: x[:1], query))[1]}
