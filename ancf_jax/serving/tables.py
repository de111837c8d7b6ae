"""Tables in and out: ids and rows that are asked about, and lists, scores and vectors as files."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ancf_jax.data.dataset import Dataset
from ancf_jax.data.named.benchmarks import NAMED
from ancf_jax.data.read.sources import log_of, read_log, source_of
from ancf_jax.files import PARTIAL, at_home
from ancf_jax.serving.explain import Reasons
from ancf_jax.serving.lookup import title_of
from ancf_jax.serving.recommend import BLOCK, Listed, Server, person_of, query_of_people, rows_of_list
from ancf_jax.serving.similar import item_vectors
from ancf_jax.settings import DataConfig
from ancf_jax.types import InputError

SUFFIXES = (".parquet", ".csv")


def ids_in(path: str, flag: str) -> list[str]:
    """The ids in a file of text, one a line; empty lines count for nothing. Raises InputError that names the flag."""
    try:
        text = at_home(path).read_text("utf-8-sig")
    except OSError as error:
        raise InputError(f"flag --{flag}: {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"flag --{flag}: {path} is no UTF-8 text of an id a line") from error
    found = [line.strip() for line in text.splitlines() if line.strip()]
    if not found:
        raise InputError(f"flag --{flag}: {path} holds no id; legal is one a line")
    return found


def frame_of(rows: pd.DataFrame | str, config: DataConfig, flag: str = "new_rows", values: bool = True) -> pd.DataFrame:
    """Rows of user, item, value and time in a DataFrame or file, in the columns of the log that `config` describes.

    Of a named data set they are user, item, value and time; without `values` user and item are all that is read.
    Raises InputError that names the file, column or line.
    """
    if config.dataset in NAMED and not config.train_path:
        config = DataConfig(dataset=config.dataset, value_column="value", time_column="time")
    config = replace(config, basket_column="", items_path="", where=config.where if values else "")
    if not values:
        config = replace(config, value_column="", time_column="")
    if isinstance(rows, pd.DataFrame):
        return source_of(rows, config).frame
    return log_of(read_log(rows, flag, config), config).frame


def check_output(path: str, flag: str, legal: Sequence[str] = SUFFIXES) -> Path:
    """The path of a file to be written. Raises InputError for another ending, or a folder that is not there."""
    found = at_home(path)
    if found.suffix not in legal or not found.parent.is_dir():
        raise InputError(f"flag --{flag}: {path} is no {' or '.join(legal)} file in a folder that exists")
    return found


@contextmanager
def writing(path: Path) -> Iterator[Callable[[pa.Table], None]]:
    """What writes one table after another to a file, which is there, whole, once all are."""
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    opened: list[pa.parquet.ParquetWriter | pa.csv.CSVWriter] = []

    def write(table: pa.Table) -> None:
        if not opened:
            kind = pa.parquet.ParquetWriter if path.suffix == ".parquet" else pa.csv.CSVWriter
            opened.append(kind(str(partial), table.schema))
        opened[0].write_table(table)

    try:
        yield write
        for writer in opened:
            writer.close()
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def table_of_lists(server: Server, listed: Listed, reasons: Reasons | None = None) -> pa.Table:
    """Lists as rows of user, item, title, rank and score; with `reasons`, those of each as a JSON list."""
    dataset, items, scores = server.dataset, np.asarray(listed.items), np.asarray(listed.scores, np.float32)
    rows, places = np.nonzero(items < len(dataset.item_ids))
    found, users = items[rows, places], _users(server, [listed.people[row] for row in rows.tolist()])
    columns = {
        "user": users,
        "item": pa.array(dataset.item_ids[found]),
        "title": pa.array([title_of(dataset, item) for item in found], pa.string()),
        "rank": pa.array(places + 1, pa.int32()),
        "score": pa.array(scores[rows, places]),
    }
    if reasons is not None:
        past, weights = np.asarray(reasons.items)[rows, places], np.asarray(reasons.weights)[rows, places]
        columns["reasons"] = pa.array(
            [_as_json(dataset, *pair) for pair in zip(past, weights, strict=True)], pa.string()
        )
    return pa.table(columns)


def table_of_pairs(server: Server, users: Iterable[str], items: Iterable[str], scores: np.ndarray) -> pa.Table:
    """Pairs with their scores: user, item, score; ids as text."""
    return pa.table({"user": pa.array(users, pa.string()), "item": pa.array(items, pa.string()), "score": scores})


def vectors_of(server: Server, model: str) -> Iterator[pa.Table]:
    """The vectors of items, then of users in blocks: kind, id, title, vector. The inner product of two is the score.

    Raises InputError if `model`, as it is called, has none.
    """
    items, dataset = item_vectors(server), server.dataset
    if items is None or server.model.embed is None:
        raise InputError(f"flag --vectors: the score of {model} is no inner product, so there are no vectors")
    embed = server.model.embed
    titles = [title_of(dataset, item) for item in range(len(dataset.item_ids))]
    yield _vectors("item", dataset.item_ids, titles, np.asarray(items))
    of_users = jax.jit(lambda ready, query: embed(ready, query)[0])
    for start in range(0, len(dataset.user_ids), BLOCK):
        ids = dataset.user_ids[start : start + BLOCK]
        people = [person_of(server, str(user)) for user in ids]
        filled = people + [people[-1]] * (min(BLOCK, len(dataset.user_ids)) - len(people))
        found = np.asarray(of_users(server.ready, query_of_people(server, filled)))[: len(people)]
        yield _vectors("user", ids, [None] * len(ids), found)


def _vectors(kind: str, ids: np.ndarray, titles: Sequence[str | None], vectors: np.ndarray) -> pa.Table:
    flat = pa.array(vectors.astype(np.float32).ravel())
    return pa.table(
        {
            "kind": pa.array([kind] * len(ids), pa.string()),
            "id": pa.array([str(id) for id in ids], pa.string()),
            "title": pa.array(titles, pa.string()),
            "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
        }
    )


def _as_json(dataset: Dataset, past: np.ndarray, weights: np.ndarray) -> str:
    return json.dumps(rows_of_list(dataset, past, weight=weights.tolist()), ensure_ascii=False)


def _users(server: Server, names: Sequence[Any]) -> pa.Array:
    """Ids of users: whole numbers, unless they are text, or later rows are of users that may be anybody."""
    if server.dataset.user_ids.dtype.kind == "i" and not server.later:
        return pa.array(names, pa.int64())
    return pa.array([str(name) for name in names], pa.string())
