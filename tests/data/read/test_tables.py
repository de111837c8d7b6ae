import datetime

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from ancf_jax.data.read.formats.delimited import Dialect
from ancf_jax.data.read.sources import read, read_attributes
from ancf_jax.data.read.tables import joined, read_table
from ancf_jax.settings import DataConfig
from ancf_jax.types import InputError


def folder_of(tmp_path, *tables):
    (tmp_path / "log").mkdir()
    for number, columns in enumerate(tables):
        pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "log" / f"{number}.parquet")
    return DataConfig(dataset=str(tmp_path / "log"), time_column="t")


def test_columns_typed_in_several_ways_become_what_their_text_is(tmp_path):
    moment = datetime.datetime(2020, 1, 1, 10)
    first = {"user": [7, 8], "item": ["a", "b"], "t": pyarrow.array([moment, moment], pyarrow.timestamp("us"))}
    second = {"user": ["9"], "item": [pyarrow.scalar("c")], "t": pyarrow.array([moment], pyarrow.timestamp("ns"))}
    second["item"] = pyarrow.array(["c"]).dictionary_encode()
    source = read(folder_of(tmp_path, first, second))
    assert source.frame["user"].tolist() == [7, 8, 9] and source.frame["item"].tolist() == ["a", "b", "c"]
    assert source.frame["time"].tolist() == [1577872800] * 3 and source.unit == "s"


def test_rows_are_named_in_their_own_files(tmp_path):
    first = {"user": [1, 2], "item": [1, 2], "t": ["2020-01-01", "2020-01-02"]}
    second = {"user": [3, 4], "item": [3, 4], "t": ["2020-01-03", "soon"]}
    with pytest.raises(InputError, match=r"1\.parquet: row 2, column 't': 'soon' is neither a number nor a date, as"):
        read(folder_of(tmp_path, first, second))


def test_tables_one_after_another(tmp_path):
    for name, cell in (("a", "1"), ("b", "x")):
        (tmp_path / f"{name}.csv").write_text(f"user,item,event\n7,{cell},buy\n8,{cell},see\n")
    wanted = [("user_column", "user"), ("item_column", "item")]
    one = read_table(str(tmp_path / "a.csv"), "train_path", wanted, condition="event=buy")
    two = read_table(str(tmp_path / "b.csv"), "test_path", wanted, condition="event=buy", first=2)
    both = joined([one, two])
    assert both.places.tolist() == [0, 2] and both.removed == (("not --where=event=buy", 2),)
    assert both.columns["item"].to_pylist() == ["1", "x"]
    assert [both.place(row) for row in (0, 1)] == [f"{tmp_path}/a.csv: line 2", f"{tmp_path}/b.csv: line 2"]


def test_long_cells_are_cut_in_errors(tmp_path):
    (tmp_path / "log.csv").write_text("user,item,q\n1,2," + "x" * 60_000 + "\n")
    table = read_table(str(tmp_path / "log.csv"), "dataset", [("value_column", "q")])
    with pytest.raises(InputError) as error:
        table.numbers("q", np.ones(1, bool))
    assert str(error.value) == f"{tmp_path}/log.csv: line 2, column 'q': '{'x' * 60}...' is not a number"


def test_tables_of_items_are_read_alike(tmp_path):
    (tmp_path / "items.csv").write_text("item;kind;price\n 007 ;a|b;1,5\n7;-;2\n", encoding="utf-8")
    config = DataConfig(
        items_path=str(tmp_path / "items.csv"), item_categories=("kind",), item_numbers=("price",), na_values=("-",)
    )
    found = read_attributes(config, "item")
    assert found.ids.tolist() == ["007", "7"] and found.frame["price"].tolist() == [1.5, 2]
    assert found.frame["kind"].isna().tolist() == [False, True]


def test_a_dialect_is_of_its_file(tmp_path):
    (tmp_path / "log.csv").write_text("1;x\n2;-\n")
    dialect = Dialect(header=("user", "item"), na_values=("-",))
    table = read_table(str(tmp_path / "log.csv"), "dataset", [("item_column", "item")], dialect)
    assert list(table.columns) == ["item"] and table.text("item").places.tolist() == [0, -1]
    assert table.inferred == ("log.csv: columns are separated by semicolons",)
