import decimal
import unicodedata

import numpy as np
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ancf_jax.data.read.cells import all_whole_decimals, ids_of, numbers_of, plain, text_of
from ancf_jax.types import InputError


def column(cells, kind=None) -> pyarrow.ChunkedArray:
    """In two chunks, as files come."""
    half = len(cells) // 2
    return pyarrow.chunked_array([pyarrow.array(part, kind) for part in (cells[:half], cells[half:])], kind)


def ids(cells, kind=None, na_values=()) -> list:
    found = ids_of(text_of(plain(column(cells, kind), "here"), na_values))
    return [None if missing else cell for cell, missing in zip(found, found.isna(), strict=True)]


WRITTEN = {
    "int64": ([7, None, -1], pyarrow.int64(), [7, None, -1]),
    "uint64": ([2**63, 1], pyarrow.uint64(), [str(2**63), "1"]),
    "small uint64": ([2**63 - 1, 1], pyarrow.uint64(), [2**63 - 1, 1]),
    "float64": ([17850.0, None, float("nan"), 1e22], pyarrow.float64(), ["17850.0", None, None, "1e+22"]),
    "float32": ([0.1, 2.0], pyarrow.float32(), ["0.1", "2.0"]),
    "decimal": ([decimal.Decimal("7.00"), None], pyarrow.decimal128(9, 2), ["7.00", None]),
    "whole decimal": ([decimal.Decimal("7"), None], pyarrow.decimal128(9, 0), [7, None]),
    "bool": ([True, False, None], pyarrow.bool_(), ["True", "False", None]),
    "binary": ([b"7", b"8"], pyarrow.binary(), [7, 8]),
    "large binary": (["é".encode(), b"8"], pyarrow.large_binary(), ["é", "8"]),
    "fixed binary": ([b"ab", b"cd"], pyarrow.binary(2), ["ab", "cd"]),
    "dictionary": (["a", "b", None], pyarrow.dictionary(pyarrow.int8(), pyarrow.string()), ["a", "b", None]),
    "dictionary of numbers": ([7, 8, 7], pyarrow.dictionary(pyarrow.int8(), pyarrow.int32()), [7, 8, 7]),
    "large string": (["007", ""], pyarrow.large_string(), ["007", None]),
    "string view": (["7", " 8 "], pyarrow.string_view(), [7, 8]),
    "date": ([0, 1], pyarrow.date32(), ["1970-01-01", "1970-01-02"]),
    "nothing": ([None, None], pyarrow.null(), [None, None]),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_ids_of_every_type_are_their_text(kind):
    cells, arrow_type, expected = WRITTEN[kind]
    assert ids(cells, arrow_type) == expected


@pytest.mark.parametrize(
    "kind", [pyarrow.list_(pyarrow.int64()), pyarrow.struct([("a", pyarrow.int64())]), pyarrow.duration("s")]
)
def test_types_that_are_no_cells(kind):
    with pytest.raises(
        InputError, match=r"^here holds cells of type .*; legal are texts, numbers and dates, one a row"
    ):
        plain(column([None, None], kind), "here")


def test_bytes_that_are_no_text():
    with pytest.raises(InputError, match=r"^here holds bytes that are no UTF-8"):
        plain(column([b"\xff", b"a"], pyarrow.binary()), "here")


@settings(max_examples=50)
@given(st.lists(st.text(max_size=4) | st.integers(-(2**64), 2**64).map(str) | st.just("7"), max_size=6))
def test_ids_against_plain_python(cells):
    words = [unicodedata.normalize("NFC", cell.strip()) for cell in cells]
    known = [word for word in words if word]
    try:
        whole = all(str(int(word)) == word and -(2**63) <= int(word) < 2**63 for word in known) and bool(known)
    except ValueError:
        whole = False
    assert ids(cells, pyarrow.string()) == [(int(word) if whole else word) if word else None for word in words]


def test_what_was_changed_is_counted_by_rows():
    text = text_of(column([" a", "a ", "a", "\u00a0b", "e\u0301", "é", "  ", "a "]))
    assert (text.stripped, text.composed) == (4, 1)
    assert ids([" 7", "7"], pyarrow.string()) == [7, 7]


def test_listed_texts_are_missing_in_every_type():
    assert ids(["NA", " - ", "", "x"], na_values=("NA", "-")) == [None, None, None, "x"]
    assert ids([-1, 5, 0], na_values=("-1",)) == [None, 5, 0]
    assert ids([1.5, float("nan")], na_values=("1.5",)) == [None, None]


def test_decimals_that_stand_for_whole_numbers_are_noticed():
    assert all_whole_decimals(text_of(column([17850.0, None, 3.0])))
    assert not all_whole_decimals(text_of(column(["7.0", "7"]))) and not all_whole_decimals(text_of(column(["", ""])))


def numbers(cells, kind=None, known=None, **options):
    """The numbers and what was inferred; the row and the words of an error."""
    whole = column(cells, kind)

    def blame(wrong, why):
        return InputError(f"{np.argmax(wrong)} {why}")

    return numbers_of(whole, np.ones(len(cells), bool) if known is None else np.array(known), blame, **options)


@pytest.mark.parametrize(
    ("cells", "options", "expected", "inferred"),
    [
        (["1", " 2.5 ", "-.5", "1e3", "+7", ""], {}, [1, 2.5, -0.5, 1000, 7, None], ""),
        (["4,5", "3", "1,25"], {}, [4.5, 3, 1.25], ","),
        (["1,000", "3"], {"decimal": ","}, [1, 3], ""),
        (["-", "3"], {"na_values": ("-",)}, [None, 3], ""),
        ([3, 4, None], {}, [3, 4, None], ""),
        ([3, 4, 5], {"na_values": ("4",)}, [3, None, 5], ""),
        ([True, False], {}, [1, 0], ""),
        ([1.5, float("nan")], {}, [1.5, None], ""),
        ([decimal.Decimal("1.25"), decimal.Decimal("2.50")], {}, [1.25, 2.5], ""),
    ],
)
def test_numbers(cells, options, expected, inferred):
    found, comma = numbers(cells, **options)
    assert [None if np.isnan(number) else number for number in found] == expected and comma == inferred


@pytest.mark.parametrize(
    ("cells", "options", "message"),
    [
        (["1", "four"], {}, "1 is not a number"),
        (["1", "inf"], {}, "1 is not a number"),
        (["nan", "1"], {}, "0 is not a number"),
        (["1", "1,000"], {}, "1 is not a number; --decimal=, reads a comma before decimals"),  # a thousand, or one
        (["1.5", "1,5"], {}, "1 is not a number; --decimal=, reads"),
        (["1", "1.000,5"], {"decimal": ","}, "1 is not a number"),
        (["1", "1.5"], {"decimal": ","}, "1 is not a number"),
        (["1", "1e39"], {}, "1 is too large"),
        (["1", "1e400"], {}, "1 is too large"),
        ([1.0, float("inf")], {}, "1 is not a number"),
        ([1.0, 1e39], {}, "1 is too large"),
    ],
)
def test_cells_that_are_no_numbers(cells, options, message):
    with pytest.raises(InputError) as error:
        numbers(cells, **options)
    assert str(error.value).startswith(message)


def test_nothing_is_asked_of_rows_that_will_be_dropped():
    found, _ = numbers(["1", "four"], known=[True, False])
    assert found[0] == 1 and np.isnan(found[1])
