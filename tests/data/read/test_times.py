import datetime
import decimal

import numpy as np
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancf_jax.data.read.times import times_of
from ancf_jax.types import InputError


def times(cells, kind=None, form="", known=None, na_values=()):
    column = pyarrow.chunked_array([pyarrow.array(cells, kind)])

    def blame(wrong, why):
        return InputError(f"{np.argmax(wrong)} {why}")

    return times_of(column, np.ones(len(cells), bool) if known is None else np.array(known), blame, form, na_values)


BIG = 1_500_000_000_000_000_001
READ = {
    "numbers": (["5", "7"], None, "", [5, 7], "numbers"),
    "nanoseconds in text": ([str(BIG), str(BIG - 1)], None, "", [BIG, BIG - 1], "numbers"),
    "fractions": ([".1", "0.25", "5."], None, "", [100, 250, 5000], "numbers"),
    "exponents": (["1e3", "2.5e-1"], None, "", [1_000_000, 250], "numbers"),
    "many digits": (["0.1234567890123456", "-1"], None, "", [123456789012345600, -(10**18)], "numbers"),
    "uint64": ([BIG, 1], pyarrow.uint64(), "", [BIG, 1], "numbers"),
    "floats": ([1.5, 2.0], pyarrow.float64(), "", [1500, 2000], "numbers"),
    "decimals": ([decimal.Decimal("1.50"), decimal.Decimal("2.00")], None, "", [1500, 2000], "numbers"),
    "stated seconds": (["1.5", "2"], None, "s", [1500, 2000], "ms"),
    "stated milliseconds": ([1_000, 2_001], pyarrow.int64(), "ms", [1_000, 2_001], "ms"),
    "whole seconds in milliseconds": ([1_000, 2_000], pyarrow.int64(), "ms", [1, 2], "s"),
    "stated nanoseconds": ([BIG], pyarrow.uint64(), "ns", [BIG], "ns"),
    "days": (["1970-01-02", "1970-01-01"], None, "", [86400, 0], "s"),
    "days without signs": (["20240102", "20240101"], None, "", [1704153600, 1704067200], "s"),
    "days as numbers": ([20240102, 20240101], None, "", [1704153600, 1704067200], "s"),
    "seconds without signs": ([20240101000001], None, "", [1704067201], "s"),
    "eight digits that are no days": ([20241399, 20240101], None, "", [20241399, 20240101], "numbers"),
    "microseconds": (["1970-01-01 00:00:00.000001", "1970-01-01 00:00:01"], None, "", [1, 10**6], "us"),
    "zones": (["1970-01-01T01:00:00+01:00", "1970-01-01T00:00:01Z"], None, "", [0, 1], "s"),
    "day first": (["01/12/2010", "13/12/2010"], None, "", [1291161600, 1292198400], "s"),
    "two readings of one meaning": (["01/01/2024", "02/02/2024"], None, "", [1704067200, 1706832000], "s"),
    "centuries apart": (["9300-01-01", "1600-01-01"], None, "", [231312499200, -11676096000], "s"),
    "stamps": ([BIG, 0], pyarrow.timestamp("ns"), "", [BIG, 0], "ns"),
    "stamps of a zone": ([3_000_000, 0], pyarrow.timestamp("us", "Asia/Tokyo"), "", [3, 0], "s"),
    "dates": ([datetime.date(1970, 1, 2)], pyarrow.date32(), "", [86400], "s"),
    "dates of 64 bits": ([datetime.date(1970, 1, 2)], pyarrow.date64(), "", [86400], "s"),
}


@pytest.mark.parametrize("case", READ)
def test_columns_of_times(case):
    cells, kind, form, expected, unit = READ[case]
    found = times(cells, kind, form)
    assert found.values.tolist() == expected and found.values.dtype == np.int64 and found.unit == unit


