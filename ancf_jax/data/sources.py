"""Reads a named data set or a file into one table of user, item, value and time."""

import contextlib
import csv
import difflib
import gzip
import io
import itertools
import os
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
from pandas.api import types as dtypes

from ancf_jax.config import DataConfig
from ancf_jax.data import downloads
from ancf_jax.types import InputError

SEPARATORS = {".csv": ",", ".tsv": "\t", ".parquet": "", ".dat": None, ".txt": None}  # None: found in the header
NUMBERS = ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64")
NULLABLE = {  # Arrow's types as pandas' own that keep numbers as they are beside missing cells
    **{pyarrow.type_for_alias(name.lower()): dtypes.pandas_dtype(name) for name in NUMBERS},
    pyarrow.bool_(): pd.BooleanDtype(),
    pyarrow.string(): pd.StringDtype(),
    pyarrow.large_string(): pd.StringDtype(),
}
RATINGS = {"user": "int64", "item": "int64", "value": "float64", "time": "int64"}
TITLES = {"item": "int64", "title": "str"}


class Source(NamedTuple):
    """A data set as it was found: rows in file order, ids as the file has them (integers or strings)."""

    name: str
    frame: pd.DataFrame  # user, item (either may be missing), value (float, NaN if missing), time (int64 seconds)
    titles: pd.Series | None = None  # item id -> title
    test: pd.DataFrame | None = None  # a published test part, with the columns of frame
    negatives: np.ndarray | None = None  # [rows of test, 99] item ids that the published test part ranks against


def read(config: DataConfig) -> Source:
    """Read the data set or file that `config.dataset` names.

    A named data set is looked for in --data_dir, $ANCF_DATA_DIR and ~/.cache/ancf_jax, in a folder of its name, and
    is downloaded into the last. Times are int64 seconds since 1970 where the file has dates, its own numbers
    otherwise, and the place in the file where it has no times. Raises InputError, one line that names the file, flag,
    column or line, when something is missing or is not a number, a date or a table.
    """
    if config.dataset in NAMED:
        source = NAMED[config.dataset](_folder(config.dataset, config.data_dir))
    else:
        source = _read_file(config)
    if config.items_path:
        source = source._replace(titles=read_titles(config))
    return source


def _folder(name: str, data_dir: str) -> Path:
    """The first folder that holds all files of a named data set; the cache, after a download, if none does."""
    cache = Path.home() / ".cache" / "ancf_jax"
    roots = [Path(root).expanduser() for root in (data_dir, os.environ.get("ANCF_DATA_DIR", "")) if root]
    spellings = (name, "ncf") if name == "ncf-ml-1m" else (name,)
    for root, spelling in itertools.product([*roots, cache], spellings):
        if all((root / spelling / file).is_file() for file in downloads.FILES[name]):
            return root / spelling
    downloads.fetch(name, cache / name)
    return cache / name


def _read_ml_100k(folder: Path) -> Source:
    titles = _official(folder / "u.item", "|", TITLES)
    return Source("ml-100k", _official(folder / "u.data", "\t", RATINGS), titles.set_index("item")["title"])


def _read_ml_1m(folder: Path) -> Source:
    titles = _official(folder / "movies.dat", "::", TITLES)
    return Source("ml-1m", _official(folder / "ratings.dat", "::", RATINGS), titles.set_index("item")["title"])


def _read_ncf_ml_1m(folder: Path) -> Source:
    train = _official(folder / "ml-1m.train.rating", "\t", RATINGS)
    test = _official(folder / "ml-1m.test.rating", "\t", RATINGS)
    path = folder / "ml-1m.test.negative"
    columns = {"pair": "str"} | {f"negative {n}": "int64" for n in range(1, 100)}
    lines = _official(path, "\t", columns)
    pairs = "(" + test["user"].astype(str) + "," + test["item"].astype(str) + ")"
    if not np.array_equal(lines["pair"], pairs):
        raise InputError(f"{path}: its (user,item) pairs are not those of ml-1m.test.rating, line by line")
    return Source("ncf-ml-1m", train, test=test, negatives=lines.drop(columns="pair").to_numpy())


