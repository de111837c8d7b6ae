import numpy as np
import pytest

from ancf_jax.data import dataset as dataset_module
from ancf_jax.data.dataset import cleaning, find_item, find_user, fold_validation, load
from ancf_jax.settings import DataConfig
from ancf_jax.types import InputError

PURCHASES = """user,item,value,time
bo,x,1,5
al,y,2,7
al,x,3,7
al,z,1,7
bo,y,4,1
bo,x,2,9
,x,1,1
cy,w,1,3
"""


@pytest.fixture
def purchases(tmp_path):
    path = tmp_path / "purchases.csv"
    path.write_text(PURCHASES)
    return {"dataset": str(path), "value_column": "value", "time_column": "time"}


@pytest.fixture
def ncf(ncf_dir):
    return DataConfig(dataset="ncf-ml-1m", data_dir=str(ncf_dir))


def rows_of(dataset, part):
    """Original user, item and value of every row."""
    users, items = dataset.user_ids[part.users].tolist(), dataset.item_ids[part.items].tolist()
    return list(zip(users, items, part.values.tolist(), strict=True))


def test_default_split_is_leave_one_out_with_stable_ties(purchases):
    dataset = load(DataConfig(**purchases))
    assert (dataset.name, dataset.split) == ("purchases.csv", "leave-one-out")
    assert dataset.user_ids.tolist() == ["al", "bo", "cy"] and dataset.item_ids.tolist() == ["w", "x", "y", "z"]
    assert rows_of(dataset, dataset.test) == [("al", "z", 1)]
    assert rows_of(dataset, dataset.valid) == [("al", "x", 3)]
    assert rows_of(dataset, dataset.train) == [("al", "y", 2), ("bo", "y", 4), ("bo", "x", 2), ("cy", "w", 1)]
    assert [tuple(rule) for rule in dataset.removed] == [("anonymous user", 1), ("repeated user and item", 1)]
    assert dataset.valid_candidates is None and dataset.test_candidates is None and dataset.titles is None


def test_order_is_the_place_in_the_whole_log(purchases):
    dataset = load(DataConfig(**purchases))
    order = np.concatenate([dataset.train.order, dataset.valid.order, dataset.test.order])
    assert sorted(order.tolist()) == list(range(6))
    assert dataset.train.order.tolist() == [2, 0, 5, 1]


def test_time_split_keeps_users_that_training_has_not_seen(purchases):
    dataset = load(DataConfig(**purchases, split="time", fractions=(0.5, 0.0, 0.5)))
    assert rows_of(dataset, dataset.train) == [("bo", "y", 4), ("bo", "x", 1), ("cy", "w", 1)]
    assert rows_of(dataset, dataset.test) == [("al", "y", 2), ("al", "x", 3), ("al", "z", 1)]
    assert len(dataset.user_ids) == 3 and len(dataset.item_ids) == 4


def test_random_split_follows_its_seed(purchases):
    seeds = [load(DataConfig(**purchases, split="random", split_seed=seed)) for seed in (0, 0, 1, 2, 3)]
    assert seeds[0].fingerprint == seeds[1].fingerprint
    assert len({dataset.fingerprint for dataset in seeds}) > 1
    assert sum(len(part.users) for part in (seeds[0].train, seeds[0].valid, seeds[0].test)) == 6


def test_fingerprint_sees_ids_and_values(purchases, tmp_path):
    found = {load(DataConfig(**purchases)).fingerprint}
    for old, new in (("cy,w", "cz,w"), ("al,x,3", "al,x,4"), ("al,y,2,7", "al,y,2,8")):
        (tmp_path / "purchases.csv").write_text(PURCHASES.replace(old, new))
        found.add(load(DataConfig(**purchases)).fingerprint)
    assert len(found) == 4 and all(len(fingerprint) == 16 for fingerprint in found)


def test_titles_follow_the_vocabulary_and_fall_back_to_the_id(purchases, tmp_path):
    (tmp_path / "items.csv").write_text("item,title\nz,Zither\nunsold,Nothing\nx, Xylophone \n")
    dataset = load(DataConfig(**purchases, items_path=str(tmp_path / "items.csv")))
    assert dataset.titles == ["w", "Xylophone", "y", "Zither"]


def test_titles_of_ids_that_are_numbers_here_and_text_there(tmp_path):
    (tmp_path / "log.csv").write_text("user,item\n1,10\n1,9\n")
    (tmp_path / "items.csv").write_text("item,title\nA1,Anvil\n9,Nine\n")
    dataset = load(DataConfig(dataset=str(tmp_path / "log.csv"), items_path=str(tmp_path / "items.csv")))
    assert dataset.item_ids.tolist() == [9, 10] and dataset.titles == ["Nine", "10"]


@pytest.mark.parametrize("split", ["leave-one-out", "random"])
def test_one_user_and_one_item(tmp_path, split):
    (tmp_path / "log.csv").write_text("user,item\n7,8\n")
    dataset = fold_validation(load(DataConfig(dataset=str(tmp_path / "log.csv"), split=split)))
    assert len(dataset.user_ids) == len(dataset.item_ids) == 1
    assert len(dataset.train.users) == 1 and dataset.train.offsets.tolist() == [0, 1]


