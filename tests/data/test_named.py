import gzip

import numpy as np
import pytest

from ancf_jax.config import DataConfig
from ancf_jax.data import downloads
from ancf_jax.data.dataset import load, ranked
from ancf_jax.data.sources import read
from ancf_jax.types import InputError


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def rows_of(frame) -> list[tuple]:
    return list(frame.itertuples(index=False, name=None))


def test_movielens_100k(tmp_path):
    write(tmp_path / "ml-100k" / "u.data", "196\t242\t3\t881250949\n186\t302\t3\t891717742\n")
    write(tmp_path / "ml-100k" / "u.item", '242|"Kolya" (1996)|24|\n302|Caf\xe9 (1997) |x|\n'.encode("latin-1"))
    source = read(DataConfig(dataset="ml-100k", data_dir=str(tmp_path)))
    assert rows_of(source.frame) == [(196, 242, 3.0, 881250949), (186, 302, 3.0, 891717742)]
    assert source.titles.str.strip().to_dict() == {242: '"Kolya" (1996)', 302: "Caf\xe9 (1997)"}
    assert source.test is None and source.negatives is None
    assert source.items.text == ("title",) and source.items.categories == ()  # a file cut down to titles


def test_genres_of_movielens_100k(tmp_path):
    flags = ["0|0|0|1|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0", "1" + "|0" * 18]
    films = [f"{n}|Film {n} (1995)|01-Jan-1995||http://x|{row}\n" for n, row in enumerate(flags)]
    write(tmp_path / "ml-100k" / "u.data", "1\t0\t3\t4\n")
    write(tmp_path / "ml-100k" / "u.item", "".join(films))
    items = read(DataConfig(dataset="ml-100k", data_dir=str(tmp_path))).items
    assert items.frame["genres"].tolist() == ["Animation|Children's|Comedy", "unknown"]
    assert items.categories == ("genres",)


def test_movielens_1m_in_the_environments_folder(tmp_path, monkeypatch):
    write(tmp_path / "ml-1m" / "ratings.dat", "1::1193::5::978300760\n6040::1::2.5::978302109\n")
    write(
        tmp_path / "ml-1m" / "movies.dat",
        "1::Toy Story (1995)::Animation|Comedy\n1193::Caf\xe9: 1::Drama\n".encode("latin-1"),
    )
    monkeypatch.setenv("ANCF_DATA_DIR", str(tmp_path))
    source = read(DataConfig(dataset="ml-1m", data_dir=str(tmp_path / "elsewhere")))
    assert rows_of(source.frame) == [(1, 1193, 5.0, 978300760), (6040, 1, 2.5, 978302109)]
    assert source.titles.to_dict() == {1: "Toy Story (1995)", 1193: "Caf\xe9: 1"}
    assert source.items.frame["genres"].tolist() == ["Animation|Comedy", "Drama"]


@pytest.mark.parametrize("folder", ["ncf", "ncf-ml-1m"])
def test_ncf_files(tmp_path, ncf_files, folder):
    for name, text in ncf_files.items():
        write(tmp_path / folder / name, text)
    source = read(DataConfig(dataset="ncf-ml-1m", data_dir=str(tmp_path)))
    assert len(source.frame) == 60 and rows_of(source.test)[2] == (2, 229, 4.0, 9000)
    assert source.negatives.shape == (3, 99) and source.titles is None
    lines = ncf_files["ml-1m.test.negative"].splitlines()
    assert source.negatives.tolist() == [[int(item) for item in line.split("\t")[1:]] for line in lines]


def spoil_pair(text: str) -> str:
    return text.replace("(1,226)", "(1,227)")


def drop_negative(text: str) -> str:
    return "\n".join(line.rsplit("\t", 1)[0] for line in text.splitlines())


def drop_line(text: str) -> str:
    return text.split("\n", 1)[1]


@pytest.mark.parametrize("spoil", [spoil_pair, drop_negative, drop_line, lambda text: text.replace("\t", "\tx", 1)])
def test_ncf_negatives_that_do_not_fit_are_refused(ncf_dir, spoil):
    path = ncf_dir / "ncf" / "ml-1m.test.negative"
    path.write_text(spoil(path.read_text()))
    with pytest.raises(InputError, match=r"ml-1m\.test\.negative: "):
        read(DataConfig(dataset="ncf-ml-1m", data_dir=str(ncf_dir)))


def test_a_damaged_named_file_is_refused(tmp_path):
    write(tmp_path / "ml-100k" / "u.data", "user\titem\trating\ttime\n1\t2\t3\t4\n")
    write(tmp_path / "ml-100k" / "u.item", "2|Two|\n")
    with pytest.raises(InputError, match=r"u\.data: cannot be read as a table"):
        read(DataConfig(dataset="ml-100k", data_dir=str(tmp_path)))


