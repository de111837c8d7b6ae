"""Tables that fit the terminal: text wraps at spaces, and what is still too wide becomes a second table."""

import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.console.text import plain, say, terminal_width, visible

GAP = 2  # columns between two columns
TEXT = 16  # the least width of wrapped text, unless it is shorter
NUMBER = re.compile(r"-|[-+]?[\d,]*\.?\d+(e[-+]?\d+)?[kM%]?")  # its column is aligned on the right
WITH_ITS_LEFT = "±"  # the heading of a column that belongs to the one before it

Fitted = list[tuple[int, int]]  # places and widths of the columns of one table


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "") -> None:
    """Prints an aligned table to stdout, never truncated, no word broken.

    As wide as it needs where there is no terminal; else as wide as that at most. Columns that do not fit follow in
    further tables, beside the first column.

    Args:
        columns: the headings.
        rows: one sequence of cells a row; floats show four decimals, None and NaN a dash.
        title: a line above the table.
    """
    columns = [visible(heading) for heading in columns]
    cells = [[_cell(value) for value in row] for row in rows]
    numeric = [all(NUMBER.fullmatch(row[place]) for row in cells) for place in range(len(columns))]
    if title:
        say("", title)
    width = terminal_width()
    for fitted in fit(columns, cells, width):
        grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True, padding=(0, GAP - 1))
        for place, wide in fitted:
            justify: Any = "right" if numeric[place] else "left"
            grid.add_column(Text(columns[place]), justify=justify, width=wide, overflow="fold")
        for row in cells:
            grid.add_row(*(Text(row[place]) for place, _ in fitted))
        console = Console(file=sys.stdout, force_terminal=width is not None, width=10_000)
        with console.capture() as captured:
            console.print(grid)
        lines = captured.get().splitlines()
        print("", *(line.rstrip() for line in lines), "", sep="\n")


def fit(headings: Sequence[str], cells: Sequence[Sequence[str]], width: int | None) -> list[Fitted]:
    """The columns of one table, or of several so that each fits `width`; a table has two columns at least.

    Text and headings are wrapped before a table is split, from the widest column on, but for words.
    """
    columns = [[heading, *(row[place] for row in cells)] for place, heading in enumerate(headings)]
    natural = [max(map(cell_len, column)) for column in columns]
    if width is None:
        return [list(enumerate(natural))]
    least = [min(_least(*column), wide) for column, wide in zip(columns, natural, strict=True)]
    groups: list[list[int]] = [[0]]
    for unit in _units(headings):
        places = [*groups[-1], *unit]
        if len(groups[-1]) > 1 and _width([least[place] for place in places]) > width:
            groups.append([0])
        groups[-1] += unit
    return [list(zip(group, _shrunk(group, natural, least, width), strict=True)) for group in groups]


def _units(headings: Sequence[str]) -> list[list[int]]:
    """The places of the columns after the first, those together that belong together."""
    units: list[list[int]] = []
    for place, heading in list(enumerate(headings))[1:]:
        if heading == WITH_ITS_LEFT and units:
            units[-1].append(place)
        else:
            units.append([place])
    return units


def _shrunk(group: list[int], natural: list[int], least: list[int], width: int) -> list[int]:
    """The widths of these columns: the widest give up what is missing, down to their least."""
    widths = [natural[place] for place in group]
    while _width(widths) > width:
        spare = [n for n, place in enumerate(group) if widths[n] > least[place]]
        if not spare:
            break
        widths[max(spare, key=widths.__getitem__)] -= 1
    return widths


def _width(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _least(heading: str, *cells: str) -> int:
    """How narrow a column may become: text as its longest word, and not below TEXT; all else as its longest cell."""
    words = max(map(cell_len, heading.split()), default=0)
    if any(cell[:1].isalpha() for cell in cells):
        return max(TEXT, words, *(cell_len(word) for cell in cells for word in cell.split()))
    return max([words, *map(cell_len, cells)])


def _cell(value: Any) -> str:
    """A table's cell as text."""
    value = plain(value)
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else visible(str(value))
