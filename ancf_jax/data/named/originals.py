"""The files of named data sets, as their publishers wrote them, as columns."""

from pathlib import Path

import pandas as pd
import pyarrow

from ancf_jax.data.read.files import File, readable
from ancf_jax.data.read.formats import delimited
from ancf_jax.data.read.formats.delimited import Layout
from ancf_jax.data.read.tables import Table, read_table

TYPES = {"int64": pyarrow.int64(), "float64": pyarrow.float64(), "str": pyarrow.string()}


def columns_of(path: Path, names: list[str]) -> Table:
    """The columns `names` of an original that has a header. Raises InputError that names the file."""
    return read_table(str(path), "data_dir", [("data_dir", name) for name in names])


def headless(path: Path, separator: str, columns: dict[str, str]) -> pd.DataFrame:
    """The first columns of a file without a header, with their types. Raises InputError that names the file."""
    with readable(path):
        with path.open("rb") as file:
            fields = len(file.readline().decode("latin-1").split(separator))
        names = [*columns, *(f"further {place}" for place in range(fields - len(columns)))]
        if fields < len(columns):
            raise ValueError(f"line 1 has {fields} columns, where {len(columns)} were expected: {', '.join(columns)}")
        layout = Layout(names, separator, False, 0, "latin-1")
        found = delimited.read_columns(File(path, ".dat"), layout, range(len(columns)))
        typed = {name: column.cast(TYPES[columns[name]]) for name, column in zip(columns, found, strict=True)}
        return pyarrow.table(typed).to_pandas()
