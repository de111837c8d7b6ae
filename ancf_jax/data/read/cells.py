"""The cells of a column: as text, as ids, as numbers.

Whatever wrote a column, its cells are text as they would stand in a file of text; white space at their ends is taken
off and Unicode is composed (NFC). A cell of nothing is missing, and so is one that --na_values lists.
"""

from collections.abc import Callable, Collection
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.compute as arrow

from ancf_jax.types import InputError

Blame = Callable[[np.ndarray, str], InputError]  # of the first row that a mask [R] shows, and what is wrong with it
GREATEST = 1e15  # of numbers that are computed with: sums of their squares stay within float32
WHOLE = r"^(0|-?[1-9][0-9]{0,18})$"
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
COMMA = r"^[+-]?[0-9]*,[0-9]+$"
GROUPED = r"^[+-]?[0-9]{1,3},[0-9]{3}$"  # a decimal comma, or one between thousands


class Text(NamedTuple):
    """A column as distinct texts and where each row's is."""

    words: pyarrow.Array  # [n], null where it is missing; one may be there twice, and each is in some row
    places: np.ndarray  # [R] int32 in words, -1 where the cell is missing
    stripped: int  # rows of which white space was taken off
    composed: int  # rows of which Unicode was composed

    def rows(self, mask: pyarrow.Array) -> np.ndarray:
        """Of a mask [n] of the words, the rows [R]."""
        found = np.append(mask.fill_null(False).to_numpy(zero_copy_only=False), False)
        return found[self.places]


def plain(column: pyarrow.ChunkedArray, where: str) -> pyarrow.ChunkedArray:
    """A column of text, numbers, truth values, times or dates, whatever it was stored as.

    Raises InputError for a type of which no text can be made; `where` names file and column.
    """
    types = pyarrow.types
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if types.is_nested(kind) or types.is_duration(kind) or types.is_interval(kind):
        raise InputError(f"{where} holds cells of type {kind}; legal are texts, numbers and dates, one a row")
    if types.is_fixed_size_binary(kind) or types.is_binary_view(kind):
        column = column.cast(pyarrow.binary())
    if types.is_null(kind) or types.is_binary(column.type) or types.is_large_binary(kind) or types.is_string_view(kind):
        try:
            return column.cast(pyarrow.string())
        except pyarrow.ArrowInvalid as error:
            raise InputError(f"{where} holds bytes that are no UTF-8; legal is text") from error
    return column


def text_of(column: pyarrow.ChunkedArray, na_values: Collection[str] = ()) -> Text:
    """A `plain` column as text."""
    coded = pyarrow.concat_arrays(column.chunks) if column.num_chunks else pyarrow.array([], column.type)
    coded = coded.dictionary_encode()
    words = _written(coded.dictionary)
    stripped = arrow.utf8_trim_whitespace(words)
    composed = stripped
    if not arrow.all(arrow.string_is_ascii(stripped)).as_py():
        composed = arrow.utf8_normalize(stripped, form="NFC")
    missing = arrow.is_in(composed, pyarrow.array(["", *na_values], pyarrow.string()))
    missing = arrow.or_(missing, arrow.is_null(composed))
    places = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    found = Text(arrow.if_else(missing, None, composed), places, 0, 0)
    counts = []
    for before, after in ((words, stripped), (stripped, composed)):
        changed = arrow.and_not(arrow.not_equal(before, after), missing)
        counts.append(int(found.rows(changed).sum()) if arrow.any(changed).as_py() else 0)
    if arrow.any(missing).as_py():
        places = np.where(found.rows(missing), np.int32(-1), places)
    return found._replace(places=places, stripped=counts[0], composed=counts[1])


def ids_of(text: Text) -> pd.Series:
    """Ids as Int64 where that, written again, is the same text in all rows; as string otherwise. Missing stay so."""
    if text.words.null_count < len(text.words) and arrow.all(arrow.match_substring_regex(text.words, WHOLE)).as_py():
        try:
            numbers = text.words.cast(pyarrow.int64()).fill_null(0).to_numpy()
            return pd.Series(pd.arrays.IntegerArray(np.append(numbers, 0)[text.places], text.places < 0))
        except pyarrow.ArrowInvalid:  # beyond 64 bits
            pass
    return strings_of(text)


