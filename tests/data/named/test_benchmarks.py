import gzip
import re
from pathlib import Path

import numpy as np
import pytest

from ancf_jax.data.dataset import load
from ancf_jax.data.named import downloads
from ancf_jax.data.named.benchmarks import NAMED
from ancf_jax.data.read.sources import read
from ancf_jax.settings import DATASETS, DataConfig
from ancf_jax.types import InputError


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def rows_of(frame) -> list[tuple]:
    return list(frame.itertuples(index=False, name=None))


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


def test_beauty(tmp_path):
    write(tmp_path / "beauty" / "Beauty.txt.gz", gzip.compress(b"1 5 3 7\n2 3 4 5\n"))
    config = DataConfig(dataset="beauty", data_dir=str(tmp_path))
    source = read(config)
    assert rows_of(source.frame)[:4] == [(1, 5, 1, 0), (1, 3, 1, 1), (1, 7, 1, 2), (2, 3, 1, 3)]
    assert source.unit == "rows" and not source.timed and source.items is None and source.titles is None
    write(tmp_path / "beauty" / "Beauty_item2attributes.json", '{"5": [1, 2], "3": [2], "4": []}')
    dataset = load(config, features=True)
    assert dataset.split == "leave-one-out" and dataset.item_ids[dataset.test.items].tolist() == [7, 5]
    found = dataset.features.vectors.toarray() > 0
    np.testing.assert_array_equal(found, [[0, 1], [0, 0], [1, 1], [0, 0]])  # of 3, 4, 5 and 7
    write(tmp_path / "beauty" / "Beauty_item2attributes.json", "{5")
    with pytest.raises(InputError, match=r"attributes\.json: cannot be read as a table"):
        read(config)


def test_every_name_is_known_wherever_it_is_written():
    assert tuple(NAMED) == DATASETS
    assert set(NAMED) == set(downloads.FILES) == set(downloads.ROUTES) and set(NAMED) >= set(downloads.EXTRAS)
    root = Path(__file__).parents[3]
    texts = {path: path.read_text() for path in [*root.glob("*.md"), *root.glob("experiments/**/*.flags")]}
    texts |= {path: path.read_text() for path in [root / "Makefile", *root.glob("experiments/*.py")]}
    written = {(path.name, name) for path, text in texts.items() for name in re.findall(r"--dataset=([\w./-]+)", text)}
    assert len(written) > 20
    names = {(path, name) for path, name in written if not re.search(r"[./]|NAME", name)}
    listed = texts[root / "README.md"].partition("Named data sets: ")[2].split(". ")[0].split(";")[0]
    names |= {("README.md", name) for name in re.findall(r"`([\w-]+)`", listed) if not name.startswith("-")}
    assert not [pair for pair in names if pair[1] not in NAMED]
