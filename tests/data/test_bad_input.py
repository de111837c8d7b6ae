"""Dirty files through `load`: a result that is right, or one line that says what is wrong."""

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest

from ancf_jax.data.dataset import Dataset, load
from ancf_jax.devices import memory
from ancf_jax.settings import DataConfig
from ancf_jax.types import InputError

COLUMNS = {"value_column": "q", "time_column": "t"}


def read(tmp_path, content, name="log.csv", **fields) -> Dataset:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load(DataConfig(dataset=str(path), split="random", **fields))


def rows_of(dataset) -> list[tuple]:
    """Original user, item and value of every row of all parts, in the order of time."""
    rows = []
    for part in (dataset.train, dataset.valid, dataset.test):
        users, items = dataset.user_ids[part.users].tolist(), dataset.item_ids[part.items].tolist()
        rows += zip(part.order.tolist(), users, items, part.values.tolist(), strict=True)
    return [row[1:] for row in sorted(rows)]


def refused(tmp_path, content, name="log.csv", **fields) -> str:
    """The line that `load` refuses a file with, after the file's name."""
    with pytest.raises(InputError) as error:
        read(tmp_path, content, name, **fields)
    message = str(error.value)
    assert "\n" not in message
    return message.removeprefix(f"{tmp_path / name}: ")


GOOD = {
    "ids of several types": ("user,item\n1,7\nx,8\n2.50,7\n", [("1", 7, 1), ("x", 8, 1), ("2.50", 7, 1)]),
    "ids as floats": ("user,item\n17850.0,2\n,3\n13047.0,2\n", [("17850.0", 2, 1), ("13047.0", 2, 1)]),
    "ids that are no whole numbers": ("user,item\n1.5,2\n3,2\n", [("1.5", 2, 1), ("3", 2, 1)]),
    "ids beyond 64 bits": (f"user,item\n{10**22},2\n7,2\n", [(str(10**22), 2, 1), ("7", 2, 1)]),
    "one user": ("user,item\n7,a\n7,b\n", [(7, "a", 1), (7, "b", 1)]),
    "one item": ("user,item\n7,a\n8,a\n", [(7, "a", 1), (8, "a", 1)]),
    "one row": ("user,item\n7,a\n", [(7, "a", 1)]),
    "another column twice": ("user,item,x,x\n1,2,3,4\n", [(1, 2, 1)]),
    "utf-16": ("user,item\n1,café\n2,b\n".encode("utf-16"), [(1, "café", 1), (2, "b", 1)]),
}


@pytest.mark.parametrize("case", GOOD)
def test_dirt_that_does_no_harm(tmp_path, case):
    content, expected = GOOD[case]
    dataset = read(tmp_path, content)
    assert rows_of(dataset) == expected


VALUES = {
    "text": ("1\nfour\n", "line 3, column 'q': 'four' is not a number"),
    "a thousand": (
        '1\n"1,000"\n',
        "line 3, column 'q': '1,000' is not a number; --decimal=, reads a comma before decimals",
    ),
    "infinite": ("1\ninf\n", "line 3, column 'q': 'inf' is not a number"),
    "absurd": ("1\n-1e300\n", "line 3, column 'q': '-1e300' is too large; legal is up to 1e+15"),
    "beyond float64": ("1\n1e400\n", "line 3, column 'q': '1e400' is too large; legal is up to 1e+15"),
}


@pytest.mark.parametrize("case", VALUES)
def test_values_that_are_no_quantities(tmp_path, case):
    cells, message = VALUES[case]
    lines = "".join(f"1,{n},{cell}\n" for n, cell in enumerate(cells.splitlines()))
    assert refused(tmp_path, f"user,item,q\n{lines}", value_column="q") == message


def test_negative_and_large_quantities(tmp_path):
    text = "user,item,q\n1,a,-3\n1,b,3e14\n1,c,-0.0\n2,a,2\n"
    rows = rows_of(read(tmp_path, text, value_column="q", returns="keep"))
    assert [row[2] for row in rows] == [-3, np.float32(3e14), 0, 2]
    clipped = rows_of(read(tmp_path, text, value_column="q", returns="drop", clip_quantile=0.5))
    assert clipped == [(1, "b", 2), (1, "c", 0), (2, "a", 2)]


