"""Files in and out: what is read of ids and rows, what is refused, and files that are whole or not there."""

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from ancf_jax.serving.tables import check_output, frame_of, ids_in, writing
from ancf_jax.settings import DataConfig
from ancf_jax.types import InputError


def test_ids_a_line(tmp_path):
    (tmp_path / "ids").write_text("\ufeff a \n\n007\r\nb,c\n")
    assert ids_in(str(tmp_path / "ids"), "users") == ["a", "007", "b,c"]
    (tmp_path / "none").write_text("\n \n")
    (tmp_path / "latin").write_bytes(b"caf\xe9\n")
    for name, why in (("gone", "No such file"), ("none", "holds no id"), ("latin", "no UTF-8"), (".", "directory")):
        with pytest.raises(InputError, match=f"flag --users: .*{why}"):
            ids_in(str(tmp_path / name), "users")


def test_rows_are_in_the_columns_of_the_log(tmp_path):
    (tmp_path / "rows.csv").write_text("who,what,n,day\na,x,2,2024-01-02\nb,,3,2024-01-01\n")
    config = DataConfig("old.csv", user_column="who", item_column="what", value_column="n", time_column="day")
    frame = frame_of(str(tmp_path / "rows.csv"), config)
    assert frame["value"].tolist() == [2, 3] and frame["item"].isna().tolist() == [False, True]
    assert frame["time"].is_monotonic_decreasing
    pairs = frame_of(str(tmp_path / "rows.csv"), DataConfig("old.csv", user_column="who", item_column="what"), "pairs")
    assert pairs["user"].tolist() == ["a", "b"]
    named = tmp_path / "export.csv"
    named.write_text("user,item,value,time\n196,242,5.0,881250949.5\n")
    assert frame_of(str(named), DataConfig("ml-100k"))["value"].tolist() == [5]
    with pytest.raises(InputError, match="user"):
        frame_of(str(tmp_path / "rows.csv"), DataConfig("ml-100k"))


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_a_file_is_whole_or_not_there(tmp_path, ending):
    path = check_output(str(tmp_path / f"lists{ending}"), "output")
    with writing(path) as write:
        for n in (1, 2):
            write(pa.table({"item": ["a,b", 'c"'], "rank": [n, n]}))
    read = pa.parquet.read_table if ending == ".parquet" else pa.csv.read_csv
    assert read(path).to_pydict() == {"item": ["a,b", 'c"'] * 2, "rank": [1, 1, 2, 2]}
    before = path.read_bytes()
    with pytest.raises(RuntimeError), writing(path) as write:
        write(pa.table({"item": [1]}))
        raise RuntimeError
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == [path.name]
    with pytest.raises(InputError, match=r"flag --output: .* is no \.parquet or \.csv file in a folder that exists"):
        check_output(str(tmp_path / "no" / f"lists{ending}"), "output")
