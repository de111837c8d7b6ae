"""The columns of a file, or of a folder of files, that are asked for, and where each row of them stands."""

import difflib
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.compute as arrow

from ancf_jax.data.clean import DEFAULT, Changed, Removed, Rules
from ancf_jax.data.read import cells, where
from ancf_jax.data.read.cells import Text
from ancf_jax.data.read.files import File, files_of, readable, replaces
from ancf_jax.data.read.formats import delimited, json_lines, parquet
from ancf_jax.data.read.formats.delimited import Dialect, Layout
from ancf_jax.data.read.times import Times, times_of
from ancf_jax.devices.memory import check_machine
from ancf_jax.types import InputError

SHOWN = 60  # characters of a cell that an error shows
COPIES = 3  # of what is read, at least: as columns, as a table, and in the order of users
FEWER = "fewer rows, as by --where, or Parquet and --stream"


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
    # user, item (either may be missing), value (float, NaN if missing), time (int64); maybe basket (may be missing),
    # and part (0 train, 1 validation, 2 test) where files say so
    frame: pd.DataFrame
    titles: pd.Series | None = None  # item id -> title
    test: pd.DataFrame | None = None  # a published test part, with the columns of frame
    negatives: np.ndarray | None = None  # [rows of test, 99] item ids that the published test part ranks against
    items: Attributes | None = None
    rules: Rules = DEFAULT  # how it is cleaned where flags say nothing
    users: Attributes | None = None
    unit: str = "s"  # of time: s, ms, us, ns since 1970; numbers that nobody explains; rows: no times, but file order
    removed: tuple[Removed, ...] = ()  # rows that reading left out
    changed: tuple[Changed, ...] = ()  # rows in which reading changed an id
    inferred: tuple[str, ...] = ()  # sentences on what the files did not state

    @property
    def timed(self) -> bool:
        """Whether the log has times."""
        return self.unit != "rows"


class Piece(NamedTuple):
    """Rows of one file, one after another."""

    file: File
    first: int  # the place of the first of them among all rows read
    layout: Layout | None  # of files of separated columns
    encoding: str = ""
    skipped: int = 0  # rows of the file before the first of them


class Table(NamedTuple):
    """Columns that were asked for, by name, with R rows."""

    columns: dict[str, pyarrow.ChunkedArray]
    places: np.ndarray  # [R] int64: of each row among all rows read, rising
    pieces: list[Piece]
    dialect: Dialect = Dialect()
    removed: tuple[Removed, ...] = ()
    changed: tuple[Changed, ...] = ()
    inferred: tuple[str, ...] = ()

    def text(self, name: str) -> Text:
        """A column as text."""
        return cells.text_of(self.columns[name], self.dialect.na_values)

    def numbers(self, name: str, known: np.ndarray, greatest: float = cells.GREATEST) -> tuple[np.ndarray, str]:
        """A column as float64 [R], as cells.numbers_of. Raises InputError that names a `known` cell [R]."""
        blame, dialect = partial(self.error, name), self.dialect
        return cells.numbers_of(self.columns[name], known, blame, dialect.decimal, dialect.na_values, greatest)

    def times(self, name: str, known: np.ndarray, form: str = "") -> Times:
        """A column as times, as times.times_of. Raises InputError that names a `known` cell [R]."""
        blame = partial(self.error, name)
        return times_of(self.columns[name], known, blame, form, self.dialect.na_values)

    def error(self, name: str, wrong: np.ndarray, why: str) -> InputError:
        """What is wrong with the first cell that a mask [R] shows: its file, line, column and text."""
        row = int(np.argmax(wrong))
        found = cells.text_of(self.columns[name].slice(row, 1), self.dialect.na_values)
        cell = str(found.words[found.places[0]]) if found.places[0] >= 0 else ""
        shown = f"'{cell[:SHOWN]}{'...' if len(cell) > SHOWN else ''}'" if cell else "empty"
        return InputError(f"{self.place(row)}, column '{name}': {' '.join(shown.split())} {why}")

    def place(self, row: int) -> str:
        """The file and the line of a row; in Parquet the row, counted from 1."""
        place = int(self.places[row])
        piece = self.pieces[bisect_right([piece.first for piece in self.pieces], place) - 1]
        number = place - piece.first + piece.skipped
        if piece.layout is not None:
            return f"{piece.file.path}: line {delimited.line_of(piece.file, piece.layout, number)}"
        if piece.file.kind != ".parquet":
            return f"{piece.file.path}: line {json_lines.line_of(piece.file, piece.encoding, number)}"
        return f"{piece.file.path}: row {number + 1}"


