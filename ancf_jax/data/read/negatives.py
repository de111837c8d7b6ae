"""Reads --negatives_path: for each test row the items that it is ranked among, as the NCF paper's files have them."""

import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ancf_jax.types import InputError


class Negatives(NamedTuple):
    """A file's lines, by the ids that it has as text."""

    path: Path
    numbers: np.ndarray  # [n] where a line is in the file, from 1
    users: np.ndarray  # [n]
    items: np.ndarray  # [n] the test row's own item
    others: np.ndarray  # [n, K] what it is ranked among


def read_negatives(path: Path) -> Negatives:
    """The lines `(USER,ITEM)`, then items, between tabs. Raises InputError that names the line which is none."""
    if not path.is_file():
        raise InputError(f"--negatives_path={path}: no such file")
    try:
        text = unicodedata.normalize("NFC", path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = path.read_bytes().count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}: line {line}: a byte that is no UTF-8") from error
    numbers, users, items, others = [], [], [], []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        pair, *listed = (cell.strip() for cell in line.rstrip("\r").split("\t"))
        found = re.fullmatch(r"\(\s*([^,]+?)\s*,\s*([^,]+?)\s*\)", pair)
        if not found or not listed or not all(listed):
            shown = line.strip()[:60]
            raise InputError(f"{path}: line {number}: '{shown}'; legal are (USER,ITEM) and items, between tabs")
        if others and len(listed) != len(others[0]):
            raise InputError(
                f"{path}: line {number}: {len(listed)} items, where line {numbers[0]} has {len(others[0])}; every test "
                "row is ranked among as many"
            )
        numbers.append(number)
        users.append(found[1])
        items.append(found[2])
        others.append(listed)
    if not others:
        raise InputError(f"--negatives_path={path}: the file is empty")
    return Negatives(path, np.array(numbers), *(np.array(column, object) for column in (users, items, others)))