TIMES = {
    "several formats": (
        "2010-12-01\n12/2/2010\n3 Dec 2010\n",
        "line 3, column 't': '12/2/2010' is neither a number nor a date, as the others are",
    ),
    "numbers and dates": (
        "100\n2010-12-01\n200\n",
        "line 3, column 't': '2010-12-01' is neither a number nor a date, as the others are",
    ),
    "no day": (
        "2010-12-01\n2010-02-30\n",
        "line 3, column 't': '2010-02-30' is neither a number nor a date, as the others are",
    ),
    "absurd": ("5\n1e300\n", "line 3, column 't': '1e300' is beyond 64 bits"),
    "beyond 64 bits": ("5\n18446744073709551615\n", "line 3, column 't': '18446744073709551615' is beyond 64 bits"),
    "none": ("5\n\n", "line 3, column 't': empty is neither a number nor a date"),
}


@pytest.mark.parametrize("case", TIMES)
def test_times_that_are_none(tmp_path, case):
    cells, message = TIMES[case]
    lines = "".join(f"1,{n},{cell}\n" for n, cell in enumerate(cells.splitlines()))
    assert refused(tmp_path, f"user,item,t\n{lines}", time_column="t") == message


def test_dates_centuries_apart(tmp_path):
    text = "user,item,t\n1,a,9300-01-01\n1,b,1600-01-01 12:00\n1,c,2010-12-01T08:26\n"
    assert [row[1] for row in rows_of(read(tmp_path, text, time_column="t"))] == ["b", "c", "a"]


def test_a_hundred_columns(tmp_path):
    names = ",".join(f"c{n}" for n in range(100))
    rows = "".join(",".join(str(row * n) for n in range(100)) + "\n" for row in (1, 2))
    named = {"user_column": "c7", "item_column": "c99", "value_column": "c0", "time_column": "c50"}
    assert rows_of(read(tmp_path, f"{names}\n{rows}", **named)) == [(7, 99, 0), (14, 198, 0)]
    message = refused(tmp_path, f"{names}\n{rows}", user_column="c100")
    assert message.startswith("no column 'c100' (--user_column); its columns are c0, c1") and len(message) < 700


def test_a_column_that_is_there_twice(tmp_path):
    message = "there are 2 columns 'user' (--user_column); legal is one"
    assert refused(tmp_path, "user,user,item\n1,2,3\n") == message
    columns = [pyarrow.array([1, 2])] * 3
    pyarrow.parquet.write_table(pyarrow.table(columns, ["user", "item", "user"]), tmp_path / "twice.parquet")
    assert refused(tmp_path, (tmp_path / "twice.parquet").read_bytes(), "log.parquet") == message


EMPTIED = {
    "no user": ({}, "user,item,q,t\n,a,1,1\n,b,1,2\n", "'anonymous user' (2 rows)"),
    "no item": ({}, "user,item,q,t\n1,,1,1\n", "'no item' (1 rows)"),
    "no value": ({}, "user,item,q,t\n1,a,,1\n", "'no value' (1 rows)"),
    "listed": ({"anonymous_ids": ("1",)}, "user,item,q,t\n1,a,1,1\n", "'anonymous user' (1 rows)"),
    "no product": ({"drop_items": "a|b"}, "user,item,q,t\n1,a,1,1\n1,B,1,1\n", "'no product, but like a|b' (2 rows)"),
    "returned": (
        {"returns": "match"},
        "user,item,q,t\n1,a,2,1\n1,a,-2,2\n",
        "'return of an earlier purchase' (1 rows)",
    ),
    "small": ({"min_value": 2.0}, "user,item,q,t\n1,a,1,1\n", "'value below 2' (1 rows)"),
    "sparse": (
        {"item_core": 2},
        "user,item,q,t\n1,a,1,1\n1,b,1,1\n",
        "'outside the core of 0 rows a user and 2 an item' (2 rows)",
    ),
}


