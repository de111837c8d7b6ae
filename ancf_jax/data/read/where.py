"""Which rows --where keeps: conditions on columns, all of which must hold.

    where     = condition, condition, ...
    condition = column operator value          operators: = != < <= > >=

= and != compare text as it is written, the others numbers. A value in double quotes may hold commas. A missing cell
fulfils `column=` alone, and no other condition.
"""

import operator
import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow
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
            raise InputError(f"flag --where: {value!r} is no number, with which {sign} compares {column}")
        found.append(Condition(column, sign, value.strip()))
        place = match.end()
    return found


def rows_of(condition: Condition, text: Text) -> tuple[np.ndarray, np.ndarray]:
    """The rows [R] of a column that a condition keeps, and those whose cells it cannot compare."""
    missing = text.places < 0
    if condition.operator in ORDERS:
        legal = arrow.match_substring_regex(text.words, NUMBER)
        numbers = arrow.if_else(legal, text.words, None).cast(pyarrow.float64()).to_numpy(zero_copy_only=False)
        with np.errstate(invalid="ignore"):
            kept = ORDERS[condition.operator](np.append(numbers, np.nan)[text.places], float(condition.value))
        return kept, ~missing & ~text.rows(legal)
    same = missing if not condition.value else text.rows(arrow.equal(text.words, condition.value))
    if condition.operator == "!=":
        same = ~same & (~missing | (condition.value == ""))
    return same, np.zeros(len(missing), bool)


def columns(conditions: list[Condition]) -> Mapping[str, str]:
    """The columns that conditions are about, as flag -> column."""
    return {f"where {place}": condition.column for place, condition in enumerate(conditions)}