REFUSED = {
    "two readings": (
        ["01/12/2010", "02/11/2010"],
        "",
        "0 is a date in several formats; give --time_format=%d/%m/%Y or --time_format=%m/%d/%Y",
    ),
    "two digits": (
        ["31/12/24", "01/02/24"],
        "",
        "0 is a date in several formats; give --time_format=%d/%m/%y or --time_format=%y/%m/%d",
    ),
    "another format": (
        ["2010-12-01", "2010-12-02", "12/3/2010"],
        "",
        "2 is neither a number nor a date, as the others are",
    ),
    "no format": (["soon", "later"], "", "0 is neither a number nor a date"),
    "numbers and dates": (["5", "6", "2010-12-01"], "", "2 is neither a number nor a date, as the others are"),
    "no zone beside one": (["2010-12-01T00:00Z", "2010-12-01T00:00"], "", "1 states no time zone, as others do"),
    "no time": (["5", ""], "", "1 is neither a number nor a date"),
    "no stamp": (["2010-12-01", None], "", "1 is neither a number nor a date"),
    "beyond 64 bits": (["5", str(2**63)], "", "1 is beyond 64 bits"),
    "far beyond": (["5", "1e300"], "", "1 is beyond 64 bits"),
    "too fine": (["100.1234567890123456789", "5"], "", "0 and others have more digits than 64 bits hold"),
    "too fine for its years": (
        ["9300-01-01 00:00:00.000000001"],
        "",
        "0 is too far from 1970 for times as fine as these",
    ),
    "seconds and milliseconds": (
        ["1600000000", "1600000001", "1600000000000"],
        "",
        "2 counts since 1970 in another unit",
    ),
    "reversed digits": (["31122010", "01122010"], "", "0 is a number, or a date as %d%m%Y"),
    "not as stated": (["01/12/2010", "2010-12-01"], "%d/%m/%Y", "1 is not written as --time_format=%d/%m/%Y"),
    "no number, as stated": (["5", "2010-12-01"], "s", "1 is no number, as --time_format=s says"),
    "finer than nanoseconds": (["5.5"], "ns", "0 is finer than nanoseconds"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_columns_that_are_refused(case):
    cells, form, message = REFUSED[case]
    with pytest.raises(InputError) as error:
        times(cells, pyarrow.string(), form)
    assert str(error.value).startswith(message)


def test_stamps_need_no_format_and_uint64_may_be_too_large():
    with pytest.raises(InputError, match="0 is a timestamp already; leave out --time_format=s"):
        times([5], pyarrow.timestamp("s"), "s")
    with pytest.raises(InputError, match="1 is beyond 64 bits"):
        times([5, 2**63], pyarrow.uint64())


def test_one_unit_may_be_stated_for_numbers_of_all_sizes():
    assert times(["1600000000", "1600000000000"], form="s").values.tolist() == [1600000000, 1600000000000]


@pytest.mark.parametrize("cells", [["5", "never"], ["2010-12-01", "never"], ["2010-12-01", None], ["5", str(2**70)]])
def test_nothing_is_asked_of_rows_that_will_be_dropped(cells):
    found = times(cells, known=[True, False])
    assert found.values[1] == 0 and found.values[0] > 0
    assert times(cells, known=[False, False]).values.tolist() == [0, 0]


def test_what_is_inferred_is_said():
    assert times(["2010-12-01"]).remark == "dates written as %Y-%m-%d, without a zone, so taken as UTC"
    assert times(["13/12/2010 8:26 +0100"]).remark == "dates written as %d/%m/%Y, with zones"
    assert times([5], pyarrow.timestamp("s", "UTC")).remark == "timestamps, with zones"


moments = st.lists(
    st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1)), min_size=2, max_size=5, unique=True
)


@given(moments, st.sampled_from(["%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%fZ", "%d %B %Y %H:%M:%S.%f"]))
def test_the_order_of_moments_is_kept(found, form):
    values = times([moment.strftime(form) for moment in found]).values
    assert np.argsort(values).tolist() == np.argsort(np.array(found, "datetime64[us]")).tolist()
