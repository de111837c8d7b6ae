"""Files of separated columns: their layout, stated or inferred where certain, and the columns asked for, as text.

A quote quotes in .csv, and in .txt unless tabs or colons separate; in .tsv and .dat it is a character.
"""

import csv
import itertools
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple, NoReturn

import numpy as np
import pyarrow
from pyarrow import csv as arrow_csv

from ancf_jax.data.read.files import File, as_text, bad_byte, codec_of, holds_nul, native, readable, unpacked, utf8
from ancf_jax.types import InputError

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes", "::": "double colons"}
USUAL = {".csv": ",", ".tsv": "\t"}
NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?")
UNIT = "\x1f"  # stands for ::, as Arrow's separators have one character


class Dialect(NamedTuple):
    """What the flags of these names say of files; nothing where a file has to tell."""

    separator: str = ""
    encoding: str = ""
    header: tuple[str, ...] = ()
    decimal: str = ""
    na_values: tuple[str, ...] = ()


class Layout(NamedTuple):
    """How the text of a file is divided."""

    names: list[str]  # of the columns; one may be there twice
    separator: str
    quotes: bool
    first: int  # lines before the first row
    encoding: str
    remark: str = ""  # what was inferred


def layout_of(file: File, dialect: Dialect, wanted: Collection[str]) -> Layout:
    """The layout of a file; its separator is the one that finds all columns `wanted`.

    Raises InputError for a file without a line, and for --header where it does not fit.
    """
    with readable(file.path), as_text(file, dialect.encoding) as text:
        line, before = "", 0
        for before, line in enumerate(text, 1):  # noqa: B007
            if line.strip():
                break
    if not line.strip():
        raise InputError(f"{file.path}: the file is empty")
    if "\0" in line:
        raise holds_nul(file.path, before)
    usual = USUAL.get(file.kind, max(SEPARATORS, key=line.count))
    candidates = [dialect.separator] if dialect.separator else list(dict.fromkeys((usual, *SEPARATORS)))
    names = {separator: _cells(line, separator, _quotes(file, separator)) for separator in candidates}
    given = list(dialect.header)
    if given:
        fitting = [separator for separator in candidates if len(names[separator]) == len(given)]
        if not fitting:
            raise InputError(
                f"{file.path}: line {before} has {len(names[usual if usual in names else candidates[0]])} columns, "
                f"--header={','.join(given)} names {len(given)}"
            )
        if names[fitting[0]] == given:
            raise InputError(f"{file.path}: line {before} holds the names of --header; leave the flag out")
    else:
        fitting = [separator for separator in candidates if set(wanted) <= set(names[separator])]
    separator = next(iter(fitting), candidates[0])
    remark = ""
    if separator != USUAL.get(file.kind) and not dialect.separator:
        remark = f"{file.path.name}: columns are separated by {SEPARATORS[separator]}"
    first = before - 1 if given else before
    return Layout(given or names[separator], separator, _quotes(file, separator), first, dialect.encoding, remark)


def read_columns(file: File, layout: Layout, places: Sequence[int]) -> list[pyarrow.ChunkedArray]:
    """The columns at `places` as text.

    Raises InputError that names the line of a row that has another number of fields than the header.
    """
    keys = [str(place) for place in range(len(layout.names))]
    asked = [keys[place] for place in places]
    try:
        opened, lines, quotes = _opened(file, layout)
        with opened as stream:
            table = arrow_csv.read_csv(
                stream,
                arrow_csv.ReadOptions(column_names=keys, skip_rows=layout.first),
                arrow_csv.ParseOptions(
                    delimiter=UNIT if layout.separator == "::" else layout.separator,
                    quote_char='"' if layout.quotes else False,
                    newlines_in_values=layout.quotes,
                ),
                arrow_csv.ConvertOptions(
                    include_columns=asked,
                    column_types=dict.fromkeys(asked, pyarrow.string()),
                    strings_can_be_null=False,
                ),
            )
    except pyarrow.ArrowInvalid as error:
        _explain(file, layout, error)
    # Blank lines, other line ends, or rows lost between quotes; a quote that nothing closes.
    if table.num_rows != lines - layout.first or (layout.quotes and quotes % 2):
        rows = sum(1 for _ in _rows(file, layout))
        if rows != table.num_rows:
            raise InputError(
                f"{file.path}: cannot be read as a table: {rows} rows, of which {table.num_rows} were found"
            )
    return [table[key] for key in asked]