NAMED: dict[str, Callable[[Path], Source]] = {
    "ml-100k": _read_ml_100k,
    "ml-1m": _read_ml_1m,
    "ncf-ml-1m": _read_ncf_ml_1m,
}


def _official(path: Path, separator: str, columns: dict[str, str]) -> pd.DataFrame:
    """The first columns of a published file without a header."""
    with readable(path):
        raw, separator = _one_character(path.read_bytes(), separator)
        return pd.read_csv(
            io.BytesIO(raw),
            sep=separator,
            names=list(columns),
            usecols=range(len(columns)),
            dtype=columns,
            quoting=csv.QUOTE_NONE,
            encoding="latin-1",
        )


def _read_file(config: DataConfig) -> Source:
    path = Path(config.dataset)
    if not path.exists() and not path.suffix and path.name == config.dataset:
        close = _did_you_mean(config.dataset, NAMED)
        raise InputError(f"--dataset={config.dataset} is neither a file nor one of {', '.join(NAMED)}{close}")
    return Source(path.name, log_of(path, _table(path, "dataset", wanted_columns(config)), config))


def wanted_columns(config: DataConfig) -> dict[str, str]:
    """The columns of a log that the flags name: flag -> column."""
    flags = ("user_column", "item_column", "value_column", "time_column")
    return {flag: getattr(config, flag) for flag in flags if getattr(config, flag)}


def require_columns(path: Path, columns: list[str], wanted: dict[str, str]) -> None:
    """Raises InputError unless the `columns` of a file are those wanted (flag -> column), and maybe others."""
    for flag, name in wanted.items():
        if name not in columns:
            close = _did_you_mean(name, columns)
            listed = ", ".join(columns)
            raise InputError(f"{path}: no column '{name}' (--{flag}); its columns are {listed}{close}")


def log_of(path: Path, table: pd.DataFrame, config: DataConfig) -> pd.DataFrame:
    """A file's table, or some of its rows under their places in it, as user, item, value and time of a Source.

    Raises InputError that names the first cell that is not a number or a date and should be.
    """
    user, item = _ids(table[config.user_column]), _ids(table[config.item_column])
    known = user.notna() & item.notna()  # nothing is asked of the other cells of a row that will be dropped
    value, time = np.ones(len(table)), np.arange(len(table))
    if config.value_column:
        value = _numbers(path, table[config.value_column], known)
    if config.time_column:
        time = _seconds(path, table[config.time_column], known)
    return pd.DataFrame({"user": user, "item": item, "value": value, "time": time})


def read_titles(config: DataConfig) -> pd.Series:
    """The titles in --items_path by item id. Raises InputError as `read` does."""
    wanted = {"item_column": config.item_column, "title_column": config.title_column}
    table = _table(Path(config.items_path), "items_path", wanted)
    titles = pd.DataFrame({"item": _ids(table[config.item_column]), "title": table[config.title_column]})
    return titles.dropna().drop_duplicates("item").set_index("item")["title"].astype("str")


def _table(path: Path, flag: str, wanted: dict[str, str]) -> pd.DataFrame:
    """The `wanted` columns (flag -> name) of a file with a header."""
    raw, separator = _contents(path, flag)
    with readable(path):
        columns = _header(raw, separator)
    require_columns(path, columns, wanted)
    with readable(path):
        table = _body(raw, separator, list(dict.fromkeys(wanted.values())))
    if table.empty:
        raise InputError(f"{path}: no rows below the header")
    return table


