"""Which rows --where keeps: conditions on columns, all of which must hold.

    where     = condition, condition, ...
    condition = column operator value          operators: = != < <= > >=

= and != compare text as it is written, the others numbers. A value in double quotes may hold commas. A missing cell
fulfils `column=` alone, and no other condition.
"""

import operator
import re
from typing import NamedTuple

import numpy as np
import pyarrow.compute as arrow

from ancf_jax.data.read.cells import NUMBER, Text
from ancf_jax.types import InputError

ORDERS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
CONDITION = re.compile(r'\s*([^=!<>,"]+?)\s*(!=|<=|>=|=|<|>)\s*(?:"([^"]*)"|([^,"]*?))\s*(?:,|$)')


class Condition(NamedTuple):
    """What a row must have in a column."""

    column: str
    operator: str
    value: str


def parse(text: str) -> list[Condition]:
    """The conditions of --where. Raises InputError for what is none."""
    found, place = [], 0
    while place < len(text):
        match = CONDITION.match(text, place)
        if match is None:
            raise InputError(
                f"flag --where: {text[place:]!r} is no condition, as event=purchase or price>=10, b!=c are"
            )
        column, sign, quoted, plain = match.groups()
        value = plain if quoted is None else quoted
        if sign in ORDERS and not re.search(NUMBER, value):
            raise InputError(f"flag --where: {value!r} is no number, with which {sign} compares {column!r}")
        found.append(Condition(column, sign, value.strip()))
        place = match.end()
    return found


def compared(condition: Condition, numbers: np.ndarray) -> np.ndarray:
    """The rows [R] of a column of numbers, NaN where one is missing, that a condition keeps."""
    return ORDERS[condition.operator](numbers, float(condition.value))


def equal(condition: Condition, text: Text) -> np.ndarray:
    """The rows [R] of a column that a condition on text keeps."""
    missing = text.places < 0
    same = text.rows(arrow.equal(text.words, condition.value)) if condition.value else missing
    return same if condition.operator == "=" else ~same & (~missing | (condition.value == ""))
