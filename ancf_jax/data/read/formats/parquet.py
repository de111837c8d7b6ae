"""Columns of a Parquet file, as they are typed there."""

from collections.abc import Sequence

import pyarrow
import pyarrow.parquet

from ancf_jax.data.read.files import File, readable, unpacked


def schema_of(file: File) -> pyarrow.Schema:
    """The names and types of the columns."""
    with readable(file.path), pyarrow.parquet.ParquetFile(_source(file)) as opened:
        return opened.schema_arrow


def read_columns(file: File, places: Sequence[int], row_group: int | None = None) -> list[pyarrow.ChunkedArray]:
    """The columns at `places`, or a row group of them."""
    with readable(file.path), pyarrow.parquet.ParquetFile(_source(file)) as opened:
        names = [opened.schema_arrow.names[place] for place in places]
        distinct = list(dict.fromkeys(names))
        table = opened.read(distinct) if row_group is None else opened.read_row_group(row_group, distinct)
        return [table[name] for name in names]


def _source(file: File):
    """What Arrow opens: the file, or its bytes where it is compressed as a whole."""
    if not file.packed:
        return file.path
    with unpacked(file) as stream:
        return pyarrow.BufferReader(stream.read())
