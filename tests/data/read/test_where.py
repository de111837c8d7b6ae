import operator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ancf_jax.data.read.sources import read
from ancf_jax.data.read.where import parse
from ancf_jax.settings import DataConfig
from ancf_jax.types import InputError

LOG = 'user,item,event,price\n1,a,view,3\n2,b,buy,12\n3,c,buy,\n4,d,"x, y",12.0\n5,e,,9\n'


def users(tmp_path, where) -> list[int]:
    (tmp_path / "log.csv").write_text(LOG)
    return read(DataConfig(dataset=str(tmp_path / "log.csv"), where=where)).frame["user"].tolist()


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("event=buy", [2, 3]),
        (" event = buy ", [2, 3]),
        ("event!=buy", [1, 4]),  # a missing cell is neither
        ("event=", [5]),
        ("event!=", [1, 2, 3, 4]),
        ('event="x, y"', [4]),
        ("price=12", [2]),  # as it is written
        ("price>=12", [2, 4]),
        ("price>9", [2, 4]),
        ("price<=9", [1, 5]),
        ("price<1e1,event=view", [1]),
        ("event=buy,price>1", [2]),
    ],
)
def test_rows_that_fulfil_all_conditions(tmp_path, where, kept):
    assert users(tmp_path, where) == kept


def test_what_is_left_out_is_counted(tmp_path):
    (tmp_path / "log.csv").write_text(LOG)
    source = read(DataConfig(dataset=str(tmp_path / "log.csv"), where="event=buy"))
    assert source.removed == (("not --where=event=buy", 3),)
    assert read(DataConfig(dataset=str(tmp_path / "log.csv"), where="user>0")).removed == ()


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("event", r"flag --where: 'event' is no condition, as event=purchase"),
        ("event=a,=b", "flag --where: '=b' is no condition"),
        ("price>cheap", "flag --where: 'cheap' is no number, with which > compares 'price'"),
        ("event>3", r"line 2, column 'event': 'view' is not a number"),
        ("evnt=buy", r"no column 'evnt' \(--where\); .* did you mean event\?"),
        ("event=sell", r"flag --where: no row of .*log\.csv fulfils event=sell"),
    ],
)
def test_conditions_that_are_refused(tmp_path, where, message):
    with pytest.raises(InputError, match=message):
        users(tmp_path, where)


SIGNS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
number = st.integers(-5, 5) | st.sampled_from([0.5, -1.25])


@settings(max_examples=30)
@given(st.lists(number, min_size=1, max_size=5), st.sampled_from(sorted(SIGNS)), number)
def test_numbers_compare_as_numbers(tmp_path_factory, cells, sign, value):
    path = tmp_path_factory.getbasetemp() / "numbers.csv"
    path.write_text("user,item,x\n" + "".join(f"{n},1,{cell}\n" for n, cell in enumerate(cells)))
    kept = [n for n, cell in enumerate(cells) if SIGNS[sign](cell, value)]
    config = DataConfig(dataset=str(path), where=f"x{sign}{value}")
    if kept:
        assert read(config).frame["user"].tolist() == kept
    else:
        with pytest.raises(InputError, match="no row"):
            read(config)


def test_numbers_with_a_decimal_comma(tmp_path):
    (tmp_path / "log.csv").write_text("user;item;x\n1;1;9,5\n2;1;10,25\n3;1;\n")
    for flags in ({}, {"decimal": ","}):
        config = DataConfig(dataset=str(tmp_path / "log.csv"), where="x>10", **flags)
        assert read(config).frame["user"].tolist() == [2]


def test_the_grammar():
    assert parse("") == []
    assert parse('a b=1,c!="d,e",f>=-1.5,g=') == [
        ("a b", "=", "1"),
        ("c", "!=", "d,e"),
        ("f", ">=", "-1.5"),
        ("g", "=", ""),
    ]
