"""Columns of a Parquet file, as they are typed there."""

from collections.abc import Sequence

import pyarrow
import pyarrow.parquet

from ancf_jax.data.read.files import File, readable, unpacked
from ancf_jax.devices.memory import check_machine
from ancf_jax.types import InputError


def schema_of(file: File) -> pyarrow.Schema:
    """The names and types of the columns."""
    with readable(file.path), pyarrow.parquet.ParquetFile(_source(file)) as opened:
        return opened.schema_arrow


def read_columns(file: File, places: Sequence[int], row_group: int | None = None) -> list[pyarrow.ChunkedArray]:
    """The columns at `places`, or a row group of them. Raises InputError for cells that are not of their type."""
    with readable(file.path), pyarrow.parquet.ParquetFile(_source(file)) as opened:
        names = [opened.schema_arrow.names[place] for place in places]
        distinct = list(dict.fromkeys(names))
        groups = range(opened.metadata.num_row_groups) if row_group is None else [row_group]
        size = sum(_size(opened.metadata.row_group(group), set(distinct)) for group in groups)
        check_machine(f"{file.path}: columns {', '.join(distinct)}", size, "fewer rows, or --stream for a log")
        table = opened.read(distinct) if row_group is None else opened.read_row_group(row_group, distinct)
    for name in distinct:
        try:
            table[name].validate(full=True)  # Parquet promises that texts are UTF-8; a damaged file breaks it
        except pyarrow.ArrowInvalid as error:
            raise InputError(f"{file.path}: column '{name}' is damaged: {str(error).splitlines()[0]}") from None
    return [table[name] for name in names]


def _size(group: pyarrow.parquet.RowGroupMetaData, names: set[str]) -> int:
    """The bytes of some columns, each maybe of several parts, before they are decoded."""
    columns = map(group.column, range(group.num_columns))
    return sum(
        each.total_uncompressed_size
        for each in columns
        if each.path_in_schema in names or each.path_in_schema.partition(".")[0] in names
    )


def _source(file: File):
    """What Arrow opens: the file, or its bytes where it is compressed as a whole."""
    if not file.packed:
        return file.path
    with unpacked(file) as stream:
        return pyarrow.BufferReader(stream.read())
