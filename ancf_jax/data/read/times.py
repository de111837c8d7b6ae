"""The cells of a column as times: one format for all of them, at their own resolution, exact.

A column is of numbers, or of dates in one format. A format is inferred only where no other one gives other times:
01/12/2010 has two readings, and one of them goes where another row says 13/12/2010. A date without a zone is UTC.
"""

import itertools
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import pyarrow
import pyarrow.compute as arrow

from ancf_jax.data.read import dates
from ancf_jax.data.read.cells import NUMBER, Blame, Text, text_of
from ancf_jax.types import InputError

UNITS = {0: "s", 3: "ms", 6: "us", 9: "ns"}  # power -> unit of 10^-power seconds
POWERS = {unit: power for power, unit in UNITS.items()}
NUMBERS = "numbers"
EPOCHS = ((1e8, 1e10), (1e11, 1e13), (1e14, 1e16), (1e17, 9.3e18))  # counts of each unit since 1970, years 1973 to 2286


class Times(NamedTuple):
    """Times as they are compared and sorted."""

    values: np.ndarray  # [R] int64: 10^-power each; 0 in rows whose time is not known
    power: int
    clock: bool  # whether they count seconds since 1970, UTC
    form: str  # how they were written: numbers, timestamps, or a format as of strptime
    remark: str = ""

    @property
    def unit(self) -> str:
        """s, ms, us or ns since 1970, or numbers."""
        return UNITS[self.power] if self.clock else NUMBERS


def times_of(
    column: pyarrow.ChunkedArray, known: np.ndarray, blame: Blame, form: str = "", na_values: Collection[str] = ()
) -> Times:
    """A column as times; `form` is --time_format, or nothing.

    Raises what `blame` makes of the first `known` cell [R] that is no time like the others, or of which --time_format
    must say what it is.
    """
    if not known.any():
        return Times(np.zeros(len(known), np.int64), 0, False, NUMBERS)
    kind, types = column.type, pyarrow.types
    if types.is_timestamp(kind) or types.is_date(kind):
        return _of_timestamps(column, known, blame, form)
    numbers = None if na_values or form not in ("", *POWERS) else _whole_numbers(column, known, blame)
    if numbers is not None:
        return _of_numbers(numbers, 0, known, blame, form, column)
    stamps = None if na_values or form else _iso(column)
    if stamps is not None:
        return _of_timestamps(stamps, known, blame, "", "dates written as %Y-%m-%d")
    text = text_of(column, na_values)
    if (text.places < 0)[known].any():
        raise blame(known & (text.places < 0), "is neither a number nor a date")
    if form and form not in POWERS:
        dates.check(form)
        return _of_dates(text, known, blame, [form], exact=True)
    plain = text.rows(arrow.match_substring_regex(text.words, NUMBER))
    if form or plain[known].all():
        if not plain[known].all():
            raise blame(known & ~plain, f"is no number, as --time_format={form} says")
        values, power = _decimals(text, known, blame)
        return _of_numbers(values, power, known, blame, form, text)
    return _of_dates(text, known, blame, dates.FORMATS, plain=plain)


def _whole_numbers(column: pyarrow.ChunkedArray, known: np.ndarray, blame: Blame) -> np.ndarray | None:
    """A column of whole numbers [R], read at once; None where a look at each text is needed."""
    if pyarrow.types.is_string(column.type):
        try:
            column = column.cast(pyarrow.int64())
        except pyarrow.ArrowInvalid:
            return None
    if not pyarrow.types.is_integer(column.type) or column.filter(pyarrow.array(known)).null_count:
        return None
    numbers = column.fill_null(0).to_numpy()
    wrong = known & (numbers > 2**63 - 1) if numbers.dtype == np.uint64 else np.zeros(1, bool)
    if wrong.any():
        raise blame(wrong, "is beyond 64 bits")
    return np.where(known, numbers, 0).astype(np.int64)