def test_find_text_and_number_ids(purchases, tmp_path):
    dataset = load(DataConfig(**purchases))
    assert [find_user(dataset, text) for text in ("al", "cy", "zoe", "a", "")] == [0, 2, None, None, None]
    assert [find_item(dataset, text) for text in ("w", "z", "zz")] == [0, 3, None]
    (tmp_path / "log.csv").write_text("user,item\n30,8\n7,9\n")
    numbers = load(DataConfig(dataset=str(tmp_path / "log.csv")))
    assert [find_user(numbers, text) for text in ("7", "30", "8", "x", "7.5", "9" * 30)] == [
        0,
        1,
        None,
        None,
        None,
        None,
    ]


def test_ids_are_found_as_they_are_written(tmp_path):
    (tmp_path / "log.csv").write_text("user,item\n7,007\n8,7\n")
    dataset = load(DataConfig(dataset=str(tmp_path / "log.csv")))
    assert [find_item(dataset, text) for text in ("007", "7", "07")] == [0, 1, None]
    assert [find_user(dataset, text) for text in ("7", "007", "+7", "7.0", " 7")] == [0, None, None, None, None]


def test_the_fingerprint_of_text_is_that_of_strings_of_one_width(tmp_path, monkeypatch):
    ids = np.array(["a", "bcd", "é"], object)
    expected = dataset_module._fingerprint(ids.astype(str), np.arange(3))
    for block in (1, 12, 24, 2**26):
        monkeypatch.setattr(dataset_module, "BLOCK", block)
        assert dataset_module._fingerprint(ids, np.arange(3)) == expected
    assert dataset_module._fingerprint(np.array([], object)) != dataset_module._fingerprint(ids)


def test_what_reading_left_out_and_changed_is_counted_with_cleaning(tmp_path):
    (tmp_path / "log.csv").write_text("user,item,event\n1, a,buy\n1,a,see\n2,b,buy\n,b,buy\n")
    dataset = load(DataConfig(dataset=str(tmp_path / "log.csv"), where="event=buy"))
    done = cleaning(dataset)
    assert done["read"] == 4 and done["kept"] == 2
    assert done["removed"] == {"not --where=event=buy": 1, "anonymous user": 1}
    assert done["changed"] == {"white space around the item's id taken off": 1}


def test_what_was_inferred_is_kept(tmp_path):
    (tmp_path / "log.csv").write_text("user;item;t\n1;a;31.12.2024\n")
    dataset = load(DataConfig(dataset=str(tmp_path / "log.csv"), time_column="t"))
    assert list(dataset.inferred) == [
        "log.csv: columns are separated by semicolons",
        "column 't': dates written as %d.%m.%Y, without a zone, so taken as UTC",
    ]


def test_ncf_sizes_and_vocabulary(ncf, ncf_files):
    dataset = load(ncf)
    assert (dataset.name, dataset.split) == ("ncf-ml-1m", "ncf")
    assert [len(part.users) for part in (dataset.train, dataset.valid, dataset.test)] == [57, 3, 3]
    named = {int(item) for line in ncf_files["ml-1m.test.negative"].splitlines() for item in line.split("\t")[1:]}
    rated = {
        int(line.split("\t")[1])
        for file in ("train", "test")
        for line in ncf_files[f"ml-1m.{file}.rating"].splitlines()
    }
    assert dataset.item_ids.tolist() == sorted(named | rated)


def test_ncf_test_candidates_are_the_published_ones_with_their_quirks(ncf, ncf_files):
    dataset = load(ncf)
    lines = [line.split("\t") for line in ncf_files["ml-1m.test.negative"].splitlines()]
    published = [[int(item) for item in line[1:]] + [int(line[0].strip("()").split(",")[1])] for line in lines]
    assert dataset.item_ids[dataset.test_candidates].tolist() == published
    own_positive = (dataset.test_candidates[:, :99] == dataset.test_candidates[:, 99:]).sum(axis=1)
    assert own_positive.tolist() == [1, 0, 0]
    np.testing.assert_array_equal(dataset.test_candidates[:, 99], dataset.test.items)


def test_ncf_candidates_follow_their_row_when_the_file_is_not_sorted(ncf, ncf_dir):
    before = load(ncf)
    for name in ("ml-1m.test.rating", "ml-1m.test.negative"):
        path = ncf_dir / "ncf" / name
        path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    after = load(ncf)
    np.testing.assert_array_equal(after.test_candidates, before.test_candidates)
    np.testing.assert_array_equal(after.test.items, before.test.items)


def test_ncf_test_rows_are_never_in_train_and_cold_items_exist(ncf):
    dataset = load(ncf)
    seen = set(rows_of(dataset, dataset.train)) | set(rows_of(dataset, dataset.valid))
    assert not {row[:2] for row in rows_of(dataset, dataset.test)} & {row[:2] for row in seen}
    cold = find_item(dataset, "229")
    assert cold is not None and cold not in dataset.train.items and cold in dataset.test.items


