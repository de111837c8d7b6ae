"""Files of JSON lines: an object in every line, of which some columns are read, numbers as they are written."""

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow

from ancf_jax.data.read.files import File, as_text, bad_byte, replaces
from ancf_jax.types import InputError

BLOCK = 10_000  # lines that are parsed at once


def keys_of(file: File, encoding: str = "") -> list[str]:
    """The keys of the first objects, as one may lack what others have."""
    return list(dict.fromkeys(key for _, row in itertools.islice(_objects(file, encoding), BLOCK) for key in row))


def read_columns(file: File, names: Sequence[str], encoding: str = "") -> list[pyarrow.ChunkedArray]:
    """The columns `names` as text, null where an object lacks the key or has null.

    Arrow's own reader forgets how a number is written, so that 1E3 and 1000 would be one id. Raises InputError that
    names the line of what is no object, or of a cell that is an object or a list.
    """
    columns: list[list[pyarrow.Array]] = [[] for _ in names]
    rows = _objects(file, encoding)
    while block := list(itertools.islice(rows, BLOCK)):
        for name, column in zip(names, columns, strict=True):
            cells = [row.get(name) for _, row in block]
            try:
                column.append(pyarrow.array(cells, pyarrow.string()))
            except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError):
                column.append(pyarrow.array([_text(file, line, name, row.get(name)) for line, row in block]))
    return [pyarrow.chunked_array(column, pyarrow.string()) for column in columns]


def line_of(file: File, encoding: str, row: int) -> int:
    """The line, counted from 1, of row number `row`, counted from 0."""
    return next(itertools.islice(_objects(file, encoding), row, None))[0]


def _objects(file: File, encoding: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects with their lines; blank lines are passed over."""
    with as_text(file, encoding) as text:
        numbered = ((number, line) for number, line in enumerate(text, 1) if line.strip())
        while block := list(itertools.islice(numbered, BLOCK)):
            if any("\ufffd" in line for _, line in block) and not replaces(encoding):
                found = bad_byte(file, encoding)
                if found:
                    raise found
            try:
                rows = _parsed("[" + ",".join(line for _, line in block) + "]")
                if len(rows) != len(block) or not all(isinstance(row, dict) for row in rows):
                    raise ValueError
            except (ValueError, RecursionError):
                rows = [_parsed_line(file, number, line) for number, line in block]
            for (number, _), row in zip(block, rows, strict=True):
                yield number, row


def _parsed(text: str) -> Any:
    return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)


def _parsed_line(file: File, number: int, line: str) -> dict[str, Any]:
    try:
        row = _parsed(line)
    except (ValueError, RecursionError) as error:
        why = (
            f"{error.msg} at character {error.pos + 1}"
            if isinstance(error, json.JSONDecodeError)
            else "nested too deep"
        )
        raise InputError(f"{file.path}: line {number} is not JSON: {why}") from error
    if not isinstance(row, dict):
        raise InputError(f'{file.path}: line {number} is not a JSON object, as {{"user": 1, "item": 2}} is')
    return row


def _text(file: File, line: int, name: str, cell: Any) -> str | None:
    if isinstance(cell, dict | list):
        what = "an object" if isinstance(cell, dict) else "a list"
        raise InputError(f"{file.path}: line {line}, column '{name}' holds {what}; legal are texts and numbers")
    return None if cell is None else str(cell)
