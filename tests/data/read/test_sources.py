import datetime
import gzip

import numpy as np
import pandas as pd
import pytest
from pandas.api import types as dtypes

from ancf_jax.data.read.sources import read
from ancf_jax.settings import DataConfig
from ancf_jax.types import InputError

LOG = "user,item,stars,when\n3,a,4.5,100\n1,b,2,90\n3,c,1,100\n"


def config(path, **fields) -> DataConfig:
    return DataConfig(dataset=str(path), **fields)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows_of(frame) -> list[tuple]:
    return list(frame.itertuples(index=False, name=None))


EXPECTED = [(3, "a", 4.5, 100), (1, "b", 2.0, 90), (3, "c", 1.0, 100)]
TEXTS = {
    "log.csv": LOG.encode(),
    "log.tsv": LOG.replace(",", "\t").encode(),
    "tabs.dat": LOG.replace(",", "\t").encode(),
    "colons.dat": LOG.replace(",", "::").encode(),
    "commas.txt": LOG.encode(),
    "semicolons.txt": LOG.replace(",", ";").encode(),
    "log.csv.gz": gzip.compress(LOG.encode(), mtime=0),
    "mark.csv": b"\xef\xbb\xbf" + LOG.encode(),
    "windows.csv": LOG.replace("\n", "\r\n").encode(),
    "wide.csv": LOG.replace("\n", ",caf\xe9\n").encode("latin-1"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_files(tmp_path, name):
    source = read(config(write(tmp_path / name, TEXTS[name]), value_column="stars", time_column="when"))
    assert source.name == name
    assert rows_of(source.frame) == EXPECTED
    assert dtypes.is_integer_dtype(source.frame["user"]) and source.frame["time"].dtype == np.int64


@pytest.mark.parametrize("suffix", [".parquet", ".parquet.gz"])
def test_parquet(tmp_path, suffix):
    pd.DataFrame(EXPECTED, columns=["user", "item", "stars", "when"]).to_parquet(tmp_path / "plain.parquet")
    raw = (tmp_path / "plain.parquet").read_bytes()
    path = write(tmp_path / f"log{suffix}", gzip.compress(raw) if suffix.endswith(".gz") else raw)
    assert rows_of(read(config(path, value_column="stars", time_column="when")).frame) == EXPECTED


def test_without_value_and_time_every_row_counts_one_in_file_order(tmp_path):
    frame = read(config(write(tmp_path / "log.csv", LOG))).frame
    assert frame["value"].tolist() == [1.0] * 3 and frame["time"].tolist() == [0, 1, 2]


def test_integer_ids_stay_exact_beside_missing_ones(tmp_path):
    big = 2**62 + 1
    frame = read(config(write(tmp_path / "log.csv", f"user,item\n{big},1.0\n,2.0\n7,\n"))).frame
    assert frame["user"].isna().tolist() == [False, True, False] and frame["user"][0] == big
    assert frame["item"].isna().tolist() == [False, False, True] and frame["item"][0] == "1.0"


def test_ids_with_any_text_are_text(tmp_path):
    frame = read(config(write(tmp_path / "log.csv", "user,item\n1,22423\n2,85123A\n"))).frame
    assert frame["item"].tolist() == ["22423", "85123A"]


SECONDS = [1291191960, 1291192080]


@pytest.mark.parametrize(
    "times",
    [
        ["1291191960", "1291192080"],
        ["1291191960.0", "1291192080.00"],
        ["2010-12-01 08:26:00", "2010-12-01T08:28"],
        ["2010-12-01T09:26+01:00", "2010-12-01T08:28Z"],
        ["2010/12/1 8:26", "2010/12/1 8:28"],
        ["1 December 2010 8:26", "1 December 2010 8:28"],
    ],
)
def test_times_in_text(tmp_path, times):
    text = "user,item,when\n" + "".join(f"1,{n},{time}\n" for n, time in enumerate(times))
    frame = read(config(write(tmp_path / "log.csv", text), time_column="when")).frame
    assert frame["time"].tolist() == SECONDS and frame["time"].dtype == np.int64


@pytest.mark.parametrize("zone", [None, "Asia/Tokyo"])
@pytest.mark.parametrize("unit", ["s", "ns"])
def test_times_in_parquet(tmp_path, zone, unit):
    times = pd.to_datetime(pd.Series(SECONDS), unit="s", utc=True).dt.tz_convert(zone).dt.as_unit(unit)
    pd.DataFrame({"user": [1, 1], "item": [1, 2], "when": times}).to_parquet(tmp_path / "log.parquet")
    assert read(config(tmp_path / "log.parquet", time_column="when")).frame["time"].tolist() == SECONDS


def test_days_in_parquet(tmp_path):
    days = [datetime.date(1970, 1, 2), datetime.date(1970, 1, 1)]
    pd.DataFrame({"user": [1, 1], "item": [1, 2], "when": days}).to_parquet(tmp_path / "log.parquet")
    assert read(config(tmp_path / "log.parquet", time_column="when")).frame["time"].tolist() == [86400, 0]


def test_nanosecond_numbers_stay_exact(tmp_path):
    times = [1291191960000000001, 1291191960000000000]
    text = "user,item,when\n" + "".join(f"1,{n},{time}\n" for n, time in enumerate(times))
    frame = read(config(write(tmp_path / "log.csv", text), time_column="when")).frame
    assert frame["time"].tolist() == times


def test_cells_of_rows_without_ids_may_hold_anything(tmp_path):
    text = "user,item,stars,when\n1,1,2,100\n,1,bad,never\n,,,\n"
    frame = read(config(write(tmp_path / "log.csv", text), value_column="stars", time_column="when")).frame
    assert frame["user"].isna().tolist() == [False, True, True] and frame["time"][0] == 100


def test_empty_values_are_missing(tmp_path):
    frame = read(config(write(tmp_path / "log.csv", "user,item,stars\n1,1,\n1,2,3\n"), value_column="stars")).frame
    assert frame["value"].isna().tolist() == [True, False]


BAD = [
    ("log.csv", "1,2,3,4\n1,3,four,5\n", "value_column", "line 3, column 'stars': 'four' is not a number"),
    ("log.csv", "1,2,3,4\n\n1,3,inf,5\n", "value_column", "line 4, column 'stars': 'inf' is not a number"),
    ("log.csv", '1,"a\nb",3,4\n1,3,x,5\n', "value_column", "line 4, column 'stars': 'x' is not a number"),
    (
        "log.csv",
        "1,2,3,40\n1,3,4,soon\n",
        "time_column",
        "line 3, column 'when': 'soon' is neither a number nor a date, as the others are",
    ),
    ("log.csv", "1,2,3,40\n1,3,4,\n", "time_column", "line 3, column 'when': empty is neither a number nor a date"),
    (
        "log.csv",
        "1,2,3,12/31/2010\n1,3,4,12/30/2010\n1,4,4,31/12/2010\n",
        "time_column",
        "line 4, column 'when': '31/12/2010' is neither",
    ),
]


@pytest.mark.parametrize(("name", "rows", "flag", "message"), BAD)
def test_bad_cells_are_named(tmp_path, name, rows, flag, message):
    path = write(tmp_path / name, "user,item,stars,when\n" + rows)
    column = {"value_column": "stars", "time_column": "when"}[flag]
    with pytest.raises(InputError) as error:
        read(config(path, **{flag: column}))
    assert str(error.value).startswith(f"{path}: {message}") and "\n" not in str(error.value)


def test_bad_cells_in_parquet_are_named_by_row(tmp_path):
    path = tmp_path / "log.parquet"
    pd.DataFrame({"user": [1, 2], "item": [1, 2], "stars": ["1", "bad"]}).to_parquet(path)
    with pytest.raises(InputError, match="row 2, column 'stars': 'bad' is not a number"):
        read(config(path, value_column="stars"))


def test_a_missing_column_names_the_flag_and_what_there_is(tmp_path):
    path = write(tmp_path / "log.csv", "User_ID,sku,stars\n1,2,3\n")
    with pytest.raises(InputError) as error:
        read(config(path, item_column="sku"))
    expected = f"{path}: no column 'user' (--user_column); its columns are User_ID, sku, stars; did you mean User_ID?"
    assert str(error.value) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "the file is empty"),
        ("blank.csv", b" \n\n", "the file is empty"),
        ("header.csv", b"user,item\n", "no rows below the header"),
        ("log.xlsx", b"PK", "the name must end in .csv, .tsv, .dat, .txt, .jsonl, .ndjson, .parquet"),
        ("damaged.csv.gz", gzip.compress(LOG.encode(), mtime=0)[:-9], "cannot be read"),
        ("text.csv.gz", LOG.encode(), "cannot be read"),
        ("text.parquet", LOG.encode(), "cannot be read"),
        ("quote.csv", b'user,item\n1,2\n1,"3\n', "line 3: a quote is opened that nothing closes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unreadable_files(tmp_path, name, content, message):
    path = write(tmp_path / name, content)
    with pytest.raises(InputError) as error:
        read(config(path))
    assert message in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_missing_file_and_an_unknown_name(tmp_path):
    with pytest.raises(InputError, match=r"gone\.csv: no such file or folder"):
        read(config(tmp_path / "gone.csv"))
    with pytest.raises(InputError, match=r"neither a file nor one of ml-100k, ml-1m, .*; did you mean ml-1m"):
        read(DataConfig(dataset="ml-1M"))


def test_item_table(tmp_path):
    log = write(tmp_path / "log.csv", LOG)
    items = write(tmp_path / "items.tsv", "item\tname\tprice\na\tAnvil \t3\nb\t\t1\na\tAnother\t2\n")
    titles = read(config(log, items_path=str(items), title_column="name")).titles
    assert titles.to_dict() == {"a": "Anvil"}
    assert read(config(log, items_path=str(items))).titles is None  # there is no column of that name, and none is asked
    with pytest.raises(InputError, match=r"no column 'title' \(--title_column\)"):
        read(config(log, items_path=str(items), title_column="title"))
    with pytest.raises(InputError, match=r"no column 'sku' \(--items_id_column\)"):
        read(config(log, items_path=str(items), items_id_column="sku"))
    other = write(tmp_path / "other.csv", "sku,item,title\na,9,Anvil\n")
    assert read(config(log, items_path=str(other), items_id_column="sku")).titles.to_dict() == {"a": "Anvil"}
    assert read(config(log, items_path=str(other), items_id_column="sku", title_column="")).titles is None
    with pytest.raises(InputError, match=r"--items_path=.*no such file"):
        read(config(log, items_path=str(tmp_path / "gone.tsv")))