def test_ncf_validation_is_the_last_row_of_a_tie_against_99_items_of_neither_part(ncf, ncf_files):
    dataset = load(ncf)
    train = [tuple(map(int, line.split("\t"))) for line in ncf_files["ml-1m.train.rating"].splitlines()]
    for user in range(3):
        own = sorted((row for row in train if row[0] == user), key=lambda row: row[3])
        assert dataset.item_ids[dataset.valid.items[user]] == own[-1][1]
        candidates = dataset.item_ids[dataset.valid_candidates[user]].tolist()
        assert candidates[99] == own[-1][1] and len(set(candidates)) == 100
        assert not {row[1] for row in own} & set(candidates[:99])


def test_ncf_validation_never_looks_at_the_test_part(ncf, ncf_dir):
    before = load(ncf)
    rating, negative = ncf_dir / "ncf" / "ml-1m.test.rating", ncf_dir / "ncf" / "ml-1m.test.negative"
    rating.write_text(rating.read_text().replace("0\t225\t", "0\t227\t"))
    negative.write_text(negative.read_text().replace("(0,225)", "(0,227)"))
    after = load(ncf)
    np.testing.assert_array_equal(after.item_ids, before.item_ids)
    assert after.test.items[0] != before.test.items[0]
    np.testing.assert_array_equal(after.valid_candidates, before.valid_candidates)


def test_ncf_files_under_another_split_are_one_log(ncf, ncf_dir):
    dataset = load(DataConfig(dataset="ncf-ml-1m", data_dir=str(ncf_dir), split="leave-one-out"))
    assert dataset.item_ids[dataset.test.items].tolist() == [225, 226, 229]
    assert dataset.test_candidates is None and len(dataset.train.users) == 57


def test_fold_validation_puts_it_back_in_time_order(ncf):
    dataset = load(ncf)
    folded = fold_validation(dataset)
    assert len(folded.train.users) == 60 and len(folded.valid.users) == 0 and folded.valid_candidates is None
    np.testing.assert_array_equal(folded.train.users, np.sort(folded.train.users))
    last = folded.train.offsets[1:] - 1
    np.testing.assert_array_equal(folded.train.items[last], dataset.valid.items)
    np.testing.assert_array_equal(folded.test_candidates, dataset.test_candidates)
    assert folded.fingerprint == dataset.fingerprint


@pytest.fixture
def lines(tmp_path):
    """A published split without candidates: 12, 2 and 1 training rows; user 9 has none, items 30 and 40 only test."""
    (tmp_path / "gowalla").mkdir()
    items = " ".join(str(item) for item in range(12))
    (tmp_path / "gowalla" / "train.txt").write_text(f"3 {items}\n5 2 1\n7 0\n")
    (tmp_path / "gowalla" / "test.txt").write_text("3 30 40\n9 1 30\n")
    return {"dataset": "gowalla", "data_dir": str(tmp_path)}


def test_a_published_test_part_without_candidates_stays_as_it_is(lines):
    dataset = load(DataConfig(**lines))
    assert (dataset.name, dataset.split) == ("gowalla", "published")
    assert dataset.user_ids.tolist() == [3, 5, 7, 9] and dataset.item_ids.tolist() == [*range(12), 30, 40]
    assert rows_of(dataset, dataset.test) == [(3, 30, 1), (3, 40, 1), (9, 1, 1), (9, 30, 1)]
    assert dataset.valid_candidates is None and dataset.test_candidates is None
    assert [np.diff(part.offsets).tolist() for part in dataset[5:7]] == [[11, 1, 1, 0], [1, 1, 0, 0]]
    folded = fold_validation(dataset)
    assert rows_of(folded, folded.train) == [(3, item, 1) for item in range(12)] + [(5, 2, 1), (5, 1, 1), (7, 0, 1)]


def test_the_validation_part_of_a_published_split_follows_its_seed(lines):
    seeds = [load(DataConfig(**lines, split_seed=seed)) for seed in (0, 0, 1, 2, 3)]
    assert seeds[0].fingerprint == seeds[1].fingerprint
    assert len({dataset.valid.items.tobytes() for dataset in seeds}) > 1
    assert len({dataset.test.items.tobytes() for dataset in seeds}) == 1


def test_a_published_split_under_another_split_is_one_log(lines):
    dataset = load(DataConfig(**lines, split="leave-one-out"))
    assert rows_of(dataset, dataset.test) == [(3, 40, 1)] and len(dataset.train.users) == 17


def test_bad_splits_are_refused(purchases):
    with pytest.raises(InputError, match="--split=ncf needs the published files"):
        load(DataConfig(**purchases, split="ncf"))
    with pytest.raises(InputError, match="--split=published needs the published files of --dataset=gowalla"):
        load(DataConfig(**purchases, split="published"))
    with pytest.raises(InputError, match="--split=half must be one of leave-one-out, random, "):
        load(DataConfig(**purchases, split="half"))