def read_table(
    name: str,
    flag: str,
    wanted: Iterable[tuple[str, str]],
    dialect: Dialect = Dialect(),  # noqa: B008
    condition: str = "",
    first: int = 0,
) -> Table:
    """The `wanted` columns (flag, column) of the file or folder --`flag`, in the rows that --where keeps.

    `first` is the place of its first row, where other tables come before it. Raises InputError where a file cannot be
    read, lacks a column or has no rows.
    """
    conditions = where.parse(condition)
    asked = [*wanted, *(("where", condition.column) for condition in conditions)]
    files = files_of(name, flag)
    empty = [file for file in files if len(files) > 1 and not file.path.stat().st_size]
    parts, read, size = [], first, 0
    for file in [file for file in files if file not in empty]:
        part = read_file(file, asked, dialect, read)
        rows = len(part.places)
        read += rows
        if rows:
            parts.append(filtered(part, conditions))
            size += sum(column.nbytes for column in parts[-1].columns.values())
            check_machine(
                f"--{flag}={name}: its rows, from the first to those of {file.path.name},", COPIES * size, FEWER
            )
    if read == first:
        raise InputError(f"{files[0].path}: no rows below the header")
    table = joined(parts)
    if empty:
        names = ", ".join(file.path.name for file in empty)
        table = table._replace(inferred=(f"empty files were passed over: {names}", *table.inferred))
    return counted(table, name, condition, read - first)


def counted(table: Table, name: str, condition: str, read: int) -> Table:
    """The rows of `read` ones that --where kept, with how many it left out."""
    if not len(table.places):
        raise InputError(f"flag --where: no row of {name} fulfils {condition}")
    left_out = read - len(table.places)
    return table._replace(removed=(Removed(f"not --where={condition}", left_out),)) if left_out else table


def read_file(
    file: File,
    wanted: Sequence[tuple[str, str]],
    dialect: Dialect = Dialect(),  # noqa: B008
    first: int = 0,
    row_group: int | None = None,
    skipped: int = 0,
) -> Table:
    """The `wanted` columns of one file, or of a row group; `first` is the place of its first row among all.

    `skipped` rows of the file come before the row group. Raises InputError as `read_table`.
    """
    keys = dict(file.keys)
    inside = list(dict.fromkeys(column for _, column in wanted if column not in keys))
    names, layout = names_of(file, dialect, inside)
    if layout is None and (dialect.header or dialect.separator):
        flag = "header" if dialect.header else "separator"
        raise InputError(f"flag --{flag}: is for files of separated columns, and {file.path} is none")
    require_columns(file, [*names, *keys], wanted, layout is not None and not dialect.header)
    places = [names.index(name) for name in inside] or [0]
    with readable(file.path):
        if file.kind == ".parquet":
            found = parquet.read_columns(file, places, row_group)
        elif layout is None:
            found = json_lines.read_columns(file, [names[place] for place in places], dialect.encoding)
        else:
            found = delimited.read_columns(file, layout, places)
    rows = len(found[0])
    columns = {
        name: cells.plain(column, f"{file.path}: column '{name}'")
        for name, column in zip(inside, found, strict=False)  # none is asked for where folders name them all
    }
    outside = {column for _, column in wanted} & keys.keys()
    columns |= {key: pyarrow.chunked_array([pyarrow.repeat(keys[key], rows)]) for key in outside}
    return Table(
        columns,
        np.arange(first, first + rows),
        [Piece(file, first, layout, dialect.encoding, skipped)],
        dialect,
        changed=_replaced(columns.values(), rows) if replaces(dialect.encoding) else (),
        inferred=(layout.remark,) if layout is not None and layout.remark else (),
    )


