import datetime

import numpy as np
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ancf_jax.data.read import dates
from ancf_jax.data.read.cells import text_of
from ancf_jax.types import InputError

UTC = datetime.UTC


def found(cells, form, exact=True):
    return dates.read(text_of(pyarrow.chunked_array([cells])), form, exact)


FORMS = (
    "%Y-%m-%d %H:%M:%S.%f",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%y %I:%M:%S %p",
    "%d %b %Y",
    "%B %d, %Y",
    "%a, %d %b %Y %H:%M:%S %z",
    "%d.%m.%Y",
    "%Y%m%d%H%M%S",
    "%d/%b/%Y:%H:%M:%S %z",
    "%a %b %d %H:%M:%S %Y",
)


@settings(max_examples=25)
@given(st.lists(st.datetimes(datetime.datetime(1970, 1, 1), datetime.datetime(2068, 1, 1)), min_size=1, max_size=4))
def test_every_format_against_strptime(moments):
    for form in FORMS:
        cells = [moment.replace(tzinfo=UTC).strftime(form) for moment in moments]
        parsed = [datetime.datetime.strptime(cell, form) for cell in cells]
        expected = [moment if moment.tzinfo else moment.replace(tzinfo=UTC) for moment in parsed]
        reading = found(cells, form)
        assert reading.fits.all()
        assert reading.seconds.tolist() == [int(moment.replace(microsecond=0).timestamp()) for moment in expected]
        assert reading.nanos.tolist() == [moment.microsecond * 1000 for moment in expected]
        assert reading.zoned.all() == ("%z" in form)


@pytest.mark.parametrize(
    "cell",
    [
        "2023-02-29",
        "2024-13-01",
        "2024-00-10",
        "2024-04-31",
        "2024-01-01 24:00",
        "2024-01-01 10:60",
        "2024-01-01 1:2:60",
        "24-01-01",
        "2024-01-01x",
        "",
        "2024-01-01 13:00 PM",
    ],
)
def test_what_is_not_in_the_calendar(cell):
    assert not found([cell, "2024-02-29"], "%Y-%m-%d", exact=False).fits[0]
    assert found([cell, "2024-02-29"], "%Y-%m-%d", exact=False).fits[1]


@pytest.mark.parametrize(
    ("cell", "seconds", "nanos"),
    [
        ("1970-01-02", 86400, 0),
        ("1970-01-01T00:01", 60, 0),
        ("1970-1-1 0:01:02.5", 62, 500_000_000),
        ("1970-01-01 00:00:00,000000001", 0, 1),
        ("1970-01-01T00:00:00Z", 0, 0),
        ("1970-01-01T02:00:00+02:00", 0, 0),
        ("1970-01-01T02:00:00+0200", 0, 0),
        ("1970-01-01 02:00:00 +02", 0, 0),
        ("1969-12-31 19:00 -05:00", 0, 0),
        ("1970-01-01 12:00 am", 0, 0),
        ("1970-01-01 12:30 P.M.", 45000, 0),
        ("1969-12-31 23:59:59.25", -1, 250_000_000),
    ],
)
def test_a_time_of_day_may_follow_a_date(cell, seconds, nanos):
    reading = found([cell], "%Y-%m-%d", exact=False)
    assert (reading.fits[0], reading.seconds[0], reading.nanos[0]) == (True, seconds, nanos)


def test_years_of_two_digits_are_those_of_posix():
    seconds = found(["01/01/68", "01/01/69"], "%d/%m/%y").seconds
    assert seconds.astype("datetime64[s]").astype("datetime64[Y]").astype(str).tolist() == ["2068", "1969"]


def test_missing_cells_fit_nothing():
    assert found(["2024-01-01", "", None], "%Y-%m-%d").fits.tolist() == [True, False, False]


@pytest.mark.parametrize("form", ["%Q", "%Y-%Y-%d", "%j"])
def test_formats_that_are_none(form):
    with pytest.raises(InputError, match=r"flag --time_format: .* is no format: legal are %Y"):
        dates.check(form)


@pytest.mark.parametrize("form", ["%H:%M", "%Y", "today", "%Y-%m"])
def test_formats_without_a_day(form):
    with pytest.raises(InputError, match="names no year, month and day, as %Y-%m-%d does, nor s, ms, us, ns"):
        dates.check(form)
    dates.check("%y/%b/%d")


def test_formats_that_are_inferred_are_all_read():
    moment = datetime.datetime(2031, 12, 24, 10, 11, 12, tzinfo=UTC)
    for form in dates.FORMATS:
        reading = found([moment.strftime(form)], form, exact=False)
        assert reading.fits[0] and reading.seconds[0] // 86400 == moment.timestamp() // 86400, form
    assert np.unique(dates.FORMATS).size == len(dates.FORMATS)
