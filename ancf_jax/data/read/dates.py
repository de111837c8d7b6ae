"""Dates in text, by formats as of strptime, a column at a time."""

import re
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow
import pyarrow.compute as arrow

from ancf_jax.data.read.cells import Text
from ancf_jax.types import InputError

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTH = "(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
MONTH += "|nov(?:ember)?|dec(?:ember)?)"
DAY = "(?:mon(?:day)?|tue(?:sday)?|wed(?:nesday)?|thu(?:rsday)?|fri(?:day)?|sat(?:urday)?|sun(?:day)?)"
ZONE = r"z|utc|gmt|[+-][0-9]{2}(?::?[0-9]{2})?"
DIRECTIVES = {
    "Y": "(?P<Y>[0-9]{4})",
    "y": "(?P<y>[0-9]{2})",
    "m": "(?P<m>[0-9]{1,2})",
    "d": "(?P<d>[0-9]{1,2})",
    "b": rf"(?P<b>{MONTH})\.?",
    "B": rf"(?P<b>{MONTH})\.?",
    "a": rf"{DAY}\.?",
    "A": rf"{DAY}\.?",
    "H": "(?P<H>[0-9]{1,2})",
    "I": "(?P<I>[0-9]{1,2})",
    "M": "(?P<M>[0-9]{1,2})",
    "S": "(?P<S>[0-9]{1,2})",
    "f": "(?P<f>[0-9]{1,9})",
    "p": r"(?P<p>[ap])\.?m\.?",
    "z": f"(?P<z>{ZONE})",
    "%": "%",
}
# What may follow a date whose format does not say: a time of day, and a zone.
TAIL = r"(?:(?:t| +|, ?)(?P<H>[0-9]{1,2}):(?P<M>[0-9]{2})(?::(?P<S>[0-9]{2})(?:[.,](?P<f>[0-9]{1,9}))?)?"
TAIL += rf"(?: ?(?P<p>[ap])\.?m\.?)?(?: ?(?P<z>{ZONE}))?)?"
ORDERS = ("%Y{0}%m{0}%d", "%d{0}%m{0}%Y", "%m{0}%d{0}%Y", "%d{0}%m{0}%y", "%m{0}%d{0}%y", "%y{0}%m{0}%d")
NAMED = ("%d %b %Y", "%d-%b-%Y", "%b %d, %Y", "%b %d %Y", "%a, %d %b %Y", "%a %d %b %Y", "%d-%b-%y", "%d %b %y")
WHOLE = ("%Y%m%dT%H%M%S", "%Y%m%dT%H%M%S%z", "%d/%b/%Y:%H:%M:%S %z", "%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S %z %Y")
FORMATS = (*(order.format(sign) for sign in "-/." for order in ORDERS), *NAMED, *WHOLE)  # what is inferred


class Found(NamedTuple):
    """What a format makes of a column; numbers mean nothing in rows that do not fit."""

    fits: np.ndarray  # [R] bool: written so, and in the calendar
    seconds: np.ndarray  # [R] int64 since 1970, UTC
    nanos: np.ndarray  # [R] int64 beyond them
    zoned: np.ndarray  # [R] bool: a zone is stated


def check(form: str) -> None:
    """Raises InputError for a format of which no date can be read."""
    groups = set(re.compile(pattern_of(form, exact=True)).groupindex)
    if not (groups & {"Y", "y"} and groups & {"m", "b"} and "d" in groups):
        raise InputError(
            f"flag --time_format: {form!r} names no year, month and day, as %Y-%m-%d does, nor s, ms, us, ns"
        )