def _opened(file: File, layout: Layout) -> tuple[pyarrow.NativeFile, int, int]:
    """What Arrow reads a file from, and how many lines and quotes it has.

    Arrow reads ahead in threads, which stop the program if they need Python as it ends. So it opens the file itself,
    and where Python has to change the bytes it has all of them.
    """
    blocks: Iterable[bytes] = utf8(file, layout.encoding)
    with unpacked(file) as raw:
        as_it_is = not layout.encoding and codec_of("", raw.read(2)) != "utf-16"
    as_it_is = as_it_is and file.packed != ".zip" and layout.separator != "::"
    whole = b"" if as_it_is else b"".join(blocks)
    if not as_it_is:
        whole = whole.replace(b"::", UNIT.encode()) if layout.separator == "::" else whole
        blocks = [whole]
    lines, quotes, last = 0, 0, b""
    for block in blocks:
        signs = np.frombuffer(block, np.uint8)  # counts several times as fast as bytes do
        lines += int(np.count_nonzero(signs == ord("\n")))
        quotes += int(np.count_nonzero(signs == ord('"'))) if layout.quotes else 0
        last = block[-1:] or last
    opened = native(file) if as_it_is else pyarrow.BufferReader(whole)
    return opened, lines + (last not in (b"", b"\n")), quotes


def line_of(file: File, layout: Layout, row: int) -> int:
    """The line, counted from 1, on which row number `row`, counted from 0, begins."""
    return next(itertools.islice(_rows(file, layout), row, None), (0, []))[0]


def looks_like_data(names: Sequence[str]) -> bool:
    """Whether a header holds a number, as names seldom are."""
    return any(NUMBER.fullmatch(name) for name in names)


def _quotes(file: File, separator: str) -> bool:
    return file.kind == ".csv" or (file.kind == ".txt" and separator not in ("\t", "::"))


def _cells(line: str, separator: str, quotes: bool) -> list[str]:
    """The fields of the line of names, white space at their ends taken off."""
    if separator == "::":
        return [cell.strip() for cell in line.rstrip("\r\n").split("::")]
    return [cell.strip() for cell in next(_reader([line], separator, quotes, strict=False), [])]


def _reader(lines: Iterable[str], separator: str, quotes: bool, strict: bool):
    csv.field_size_limit(sys.maxsize)
    return csv.reader(
        lines, delimiter=separator, quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE, strict=strict
    )


def _rows(file: File, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """Every row with the line on which it begins. Raises InputError for a row that the layout does not allow."""
    with as_text(file, layout.encoding) as text:
        for _ in range(layout.first):
            next(text)
        lines: Iterator[str] = (line.replace("::", UNIT) for line in text) if layout.separator == "::" else text
        reader = _reader(
            lines, UNIT if layout.separator == "::" else layout.separator, layout.quotes, strict=layout.quotes
        )
        while True:
            line = layout.first + reader.line_num + 1
            try:
                cells = next(reader, None)
            except csv.Error as error:
                raise InputError(f"{file.path}: line {line}: a quote is opened that nothing closes: {error}") from error
            if cells is None:
                return
            if not cells:
                continue
            if len(cells) != len(layout.names):
                raise InputError(_ragged(file, layout, line, len(cells)))
            yield line, cells


def _ragged(file: File, layout: Layout, line: int, fields: int) -> str:
    names = len(layout.names)
    message = f"{file.path}: line {line} has {fields} field{'s' if fields != 1 else ''}, the header {names}"
    if line == layout.first + 1 and fields == names + 1:
        message += "; if every row begins with a number of its own, give that column a name in the header"
    return message


def _explain(file: File, layout: Layout, error: Exception) -> NoReturn:
    """Raises an InputError that says where a file went wrong."""
    if "invalid UTF8" in str(error):
        found = bad_byte(file, layout.encoding)
        if found:
            raise found from error
    for _ in _rows(file, layout):
        pass
    raise InputError(f"{file.path}: cannot be read as a table: {' '.join(str(error).split())}") from error