def test_an_incomplete_folder_is_passed_over_for_the_cache(tmp_path, monkeypatch):
    write(tmp_path / "ml-100k" / "u.data", "1\t2\t3\t4\n")

    def fetch(name, folder):
        write(folder / "u.data", "5\t6\t1\t8\n")
        write(folder / "u.item", "6|Six|\n")

    monkeypatch.setattr(downloads, "fetch", fetch)
    named = DataConfig(dataset="ml-100k", data_dir=str(tmp_path))
    assert rows_of(read(named).frame) == [(5, 6, 1.0, 8)]
    monkeypatch.delattr(downloads, "fetch")  # the second time it is there
    assert rows_of(read(named).frame) == [(5, 6, 1.0, 8)]


def test_lines_of_items(tmp_path):
    write(tmp_path / "gowalla" / "train.txt", "0 5 3 \r\n2\n\n1 3 4\t7")  # user 2 has no items
    write(tmp_path / "gowalla" / "test.txt", "1 5\n0 \n")
    source = read(DataConfig(dataset="gowalla", data_dir=str(tmp_path)))
    assert rows_of(source.frame) == [(0, 5, 1, 0), (0, 3, 1, 1), (1, 3, 1, 2), (1, 4, 1, 3), (1, 7, 1, 4)]
    assert rows_of(source.test) == [(1, 5, 1, 5)]
    assert source.name == "gowalla" and source.negatives is None and source.titles is None


@pytest.mark.parametrize("word", ["x7", "7.0", "-7", "1,2", "9" * 19])
def test_a_bad_line_of_items_is_named(tmp_path, word):
    write(tmp_path / "yelp2018" / "train.txt", f"0 5 3\n\n1 {word} 4\n")
    write(tmp_path / "yelp2018" / "test.txt", "1 5\n")
    with pytest.raises(InputError, match=rf"train\.txt: line 3: '.*{word[-2:]}' is no id"):
        read(DataConfig(dataset="yelp2018", data_dir=str(tmp_path)))


def test_lines_of_items_may_be_none(tmp_path):
    write(tmp_path / "amazon-book" / "train.txt", "0 5\n")
    write(tmp_path / "amazon-book" / "test.txt", " \n")
    assert read(DataConfig(dataset="amazon-book", data_dir=str(tmp_path))).test.empty


RETAIL = """InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
1,85123A,RED MUG ,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom
1,POST,POSTAGE,1,2010-12-01 08:26:00,2.55,17850.0,United Kingdom
2,85123A,MUG,3,2010-12-01 08:28:00,2.55,,United Kingdom
3,85123A,"MUG, RED",2,2010-12-02 08:26:00,2.55,13047.0,France
3,85123A,RED MUG,2,2010-12-02 08:26:00,2.55,13047.0,France
C4,85123A,broken,-2,2010-12-03 08:26:00,2.55,13047.0,France
5,85123A,broken,-2,2010-12-03 08:26:00,2.55,,France
6,22423,broken,-2,2010-12-03 08:26:00,2.55,,France
7,22423,,4,2010-12-04 08:26:00,0,13047.0,France
"""


def test_online_retail(tmp_path):
    write(tmp_path / "online-retail" / "online_retail.csv.gz", gzip.compress(RETAIL.encode()))
    config = DataConfig(dataset="online-retail", data_dir=str(tmp_path), split="cold-items", fractions=(0.6, 0.1, 0.3))
    source = read(config)
    assert rows_of(source.frame)[:2] == [(17850, "85123A", 6.0, 1291191960), (17850, "POST", 1.0, 1291191960)]
    assert source.frame["user"].isna().sum() == 3 and source.frame["value"].min() == -2
    assert source.titles.to_dict() == {"85123A": "RED MUG", "POST": "POSTAGE"}  # as sold, most often
    dataset = load(config, features=True)
    expected = [("no user or item", 3), ("value below 1", 1), ("repeated user and item", 1)]
    assert [tuple(rule) for rule in dataset.removed] == expected
    assert dataset.titles == ["22423", "RED MUG", "POSTAGE"] and dataset.features.missing == 1
    assert len(dataset.test.users) == (dataset.item_ids[dataset.test.items[0]] == "85123A") + 1
    np.testing.assert_array_equal(ranked(dataset, dataset.test), [dataset.test.items[0]])
    assert ranked(dataset._replace(split="random"), dataset.test) is None


def test_online_retail_is_put_there_by_hand(tmp_path):
    with pytest.raises(InputError, match=r"put online_retail\.csv\.gz \(the sheet of https://archive.*/online-retail"):
        read(DataConfig(dataset="online-retail", data_dir=str(tmp_path)))


def test_online_retail_with_a_column_too_few(tmp_path):
    table = RETAIL.replace("Quantity", "Number")
    write(tmp_path / "online-retail" / "online_retail.csv.gz", gzip.compress(table.encode()))
    with pytest.raises(InputError, match=r"online_retail\.csv\.gz: cannot be read as a table: .*Quantity"):
        read(DataConfig(dataset="online-retail", data_dir=str(tmp_path)))
