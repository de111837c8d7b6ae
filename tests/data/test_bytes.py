"""Files of any bytes: a table that is right, or one line that says what is wrong with the file."""

import csv
import gzip
import io
import json
import unicodedata

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ancf_jax.data.dataset import cleaning, load
from ancf_jax.data.read.sources import read
from ancf_jax.settings import DataConfig
from ancf_jax.types import InputError

COLUMNS = ("user", "item", "q", "t")
FLAGS = {"value_column": "q", "time_column": "t", "split": "random"}


def parquet(rows: list[tuple]) -> bytes:
    stream = io.BytesIO()
    columns = zip(*rows, strict=True) if rows else [[]] * 4
    table = pyarrow.table([pyarrow.array(column, pyarrow.string()) for column in columns], COLUMNS)
    pyarrow.parquet.write_table(table, stream)
    return stream.getvalue()


def separated(rows: list[tuple], sign: str) -> bytes:
    return "".join(sign.join(row) + "\n" for row in [COLUMNS, *rows]).encode()


def quoted(rows: list[tuple]) -> bytes:
    stream = io.StringIO()
    csv.writer(stream).writerows([COLUMNS, *rows])
    return stream.getvalue().encode()


def all_quoted(rows: list[tuple]) -> bytes:
    stream = io.StringIO()
    csv.writer(stream, quoting=csv.QUOTE_ALL, delimiter=";").writerows([COLUMNS, *rows])
    return stream.getvalue().encode("utf-16")


WRITERS = {
    "log.csv": quoted,
    "all.csv": all_quoted,
    "log.tsv": lambda rows: separated(rows, "\t"),
    "log.dat": lambda rows: separated(rows, "::"),
    "log.jsonl": lambda rows: "".join(json.dumps(dict(zip(COLUMNS, row, strict=True))) + "\n" for row in rows).encode(),
    "log.parquet": parquet,
    "log.csv.gz": lambda rows: gzip.compress(quoted(rows), mtime=0),
}
ROWS = [("u1", "007", "2", "2020-01-01"), ("u2", 'a"b', "-1.5", "2020-01-03"), ("", "x", "3", "2020-01-02")]
damage = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3), st.binary(max_size=3)), max_size=3)


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=30, deadline=None)
@given(changes=damage)
@example(changes=[(0, 400, b"")])
@example(changes=[(30, 1, b"\xff")])  # in Parquet, a text that is no UTF-8
def test_damaged_files_are_read_or_refused_in_one_line(tmp_path_factory, name, changes):
    raw = WRITERS[name](ROWS)
    for place, length, new in changes:
        place %= len(raw) + 1
        raw = raw[:place] + new + raw[place + length :]
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(raw)
    config = DataConfig(dataset=str(path), **FLAGS, na_values=("-",), where="item!=y")
    try:
        source, dataset = read(config), load(config)
    except InputError as error:
        assert "\n" not in str(error) and (str(path) in str(error) or "no row is left" in str(error))
        return
    done = cleaning(dataset)
    assert done["read"] == done["kept"] + sum(done["removed"].values())
    assert done["read"] == len(source.frame) + sum(rule.rows for rule in source.removed)


def cells(forbidden: str):
    """Texts that a format can hold: no controls, and none of the signs that divide it."""
    return st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters=forbidden), max_size=6)


ids = st.one_of(
    cells('\t:"\\'), st.sampled_from(["7", "07", "-0", "NA", "nan", " 7", "1E3", str(2**63)]), st.integers().map(str)
)
tables = st.lists(
    st.tuples(ids, ids, st.integers(-99, 99).map(str), st.integers(0, 10**9).map(str)), min_size=1, max_size=6
)


def expected(column: list[str]) -> list:
    """Ids as they should be, in plain Python."""
    words = [unicodedata.normalize("NFC", word.strip()) for word in column]
    whole = all(word.lstrip("-").isascii() and word.lstrip("-").isdecimal() for word in words if word)
    if whole and all(str(int(word)) == word and -(2**63) <= int(word) < 2**63 for word in words if word):
        return [int(word) if word else None for word in words]
    return [word or None for word in words]


@settings(max_examples=20, deadline=None)
@given(rows=tables)
def test_the_same_log_is_the_same_data_in_every_format(tmp_path_factory, rows):
    prints = set()
    for name, write in WRITERS.items():
        path = tmp_path_factory.getbasetemp() / name
        path.write_bytes(write(rows))
        config = DataConfig(dataset=str(path), **FLAGS)
        frame = read(config).frame
        for column, name in enumerate(("user", "item")):
            found = [None if missing else cell for cell, missing in zip(frame[name], frame[name].isna(), strict=True)]
            assert found == expected([row[column] for row in rows])
        assert frame["value"].tolist() == [float(row[2]) for row in rows]
        if write not in (quoted, parquet):
            continue
        try:
            prints.add(load(config).fingerprint)
        except InputError as error:
            prints.add(str(error))
    assert len(prints) == 1


@pytest.mark.parametrize(("place", "column"), [(30, "user"), (98, "item"), (254, "t")])
def test_a_parquet_text_that_is_no_utf8_names_its_column(tmp_path, place, column):
    raw = parquet(ROWS)
    (tmp_path / "log.parquet").write_bytes(raw[:place] + b"\xff" + raw[place + 1 :])
    with pytest.raises(InputError, match=f"log.parquet: column '{column}' is damaged: .*Invalid UTF8"):
        load(DataConfig(dataset=str(tmp_path / "log.parquet"), **FLAGS))
