"""Small inputs that were once read wrongly, each for a kind of fault, through `load` or `read`."""

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from ancf_jax.data.dataset import load
from ancf_jax.data.read.sources import read
from ancf_jax.settings import DataConfig
from ancf_jax.types import InputError


def config(tmp_path, content, name="log.csv", **fields) -> DataConfig:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return DataConfig(dataset=str(path), **fields)


def refused(tmp_path, content, name="log.csv", **fields) -> str:
    with pytest.raises(InputError) as error:
        read(config(tmp_path, content, name, **fields))
    message = str(error.value)
    assert "\n" not in message
    return message.replace(str(tmp_path / name), "FILE")


AS_WRITTEN = {
    "zeros": ("user,item\na,007\na,7\nb,07\nb,8\n", ["007", "07", "7", "8"]),
    "exponents": ("user,item\na,1E3\na,10E2\nb,22\nb,57\n", ["10E2", "1E3", "22", "57"]),
    "words of nothing": (
        "user,item\nu1,NA\nu1,None\nu1,null\nu2,nan\nu2,x\n",
        ["NA", "None", "nan", "null", "x"],
    ),
    "signs": ("user,item\na,+7\na,7\na,-0\na,0\n", ["+7", "-0", "0", "7"]),
    "beyond 64 bits": (f"user,item\na,{2**63}\na,7\n", ["7", str(2**63)]),
    "decimals": ("user,item\na,7.0\na,7\n", ["7", "7.0"]),
    "the ends of 64 bits": (f"user,item\na,{2**63 - 1}\na,{-(2**63)}\n", [-(2**63), 2**63 - 1]),
}


@pytest.mark.parametrize("case", AS_WRITTEN)
def test_ids_are_text_as_written(tmp_path, case):
    content, items = AS_WRITTEN[case]
    dataset = load(config(tmp_path, content))
    assert dataset.item_ids.tolist() == items
    assert len(dataset.train.users) + len(dataset.valid.users) + len(dataset.test.users) == content.count("\n") - 1


def parts_of(dataset) -> list[str]:
    return [dataset.item_ids[part.items].tolist() for part in (dataset.train, dataset.valid, dataset.test)]


IN_ORDER = {
    "milliseconds": (
        "user,t,item\n1,2014-04-07T10:51:09.277Z,B\n1,2014-04-07T10:51:09.100Z,A\n1,2014-04-07T10:51:09.500Z,C\n",
        "",
        "ms",
    ),
    "fractions": ("user,t,item\n1,0.9,C\n1,0.1,A\n1,0.5,B\n", "", "numbers"),
    "nanoseconds": (
        f"user,t,item\n1,{10**18 + 2},B\n1,{10**18 + 1},A\n1,{10**18 + 3},C\n",
        "",
        "numbers",
    ),
    "day first, as one row says": ("user,item,t\n1,B,01/12/2010\n1,C,13/12/2010\n1,A,05/11/2010\n", "", "s"),
    "day first, as a flag says": (
        "user,item,t\n1,B,01/12/2010\n1,A,05/11/2010\n1,C,02/12/2010\n",
        "%d/%m/%Y",
        "s",
    ),
}


@pytest.mark.parametrize("case", IN_ORDER)
def test_times_sort_rows_at_their_own_resolution(tmp_path, case):
    content, form, unit = IN_ORDER[case]
    flags = config(tmp_path, content, time_column="t", time_format=form)
    dataset = load(flags)
    order = np.argsort(np.concatenate([part.order for part in (dataset.train, dataset.valid, dataset.test)]))
    assert [parts_of(dataset)[place] for place in order] == [["A"], ["B"], ["C"]]
    assert read(flags).unit == unit


def test_dates_of_two_readings_are_refused_with_both(tmp_path):
    text = "user,item,t\n1,B,01/12/2010\n1,A,05/11/2010\n1,C,02/12/2010\n"
    message = refused(tmp_path, text, time_column="t")
    assert message == (
        "FILE: line 2, column 't': '01/12/2010' is a date in several formats; give --time_format=%d/%m/%Y or "
        "--time_format=%m/%d/%Y"
    )