def names_of(file: File, dialect: Dialect, wanted: Collection[str]) -> tuple[list[str], Layout | None]:
    """The names of a file's columns, of which the layout finds those `wanted`, and the layout of separated columns."""
    if file.kind == ".parquet":
        return parquet.schema_of(file).names, None
    if file.kind in (".jsonl", ".ndjson"):
        with readable(file.path):
            names = json_lines.keys_of(file, dialect.encoding)
        if not names:
            raise InputError(f"{file.path}: the file is empty")
        return names, None
    layout = delimited.layout_of(file, dialect, wanted)
    return layout.names, layout


def require_columns(file: File, columns: list[str], wanted: Iterable[tuple[str, str]], headed: bool = False) -> None:
    """Raises InputError unless the `columns` of a file are those wanted (flag, column), and maybe others.

    `headed` says that the names come from the first line of a file, which may be data.
    """
    for flag, name in wanted:
        if columns.count(name) > 1:
            raise InputError(f"{file.path}: there are {columns.count(name)} columns '{name}' (--{flag}); legal is one")
        if name not in columns:
            hint = did_you_mean(name, columns)
            if headed and delimited.looks_like_data(columns):
                hint = "; if that is data, name the columns by --header=user,item,..."
            listed = ", ".join(columns)
            raise InputError(f"{file.path}: no column '{name}' (--{flag}); its columns are {listed}{hint}")


def did_you_mean(name: str, legal: Iterable[str]) -> str:
    """A guess at a misspelt name, to be put behind an error."""
    spelling = {word.lower(): word for word in legal}
    close = difflib.get_close_matches(name.lower(), spelling, 1)
    return f"; did you mean {spelling[close[0]]}?" if close else ""


def filtered(table: Table, conditions: Sequence[where.Condition]) -> Table:
    """The rows that fulfil all conditions."""
    kept = np.ones(len(table.places), bool)
    for condition in conditions:
        if condition.operator in where.ORDERS:
            kept &= where.compared(
                condition, table.numbers(condition.column, np.ones(len(kept), bool), float(np.finfo(np.float32).max))[0]
            )
        else:
            kept &= where.equal(condition, table.text(condition.column))
    if kept.all():
        return table
    columns = {name: column.filter(pyarrow.array(kept)) for name, column in table.columns.items()}
    return table._replace(columns=columns, places=table.places[kept])


def _replaced(columns: Iterable[pyarrow.ChunkedArray], rows: int) -> tuple[Changed, ...]:
    """How many rows have a cell with the character that stands for bytes that are no text."""
    found = np.zeros(rows, bool)
    for column in columns:
        if pyarrow.types.is_string(column.type):
            found |= arrow.match_substring(column, "\ufffd").fill_null(False).to_numpy()
    return (Changed("bytes that are no UTF-8, made U+FFFD", int(found.sum())),) if found.any() else ()


def joined(parts: Sequence[Table]) -> Table:
    """Tables of several files as one; a column that is typed in several ways becomes text."""
    if len(parts) == 1:
        return parts[0]
    columns = {}
    for name in parts[0].columns:
        pieces = [part.columns[name] for part in parts]
        if len({piece.type for piece in pieces}) > 1:
            texts = [part.text(name) for part in parts]
            pieces = [text.words.take(pyarrow.array(text.places, mask=text.places < 0)) for text in texts]
            pieces = [pyarrow.chunked_array([piece]) for piece in pieces]
        columns[name] = pyarrow.chunked_array([chunk for piece in pieces for chunk in piece.chunks], pieces[0].type)
    removed, changed = Counter[str](), Counter[str]()
    for part in parts:
        removed.update(dict(part.removed))
        changed.update(dict(part.changed))
    return parts[0]._replace(
        columns=columns,
        places=np.concatenate([part.places for part in parts]),
        pieces=[piece for part in parts for piece in part.pieces],
        removed=tuple(Removed(rule, rows) for rule, rows in removed.items()),
        changed=tuple(Changed(rule, rows) for rule, rows in changed.items()),
        inferred=tuple(dict.fromkeys(sentence for part in parts for sentence in part.inferred)),
    )
