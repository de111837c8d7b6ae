"""The bytes of a file as a table, and the columns of a table as ids, numbers and times."""

import codecs
import contextlib
import csv
import gzip
import io
import itertools
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
from pandas.api import types as dtypes

from ancf_jax.data.clean import DEFAULT, Rules
from ancf_jax.types import InputError

SEPARATORS = {".csv": ",", ".tsv": "\t", ".parquet": "", ".dat": None, ".txt": None}  # None: found in the header
NUMBERS = ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64")
NULLABLE = {  # Arrow's types as pandas' own that keep numbers as they are beside missing cells
    **{pyarrow.type_for_alias(name.lower()): dtypes.pandas_dtype(name) for name in NUMBERS},
    pyarrow.bool_(): pd.BooleanDtype(),
    pyarrow.string(): pd.StringDtype(),
    pyarrow.large_string(): pd.StringDtype(),
}


class Attributes(NamedTuple):
    """What is known of items, or of users, beside who chose what: a row for each, and what the columns hold."""

    ids: pd.Series  # [n]
    frame: pd.DataFrame  # n rows in the same order
    text: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()  # several in a cell are separated by |
    numbers: tuple[str, ...] = ()


class Source(NamedTuple):
    """A data set as it was found: rows in file order, ids as the file has them (integers or strings)."""

    name: str
    # user, item (either may be missing), value (float, NaN if missing), time (int64 seconds); maybe basket (may be
    # missing), and part (0 train, 1 validation, 2 test) where files say so
    frame: pd.DataFrame
    titles: pd.Series | None = None  # item id -> title
    test: pd.DataFrame | None = None  # a published test part, with the columns of frame
    negatives: np.ndarray | None = None  # [rows of test, 99] item ids that the published test part ranks against
    items: Attributes | None = None
    rules: Rules = DEFAULT  # how it is cleaned where flags say nothing
    users: Attributes | None = None
    timed: bool = True  # whether `time` is more than the place in the file
    inferred: tuple[str, ...] = ()  # sentences on what the files did not state


def contents(path: Path, flag: str) -> tuple[bytes, str]:
    """The bytes of a file, decompressed, and the separator of its columns ('' for Parquet).

    Raises InputError that names the file and --`flag` when there is nothing to read.
    """
    kind = _kind(path)
    if not path.is_file():
        raise InputError(f"--{flag}={path}: no such file")
    if kind not in SEPARATORS:
        raise InputError(f"--{flag}={path}: the name must end in {', '.join(SEPARATORS)}, or one of them and .gz")
    with readable(path):
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # as spreadsheets write Unicode text
        with readable(path):
            raw = raw.decode("utf-16").encode()
    if not raw.strip():
        raise InputError(f"--{flag}={path}: the file is empty")
    separator = SEPARATORS[kind]
    if separator is None:
        header = raw.lstrip().split(b"\n", 1)[0].decode("latin-1")
        separator = max(("\t", "::", ",", ";"), key=header.count)
    return one_character(raw, separator)


def _kind(path: Path) -> str:
    """The end of a file's name, before .gz."""
    return path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix


def one_character(raw: bytes, separator: str) -> tuple[bytes, str]:
    """The same table under a separator that pandas' fast parser takes."""
    return (raw.replace(b"::", b"\t"), "\t") if separator == "::" else (raw, separator)


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns whatever a parser says of a damaged file into an InputError."""
    try:
        yield
    except (ValueError, OSError, EOFError, zlib.error, pyarrow.ArrowException) as error:
        raise InputError(f"{path}: cannot be read as a table: {' '.join(str(error).split())}") from error


def header(raw: bytes, separator: str) -> list[str]:
    """The names of the columns, as they are: one may be there twice."""
    if not separator:
        return pyarrow.parquet.read_schema(io.BytesIO(raw)).names
    return _read_csv(raw, separator, header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0].tolist()


def body(raw: bytes, separator: str, names: list[str]) -> pd.DataFrame:
    """The columns `names`; missing cells stay missing."""
    if not separator:
        return read_parquet(io.BytesIO(raw), names)
    return _read_csv(raw, separator, usecols=names, low_memory=False, dtype_backend="numpy_nullable")


def columns_of(path: Path, names: list[str]) -> pd.DataFrame:
    """The columns `names` of an original that has a header. Raises InputError that names the file."""
    raw, separator = contents(path, "data_dir")
    with readable(path):
        for name in set(names) - set(header(raw, separator)):
            raise ValueError(f"there is no column '{name}'")
        return body(raw, separator, names)


def headless(path: Path, separator: str, columns: dict[str, str]) -> pd.DataFrame:
    """The first columns of a file without a header, with their types. Raises InputError that names the file."""
    with readable(path):
        raw, separator = one_character(path.read_bytes(), separator)
        return pd.read_csv(
            io.BytesIO(raw),
            sep=separator,
            names=list(columns),
            usecols=range(len(columns)),
            dtype=columns,
            quoting=csv.QUOTE_NONE,
            encoding="latin-1",
        )


def read_parquet(file: Path | io.BytesIO, names: list[str], row_group: int | None = None) -> pd.DataFrame:
    """Columns of a Parquet file, or of one of its row groups."""
    with pyarrow.parquet.ParquetFile(file) as opened:
        table = opened.read(names) if row_group is None else opened.read_row_group(row_group, names)
    return table.to_pandas(types_mapper=NULLABLE.get, ignore_metadata=True)


def _read_csv(raw: bytes, separator: str, **options) -> pd.DataFrame:
    try:
        return pd.read_csv(io.BytesIO(raw), sep=separator, encoding="utf-8-sig", **options)
    except UnicodeDecodeError:
        return pd.read_csv(io.BytesIO(raw), sep=separator, encoding="latin-1", **options)


def as_ids(column: pd.Series) -> pd.Series:
    """Ids as integers if all of them are whole numbers, as strings otherwise; missing ids stay missing."""
    if dtypes.is_signed_integer_dtype(column):
        return column.astype("Int64")
    if dtypes.is_float_dtype(column):  # 17850.0 is how many tools write an integer beside empty cells
        present = column.dropna()
        if ((present % 1 == 0) & (present.abs() < 2**53)).all():
            return column.astype("Int64")
    return column.astype("string")


def as_numbers(path: Path, column: pd.Series, known: pd.Series) -> np.ndarray:
    """A column as float64 [R], NaN where it is empty.

    Raises InputError that names a `known` cell that is no number, or one that float32 cannot hold.
    """
    numbers = pd.to_numeric(column, errors="coerce").to_numpy("float64", na_value=np.nan)
    wrong = known & column.notna() & ~(np.abs(numbers) <= np.finfo(np.float32).max)
    if wrong.any():
        what = "too large" if np.isfinite(numbers[np.argmax(wrong)]) else "not a number"
        raise InputError(f"{_place(path, column, wrong)} is {what}")
    return numbers


def as_seconds(path: Path, column: pd.Series, known: pd.Series) -> np.ndarray:
    """A column of numbers or dates as int64 [R]; 0 where a row that is not `known` has no time.

    Raises InputError that names a `known` cell that is neither.
    """
    if dtypes.is_signed_integer_dtype(column) and not (column.isna() & known).any():
        return column.to_numpy("int64", na_value=0)  # exact, nanoseconds too
    if dtypes.is_numeric_dtype(column):
        readings = [_from_numbers]
    elif dtypes.is_datetime64_any_dtype(column):
        readings = [_from_dates]
    else:
        readings = [_from_numbers, _from_iso_dates, _from_dates]
    failures = []
    for reading in readings:
        times = reading(column)
        wrong = known & ~(np.abs(times) < 2**63)
        if not wrong.any():
            return np.floor(np.where(known, times, 0)).astype("int64")
        failures.append(wrong)
    wrong = min(failures, key=lambda wrong: wrong.sum())  # the reading that fits best shows the odd one out
    raise InputError(f"{_place(path, column, wrong)} is neither a number nor a date")


def _from_numbers(column: pd.Series) -> np.ndarray:
    return pd.to_numeric(column, errors="coerce").to_numpy("float64", na_value=np.nan)


def _from_iso_dates(column: pd.Series) -> np.ndarray:
    return _from_dates(column, "ISO8601")


def _from_dates(column: pd.Series, pattern: str | None = None) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # pandas: the format could not be inferred
        dates = pd.to_datetime(column, errors="coerce", utc=True, format=pattern)
    return (dates - pd.Timestamp("1970-01-01", tz="UTC")).dt.total_seconds().to_numpy()


def _place(path: Path, column: pd.Series, wrong: pd.Series) -> str:
    """The file, line, column and text of the first wrong cell; the header is line 1."""
    row = int(np.argmax(wrong))
    cell = "empty" if pd.isna(column.iloc[row]) else f"'{column.iloc[row]}'"
    if _kind(path) == ".parquet":
        return f"{path}: row {column.index[row] + 1}, column '{column.name}': {cell}"
    raw, separator = contents(path, "dataset")
    lines = csv.reader(io.StringIO(raw.decode("utf-8-sig", errors="replace")), delimiter=separator)
    # pandas skips blank lines
    numbers = (lines.line_num for cells in lines if len(cells) > 1 or "".join(cells).strip())
    line = next(itertools.islice(numbers, row + 1, None))
    return f"{path}: line {line}, column '{column.name}': {cell}"