@pytest.mark.parametrize("case", EMPTIED)
def test_nothing_is_left(tmp_path, case):
    fields, text, rule = EMPTIED[case]
    message = refused(tmp_path, text, **COLUMNS, **fields)
    assert message == f"no row is left after cleaning; most fell to the rule {rule}"


def test_a_user_kept_without_an_id_needs_a_time(tmp_path):
    text = "user,item,q,t\n1,a,1,5\n,b,1,\n"
    assert rows_of(read(tmp_path, text, **COLUMNS)) == [(1, "a", 1)]
    message = "line 3, column 't': empty is neither a number nor a date"
    assert refused(tmp_path, text, **COLUMNS, anonymous="keep") == message
    text = text.replace(",b,1,", ",b,1,6")
    assert rows_of(read(tmp_path, text, **COLUMNS, anonymous="keep")) == [(1, "a", 1), (-1, "b", 1)]


@pytest.mark.parametrize("pattern", ["a(", "*", "[z-a]", "a{99999999999999999999}", "(" * 5000 + ")" * 5000])
def test_a_pattern_that_does_not_compile(pattern):
    with pytest.raises(InputError, match=r"flag --drop_items: .* is no regular expression: ") as error:
        DataConfig(drop_items=pattern)
    assert "\n" not in str(error.value)


def test_cells_of_a_parquet_file_that_are_neither_text_nor_numbers(tmp_path):
    ids = pd.Series(["a", "b", None]).astype("category")
    pd.DataFrame({"user": ids, "item": [True, False, True], "q": [1, 2, 3]}).to_parquet(tmp_path / "made.parquet")
    dataset = read(tmp_path, (tmp_path / "made.parquet").read_bytes(), "log.parquet", value_column="q")
    assert rows_of(dataset) == [("a", "True", 1), ("b", "False", 2)]


def big(tmp_path, kind):
    """Settings of a log that needs more than the machine has, by what of it does."""
    frame = pd.DataFrame({"user": np.arange(300) % 100, "item": np.arange(300), "t": np.arange(300)})
    frame.to_csv(tmp_path / "log.csv", index=False)
    frame.sample(frac=1, random_state=0).to_parquet(tmp_path / "log.parquet", row_group_size=100)
    np.save(tmp_path / "vectors.npy", np.ones((300, 90), np.float32))
    return {
        "rows": {"dataset": str(tmp_path / "log.csv")},
        "columns": {"dataset": str(tmp_path / "log.parquet")},
        "ids": {"dataset": str(tmp_path / "log.parquet"), "stream": True, "split": "time"},
        "vectors": {
            "dataset": str(tmp_path / "log.csv"),
            "items_path": str(tmp_path / "log.csv"),
            "item_vectors": str(tmp_path / "vectors.npy"),
        },
    }[kind]


@pytest.mark.parametrize(
    ("kind", "have", "message"),
    [
        ("rows", 2**11, r"log.csv: its rows, from the first to those of log.csv, need .* GiB and this .*--stream$"),
        (
            "columns",
            2**11,
            r"log.parquet: columns user, item need .* GiB and this machine has .*; legal are fewer rows",
        ),
        ("ids", 2**12, r"^[0-9]+ different ids need .* GiB and this machine has .*; legal are fewer users and items"),
        (
            "vectors",
            2**16,
            r"--item_vectors=.*vectors.npy: its numbers need .* legal are fewer or shorter vectors",
        ),
    ],
)
def test_memory_is_asked_before_it_is_taken(tmp_path, monkeypatch, kind, have, message):
    fields = {"split": "random", **big(tmp_path, kind)}
    load(DataConfig(**fields), (), kind == "vectors")
    monkeypatch.setattr(memory, "machine", lambda: have)
    with pytest.raises(InputError, match=message):
        load(DataConfig(**fields), (), kind == "vectors")