def test_rows_of_other_lengths_are_refused_by_line(tmp_path):
    shifted = "user,title,item,q\n1,Foo,7,1\n1,Qux, 2,8,3\n2,Foo,7,1\n"
    assert refused(tmp_path, shifted, value_column="q") == "FILE: line 3 has 5 fields, the header 4"
    nameless = "user,item\n0,1,a\n1,1,b\n2,2,c\n"
    assert refused(tmp_path, nameless) == (
        "FILE: line 2 has 3 fields, the header 2; if every row begins with a number of its own, give that column a "
        "name in the header"
    )
    assert refused(tmp_path, "user,item,q\n\n1,2,3\n1,2\n") == "FILE: line 4 has 2 fields, the header 3"
    assert refused(tmp_path, 'user,item\n1,"a\nb"\n2,c,d\n') == "FILE: line 4 has 3 fields, the header 2"


def test_quotes_in_tabs_and_dat_are_characters(tmp_path):
    text = 'user\titem\tt\n1\t"Heroes\t1\n1\tLow\t2\n2\tLodger"\t3\n2\tBlackstar\t4\n'
    for name in ("log.tsv", "log.dat", "log.txt"):
        frame = read(config(tmp_path, text, name, time_column="t")).frame
        assert frame["item"].tolist() == ['"Heroes', "Low", 'Lodger"', "Blackstar"]
    (tmp_path / "titles.tsv").write_text('item\ttitle\n1\t"Heroes\n2\tLow\n3\tLodger"\n')
    flags = config(tmp_path, "user,item\n1,1\n1,2\n1,3\n", items_path=str(tmp_path / "titles.tsv"))
    assert load(flags).titles == ['"Heroes', "Low", 'Lodger"']


def test_a_file_without_a_header(tmp_path):
    text = "3,5,2.9\n3,2,2.7\n4,1,3.0\n"
    message = refused(tmp_path, text)
    assert message.startswith("FILE: no column 'user' (--user_column); its columns are 3, 5, 2.9; if that is data, ")
    assert message.endswith("name the columns by --header=user,item,...")
    source = read(config(tmp_path, text, header=("user", "item", "stars"), value_column="stars"))
    assert list(source.frame.itertuples(index=False, name=None)) == [(3, 5, 2.9, 0), (3, 2, 2.7, 1), (4, 1, 3.0, 2)]
    assert refused(tmp_path, text, header=("user", "item")) == (
        "FILE: line 1 has 3 columns, --header=user,item names 2"
    )
    headed = "user,item\n1,2\n"
    assert refused(tmp_path, headed, header=("user", "item")).endswith(
        "line 1 holds the names of --header; leave the flag out"
    )


def test_one_stray_byte_is_named_and_the_rest_stays_utf8(tmp_path):
    content = "user,item\n1,café\n1,naïve\n2,café\n2,caf".encode() + b"\xe9\n"
    assert refused(tmp_path, content).startswith("FILE: line 5: byte 0xe9 is no UTF-8; give --encoding=windows-1252")
    source = read(config(tmp_path, content, encoding="utf-8"))
    assert source.frame["item"].tolist() == ["café", "naïve", "café", "caf\ufffd"]
    assert source.changed == (("bytes that are no UTF-8, made U+FFFD", 1),)
    latin = "user,item\n1,café\n".encode("latin-1")
    assert read(config(tmp_path, latin, encoding="latin-1")).frame["item"].tolist() == ["café"]


def test_lists_as_items_are_refused_by_column(tmp_path):
    pyarrow.parquet.write_table(pyarrow.table({"user": [1, 1], "item": [["a", "b"], ["c"]]}), tmp_path / "made.parquet")
    message = refused(tmp_path, (tmp_path / "made.parquet").read_bytes(), "log.parquet")
    assert message.startswith("FILE: column 'item' holds cells of type list<element: string>; legal are texts")