@lru_cache
def pattern_of(form: str, exact: bool = False) -> str:
    """The regular expression of a format; unless `exact`, it takes a time of day beyond what the format says."""
    pieces = re.split(r"(%.)", form)
    unknown = [piece for piece in pieces if piece.startswith("%") and piece[1:] not in DIRECTIVES]
    fields = [piece[1] for piece in pieces if piece.startswith("%") and piece[1:] in DIRECTIVES]
    if unknown or len(fields) != len(set(fields)):
        legal = " ".join(f"%{letter}" for letter in DIRECTIVES)
        raise InputError(f"flag --time_format: {form!r} is no format: legal are {legal}, each once, or s, ms, us, ns")
    body = "".join(DIRECTIVES[piece[1:]] if piece.startswith("%") else re.escape(piece) for piece in pieces)
    return f"(?i)^{body}{'' if exact or form in WHOLE else TAIL}$"


def may_be(cell: str, form: str) -> bool:
    """Whether one cell looks like a format."""
    return re.search(pattern_of(form), cell) is not None


def read(text: Text, form: str, exact: bool = False) -> Found:
    """A column as dates of a format; unless `exact`, with a time of day where one follows."""
    fields = arrow.extract_regex(text.words, pattern_of(form, exact))
    fits = ~fields.is_null().to_numpy(zero_copy_only=False)
    parts = {field.name: fields.field(place) for place, field in enumerate(fields.type)}

    def number(name: str, default: int) -> np.ndarray:
        if name not in parts:
            return np.full(len(fields), default)
        cells = arrow.replace_substring_regex(parts[name].fill_null(""), "^$", str(default))
        return cells.cast(pyarrow.int64()).to_numpy()

    def words(name: str) -> np.ndarray:
        found = parts.get(name, pyarrow.nulls(len(fields), pyarrow.string()))
        return arrow.utf8_lower(found.fill_null("")).to_numpy(zero_copy_only=False).astype(str)

    year, short = number("Y", 1970), number("y", 70)
    year = np.where(short < 69, 2000 + short, 1900 + short) if "y" in parts else year
    month = number("m", 1)
    if "b" in parts:
        month = _months(words("b"))
    day, hour, minute, second = number("d", 1), number("H", 0), number("M", 0), number("S", 0)
    half = words("p")
    twelve = "I" in parts or bool((half != "").any())
    if "I" in parts:
        hour = number("I", 12)
    if twelve:
        fits &= (half == "") | ((hour >= 1) & (hour <= 12))
        hour = np.where(half == "", hour, hour % 12 + np.where(half == "p", 12, 0))
    fits &= (month >= 1) & (month <= 12) & (day >= 1) & (hour < 24) & (minute < 60) & (second < 60)
    months = ((year - 1970) * 12 + np.clip(month, 1, 12) - 1).astype("datetime64[M]")
    start, end = (m.astype("datetime64[D]").astype(np.int64) for m in (months, months + np.timedelta64(1, "M")))
    fits &= day <= end - start
    shift, zone = _shifts(words("z"))
    seconds = (start + day - 1) * 86400 + hour * 3600 + minute * 60 + second - shift
    fraction = parts.get("f", pyarrow.nulls(len(fields), pyarrow.string())).fill_null("")
    nanos = arrow.utf8_rpad(fraction, 9, "0").cast(pyarrow.int64()).to_numpy()
    at = text.places
    missing = at < 0
    return Found(fits[at] & ~missing, seconds[at], nanos[at], zone[at] & ~missing)


def _months(names: np.ndarray) -> np.ndarray:
    """The number of each month's name."""
    distinct, places = np.unique(names, return_inverse=True)
    return np.array([MONTHS.index(name[:3]) + 1 if name else 1 for name in distinct.tolist()], np.int64)[places]


def _shifts(zones: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many seconds each zone is ahead of UTC, and whether there is one."""
    distinct, places = np.unique(zones, return_inverse=True)
    seconds = np.zeros(len(distinct), np.int64)
    for place, zone in enumerate(distinct):
        if zone[:1] in ("+", "-"):
            digits = zone[1:].replace(":", "").ljust(4, "0")
            seconds[place] = (1 if zone[0] == "+" else -1) * (int(digits[:2]) * 3600 + int(digits[2:]) * 60)
    return seconds[places], zones != ""