def _iso(column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray | None:
    """Text that is ISO 8601 in every row as Arrow's timestamps, many times as fast as the way over `dates`."""
    if not pyarrow.types.is_string(column.type):
        return None
    for unit, zone in itertools.product(POWERS, (None, "UTC")):
        try:
            return column.cast(pyarrow.timestamp(unit, zone))
        except pyarrow.ArrowInvalid:
            continue
    return None


def _of_timestamps(
    column: pyarrow.ChunkedArray, known: np.ndarray, blame: Blame, form: str, written: str = "timestamps"
) -> Times:
    """A column of Arrow's own timestamps or dates."""
    missing = column.is_null().to_numpy()
    if (missing & known).any():
        raise blame(missing & known, "is neither a number nor a date")
    if form:
        raise blame(known, f"is a timestamp already; leave out --time_format={form}")
    kind = column.type
    if pyarrow.types.is_date(kind):
        column, kind = column.cast(pyarrow.timestamp("ms")), pyarrow.timestamp("ms")
    values = np.where(known, column.cast(pyarrow.int64()).fill_null(0).to_numpy(), 0)
    remark = f"{written}, {'with zones' if kind.tz else 'without a zone, so taken as UTC'}"
    form = written.rpartition(" ")[2] + (" with zones" if kind.tz else "")
    return _coarsest(Times(values, POWERS[kind.unit], True, form, remark))


def _decimals(text: Text, known: np.ndarray, blame: Blame) -> tuple[np.ndarray, int]:
    """Numbers in text as integers [R] that count 10^-power, for the least power 0, 3, 6... that leaves nothing out."""
    used = np.unique(text.places[known])
    words, at = text.words.take(used), np.searchsorted(used, text.places)
    for power in range(0, 19, 3):
        try:
            exact = words.cast(pyarrow.decimal128(38, power)).cast(pyarrow.decimal128(38, power))
        except pyarrow.ArrowInvalid:
            continue
        halves = np.frombuffer(exact.buffers()[1], np.int64).reshape(-1, 2)[exact.offset : exact.offset + len(exact)]
        values = halves[:, 0]
        if (halves[:, 1] == np.where(values < 0, -1, 0)).all():
            return np.where(known, np.append(values, 0)[np.where(known, at, -1)], 0), power
        break
    numbers = np.append(np.abs(words.cast(pyarrow.float64()).to_numpy()), 0.0)[np.where(known, at, -1)]
    wrong = known & (numbers >= 2.0**63)
    if wrong.any():
        raise blame(wrong, "is beyond 64 bits")
    raise blame(known, "and others have more digits than 64 bits hold")


def _of_numbers(
    values: np.ndarray, power: int, known: np.ndarray, blame: Blame, form: str, cells: pyarrow.ChunkedArray | Text
) -> Times:
    """Numbers that count what --time_format says, or 8 or 14 digits that are dates in every row."""
    if form:
        total = POWERS[form] + power
        if total > 9:
            raise blame(known, f"is finer than nanoseconds, as --time_format={form} reads it")
        return _coarsest(Times(values, total, True, form))
    present = values[known]
    low, high = int(present.min()), int(present.max())
    for digits, pattern in ((8, "%Y%m%d"), (14, "%Y%m%d%H%M%S")):
        first, last = (int(year + "0101000000"[: digits - 4]) for year in ("1900", "2101"))
        if power == 0 and first <= low and high < last:
            text = cells if isinstance(cells, Text) else text_of(cells)
            found = dates.read(text, pattern, exact=True)
            if found.fits[known].all():
                return _finish(found, known, blame, pattern)
    if power == 0 and low >= 10**6 and high < 4 * 10**7:
        _refuse_reversed(cells if isinstance(cells, Text) else text_of(cells), known, blame)
    sizes = np.abs(present / 10.0**power)
    epochs = [(low <= sizes) & (sizes < high) for low, high in EPOCHS]
    hit = [epoch for epoch in epochs if epoch.any()]
    if len(hit) > 1 and np.logical_or.reduce(epochs).all():
        odd = np.zeros(len(known), bool)
        odd[np.flatnonzero(known)[min(hit, key=lambda epoch: epoch.sum())]] = True
        raise blame(
            odd, "counts since 1970 in another unit than others; --time_format=s, ms, us or ns says which all are"
        )
    return Times(values, power, False, NUMBERS)


def _refuse_reversed(text: Text, known: np.ndarray, blame: Blame) -> None:
    """31122010 is a number, which would be sorted by its day."""
    text = text._replace(words=arrow.utf8_lpad(text.words, 8, "0"))  # a number has lost the zero of its day
    if not text.rows(arrow.match_substring_regex(text.words, r"^[0-3][0-9]{3}(19|20)[0-9]{2}$"))[known].all():
        return
    for pattern in ("%d%m%Y", "%m%d%Y"):
        if dates.read(text, pattern, exact=True).fits[known].all():
            raise blame(known, f"is a number, or a date as {pattern}; --time_format={pattern} or =s says which")


def _of_dates(
    text: Text,
    known: np.ndarray,
    blame: Blame,
    forms: Collection[str],
    exact: bool = False,
    plain: np.ndarray | None = None,
) -> Times:
    """Dates in text, in the one of `forms` that all cells have."""
    sample = text.words.take(text.places[np.flatnonzero(known)[:1]])
    fitting: list[tuple[str, dates.Found]] = []
    for form in forms:
        if exact or dates.may_be(sample[0].as_py(), form):
            found = dates.read(text, form, exact)
            if found.fits[known].all():
                fitting.append((form, found))
    if not fitting:
        if exact:
            (form,) = forms
            raise blame(known & ~dates.read(text, form, exact).fits, f"is not written as --time_format={form}")
        misfits = [known & ~dates.read(text, form).fits for form in forms]
        if plain is not None:
            misfits.insert(0, known & ~plain)
        odd = min(misfits, key=lambda wrong: wrong.sum())
        others = "" if odd[known].all() else ", as the others are"
        raise blame(odd, f"is neither a number nor a date{others}")
    form, found = fitting[0]
    for _, reading in fitting[1:]:
        odd = known & ((reading.seconds != found.seconds) | (reading.nanos != found.nanos))
        if odd.any():
            ways_out = " or ".join(f"--time_format={name}" for name, _ in fitting)
            raise blame(odd, f"is a date in several formats; give {ways_out}")
    return _finish(found, known, blame, form)


def _finish(found: dates.Found, known: np.ndarray, blame: Blame, form: str) -> Times:
    zoned = found.zoned[known]
    if zoned.any() and not zoned.all():
        raise blame(known & ~found.zoned, "states no time zone, as others do")
    seconds, nanos = np.where(known, found.seconds, 0), np.where(known, found.nanos, 0)
    power = next(power for power in UNITS if not (nanos % 10 ** (9 - power)).any())
    wrong = known & (np.abs(seconds) >= 2**63 // 10**power - 1)
    if wrong.any():
        raise blame(wrong, "is too far from 1970 for times as fine as these")
    zone = " with zones" if zoned.any() else ""
    remark = f"dates written as {form},{zone or ' without a zone, so taken as UTC'}"
    return Times(seconds * 10**power + nanos // 10 ** (9 - power), power, True, form + zone, remark)


def _coarsest(times: Times) -> Times:
    """The same times in the coarsest unit that holds them all."""
    for power in UNITS:
        step = 10 ** (times.power - power) if power < times.power else 1
        if power == times.power or not (times.values % step).any():
            return times._replace(values=times.values // step, power=power)
    raise InputError(f"times finer than nanoseconds: {times.form}")