def _contents(path: Path, flag: str) -> tuple[bytes, str]:
    """The bytes of a file, decompressed, and the separator of its columns ('' for Parquet)."""
    kind = _kind(path)
    if not path.is_file():
        raise InputError(f"--{flag}={path}: no such file")
    if kind not in SEPARATORS:
        raise InputError(f"--{flag}={path}: the name must end in {', '.join(SEPARATORS)}, or one of them and .gz")
    with readable(path):
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if not raw.strip():
        raise InputError(f"--{flag}={path}: the file is empty")
    separator = SEPARATORS[kind]
    if separator is None:
        header = raw.lstrip().split(b"\n", 1)[0].decode("latin-1")
        separator = max(("\t", "::", ",", ";"), key=header.count)
    return _one_character(raw, separator)


def _kind(path: Path) -> str:
    """The end of a file's name, before .gz."""
    return path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix


def _one_character(raw: bytes, separator: str) -> tuple[bytes, str]:
    """The same table under a separator that pandas' fast parser takes."""
    return (raw.replace(b"::", b"\t"), "\t") if separator == "::" else (raw, separator)


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns whatever a parser says of a damaged file into an InputError."""
    try:
        yield
    except (ValueError, OSError, EOFError, zlib.error, pyarrow.ArrowException) as error:
        raise InputError(f"{path}: cannot be read as a table: {' '.join(str(error).split())}") from error


def _header(raw: bytes, separator: str) -> list[str]:
    if not separator:
        return pyarrow.parquet.read_schema(io.BytesIO(raw)).names
    return _read_csv(raw, separator, nrows=0).columns.tolist()


def _body(raw: bytes, separator: str, names: list[str]) -> pd.DataFrame:
    if not separator:
        return read_parquet(io.BytesIO(raw), names)
    return _read_csv(raw, separator, usecols=names, low_memory=False, dtype_backend="numpy_nullable")


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


def _did_you_mean(name: str, legal: Iterable[str]) -> str:
    spelling = {word.lower(): word for word in legal}
    close = difflib.get_close_matches(name.lower(), spelling, 1)
    return f"; did you mean {spelling[close[0]]}?" if close else ""


def _ids(column: pd.Series) -> pd.Series:
    """Ids as integers if all of them are whole numbers, as strings otherwise; missing ids stay missing."""
    if dtypes.is_signed_integer_dtype(column):
        return column.astype("Int64")
    if dtypes.is_float_dtype(column):  # 17850.0 is how many tools write an integer beside empty cells
        present = column.dropna()
        if ((present % 1 == 0) & (present.abs() < 2**53)).all():
            return column.astype("Int64")
    return column.astype("string")


def _numbers(path: Path, column: pd.Series, known: pd.Series) -> np.ndarray:
    """A column as float64 [R], NaN where it is empty."""
    numbers = pd.to_numeric(column, errors="coerce").to_numpy("float64", na_value=np.nan)
    wrong = known & column.notna() & ~np.isfinite(numbers)
    if wrong.any():
        raise InputError(f"{_place(path, column, wrong)} is not a number")
    return numbers


def _seconds(path: Path, column: pd.Series, known: pd.Series) -> np.ndarray:
    """A column of numbers or dates as int64 [R]; 0 where a row without ids has no time."""
    if dtypes.is_integer_dtype(column) and not (column.isna() & known).any():
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
        wrong = known & ~np.isfinite(times)
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
    seconds = (dates - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
    return seconds.to_numpy("float64", na_value=np.nan)


def _place(path: Path, column: pd.Series, wrong: pd.Series) -> str:
    """The file, line, column and text of the first wrong cell; the header is line 1."""
    row = int(np.argmax(wrong))
    cell = "empty" if pd.isna(column.iloc[row]) else f"'{column.iloc[row]}'"
    if _kind(path) == ".parquet":
        return f"{path}: row {column.index[row] + 1}, column '{column.name}': {cell}"
    raw, separator = _contents(path, "dataset")
    lines = csv.reader(io.StringIO(raw.decode("utf-8-sig", errors="replace")), delimiter=separator)
    # pandas skips blank lines
    numbers = (lines.line_num for cells in lines if len(cells) > 1 or "".join(cells).strip())
    line = next(itertools.islice(numbers, row + 1, None))
    return f"{path}: line {line}, column '{column.name}': {cell}"
