"""A log that is in memory already, as a DataFrame."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow

from ancf_jax.data.read import cells, where
from ancf_jax.data.read.files import File
from ancf_jax.data.read.formats.delimited import Dialect
from ancf_jax.data.read.tables import Piece, Table, counted, filtered, require_columns
from ancf_jax.types import InputError


def read_frame(
    frame: pd.DataFrame, name: str, wanted: Iterable[tuple[str, str]], dialect: Dialect, condition: str = ""
) -> Table:
    """The `wanted` columns (flag, column) of a frame called `name`, in the rows that --where keeps.

    Its cells are what a Parquet file of them would hold. Raises InputError where it lacks a column or has no rows.
    """
    conditions, file = where.parse(condition), File(Path(name), ".parquet")
    asked = [*wanted, *(("where", condition.column) for condition in conditions)]
    require_columns(file, [str(column) for column in frame.columns], asked)
    if not len(frame):
        raise InputError(f"{name}: no rows")
    columns = {}
    for column in dict.fromkeys(column for _, column in asked):
        try:
            found = pyarrow.array(frame[column], from_pandas=True)
        except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
            raise InputError(f"{name}: column '{column}' holds cells of several types: {error}") from None
        except UnicodeEncodeError as error:  # a lone surrogate, which a column of objects may hold
            raise InputError(f"{name}: column '{column}' holds a text that is no Unicode: {error.object!a}") from None
        columns[column] = cells.plain(pyarrow.chunked_array([found]), f"{name}: column '{column}'")
    table = Table(columns, np.arange(len(frame)), [Piece(file, 0, None)], dialect)
    return counted(filtered(table, conditions), name, condition, len(frame))