def strings_of(text: Text) -> pd.Series:
    """A column as strings, missing ones NA."""
    at = pyarrow.array(text.places, mask=text.places < 0)
    return pd.Series(text.words.take(at).cast(pyarrow.large_string()), dtype="string")


def all_whole_decimals(text: Text) -> bool:
    """Whether all cells are written as 17850.0, which is how many tools write whole numbers beside missing ones."""
    words = text.words.drop_null()
    return len(words) > 0 and bool(arrow.all(arrow.match_substring_regex(words, r"^-?[0-9]+\.0$")).as_py())


def numbers_of(
    column: pyarrow.ChunkedArray,
    known: np.ndarray,
    blame: Blame,
    decimal: str = "",
    na_values: Collection[str] = (),
    greatest: float = GREATEST,
) -> tuple[np.ndarray, str]:
    """A column as float64 [R], NaN where a cell is missing, and the sign before decimals if it is inferred.

    Raises what `blame` makes of a `known` cell that is no number, or one further from 0 than `greatest`.
    """
    kind = column.type
    if not na_values and (_is_number(kind) or pyarrow.types.is_boolean(kind) or pyarrow.types.is_decimal(kind)):
        if pyarrow.types.is_boolean(kind):
            column = column.cast(pyarrow.int8())
        numbers = column.cast(pyarrow.float64(), safe=False).to_numpy()
        present = ~column.is_null().to_numpy() & ~np.isnan(numbers)
        inferred = ""
    else:
        text = text_of(column, na_values)
        present = text.places >= 0
        words, inferred = _with_point(text, known, decimal)
        legal = arrow.match_substring_regex(words, NUMBER)
        floats = arrow.if_else(legal, words, None).cast(pyarrow.float64()).to_numpy(zero_copy_only=False)
        numbers = np.append(floats, np.nan)[text.places]
        wrong = known & present & ~text.rows(legal)
        if wrong.any():
            comma = "," in text.words[text.places[np.argmax(wrong)]].as_py() and not decimal
            raise blame(wrong, "is not a number" + ("; --decimal=, reads a comma before decimals" if comma else ""))
    wrong = known & present & ~(np.abs(numbers) <= greatest)
    if wrong.any():
        finite = np.isfinite(numbers[np.argmax(wrong)]) or not _is_number(kind)
        raise blame(wrong, f"is too large; legal is up to {greatest:g}" if finite else "is not a number")
    return numbers, inferred


def _with_point(text: Text, known: np.ndarray, decimal: str) -> tuple[pyarrow.Array, str]:
    """The words with a point before decimals, and a comma if that is what was found in its place."""
    if decimal == ",":
        return arrow.replace_substring(arrow.replace_substring(text.words, ".", "_"), ",", "."), ""
    if decimal or not text.rows(arrow.match_substring(text.words, ","))[known].any():
        return text.words, ""
    rows = known & (text.places >= 0)
    either = arrow.or_(
        arrow.match_substring_regex(text.words, COMMA), arrow.match_substring_regex(text.words, r"^[+-]?[0-9]+$")
    )
    grouped = text.rows(arrow.match_substring_regex(text.words, GROUPED))
    with_comma = text.rows(arrow.match_substring(text.words, ","))
    if text.rows(either)[rows].all() and not grouped[rows & with_comma].all():
        return arrow.replace_substring(text.words, ",", "."), ","
    return text.words, ""


def _is_number(kind: pyarrow.DataType) -> bool:
    return pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind)


def _written(words: pyarrow.Array) -> pyarrow.Array:
    """Distinct cells as a file of text has them: floats in the fewest digits that say them, True and False."""
    kind, types = words.type, pyarrow.types
    if types.is_floating(kind):
        dtype = {16: np.float16, 32: np.float32}.get(kind.bit_width, np.float64)
        texts = [None if np.isnan(cell) else str(dtype(cell)) for cell in words.to_pylist()]
        return pyarrow.array(texts, pyarrow.string())
    if types.is_boolean(kind):
        return arrow.if_else(words, "True", "False")
    return words.cast(pyarrow.string())
