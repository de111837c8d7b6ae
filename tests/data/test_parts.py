"""How a log becomes parts: repeats, baskets, files of a split and negatives, on logs small enough to see through."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ancf_jax.data.clean import Removed
from ancf_jax.data.dataset import cleaning, load
from ancf_jax.settings import DataConfig
from ancf_jax.types import InputError

PARTS = ("train", "valid", "test")
AGAIN = "held out, but user and item of an earlier part"


@pytest.fixture
def log(tmp_path):
    """A function that writes a file and loads it."""

    def log(text, **fields):
        (tmp_path / "log.csv").write_text(text)
        columns = {name: name.partition("_")[0] for name in ("value_column", "time_column", "basket_column")}
        header = text.partition("\n")[0].split(",")
        given = {name: column for name, column in columns.items() if column in header}
        return load(DataConfig(**({"dataset": str(tmp_path / "log.csv")} | given | fields)))

    return log


def rows_of(dataset, values=False):
    """User and item of the rows of every part, and their values if asked for."""
    found = []
    for name in PARTS:
        part = getattr(dataset, name)
        columns = [dataset.user_ids[part.users].tolist(), dataset.item_ids[part.items].tolist()]
        columns += [part.values.tolist()] * values
        found.append(list(zip(*columns, strict=True)))
    return found


def words_of(dataset):
    """The rows of every part as words: ['1a 1b', '1c', '1d']."""
    return [" ".join(f"{user}{item}" for user, item in rows) for rows in rows_of(dataset)]


REPEATED = "user,item,value,time\n1,a,1,1\n1,b,2,2\n1,a,4,3\n1,c,8,4\n1,a,16,5\n1,c,32,6\n1,b,64,7\n"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        # Three items: the last two that were new are held out, and what came again after that is gone.
        ({}, [[(1, "a", 4)], [], []]),
        ({"split": "time", "fractions": (0.4, 0.3, 0.3)}, [[(1, "b", 2), (1, "a", 4)], [(1, "c", 8)], []]),
        ({"repeats": "keep"}, "1a 1b 1a 1c 1a|1c|1b"),
        ({"repeats": "keep", "split": "time", "fractions": (0.4, 0.3, 0.3)}, "1a 1b 1a|1c 1a|1c 1b"),
    ],
)
def test_a_log_is_split_before_repeats_are_merged(log, flags, expected):
    dataset = log(REPEATED, **flags)
    if isinstance(expected, str):
        assert words_of(dataset) == expected.split("|") and dataset.repeats
    elif flags:
        assert rows_of(dataset, True) == expected and not dataset.repeats
    assert cleaning(dataset)["read"] == 7


def test_leave_one_out_holds_out_the_last_that_are_new(log):
    dataset = log(REPEATED, duplicates="sum")
    assert rows_of(dataset, True) == [[(1, "a", 1)], [(1, "b", 2)], [(1, "c", 40)]]
    assert dataset.removed == [Removed(AGAIN, 3), Removed("repeated user and item, added to its latest", 1)]
    assert [part.order.tolist() for part in (dataset.train, dataset.valid, dataset.test)] == [[0], [1], [2]]
    assert dataset.times.tolist() == [1, 2, 6]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(*[st.integers(0, 3)] * 3, st.integers(-2, 3)), min_size=1, max_size=25),
    st.sampled_from(["leave-one-out", "random", "k-fold", "time", "cold-items"]),
    st.sampled_from([{"repeats": "keep"}, {"duplicates": "latest"}, {"duplicates": "sum"}]),
)
def test_rows_kept_and_removed_are_the_rows_read(tmp_path_factory, rows, split, flags):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_text("user,item,time,value\n" + "".join(f"{','.join(map(str, row))}\n" for row in rows))
    columns = {"value_column": "value", "time_column": "time"}
    try:
        dataset = load(DataConfig(dataset=str(path), split=split, **columns, **flags))
    except InputError as error:
        assert "no row is left" in str(error) or "too few for" in str(error)
        return
    assert cleaning(dataset)["read"] == len(rows)
    found = rows_of(dataset, True)
    assert min(row[2] for part in found for row in part) >= 0  # no return is trained on, unasked
    if "duplicates" in flags:
        pairs = [row[:2] for part in found for row in part]
        assert len(set(pairs)) == len(pairs)
    orders = np.sort(np.concatenate([getattr(dataset, name).order for name in PARTS]))
    np.testing.assert_array_equal(orders, np.arange(len(dataset.times)))
    assert (np.diff(dataset.times) >= 0).all()


def test_a_purchase_before_the_cut_stays_history(log):
    text = "user,item,time\n1,a,1\n2,a,1\n1,b,2\n2,b,3\n1,a,4\n2,c,5\n"
    dataset = log(text, split="time", fractions=(0.5, 0.2, 0.3))
    assert words_of(dataset) == ["1a 1b 2a", "2b", "2c"]
    assert dataset.removed == [Removed(AGAIN, 1)]


def test_splits_by_chance_deal_out_pairs(log):
    rows = "".join(f"{n % 7},{n % 5},{n}\n" for n in range(200))
    for split in ("random", "k-fold", "cold-items"):
        found = rows_of(log(f"user,item,time\n{rows}", split=split))
        assert len({row for part in found for row in part}) == sum(map(len, found)) == 35
    kept = log(f"user,item,time\n{rows}", split="random", repeats="keep")
    assert sum(map(len, rows_of(kept))) == 200


def test_a_time_is_never_on_both_sides_of_a_cut(log):
    rng = np.random.default_rng(0)
    days = [f"u{rng.integers(12)},i{rng.integers(60)},2024-01-0{day}\n" for day in range(1, 5) for _ in range(25)]
    options = {"split": "time", "fractions": (0.6, 0.2, 0.2), "time_column": "day", "repeats": "keep"}
    dataset = log(f"user,item,day\n{''.join(days)}", **options)
    assert [len(rows) for rows in rows_of(dataset)] == [50, 25, 25]
    seen = [set(dataset.times[getattr(dataset, name).order]) for name in PARTS]
    assert all(len(times) == count for times, count in zip(seen, (2, 1, 1), strict=True))
    with pytest.raises(InputError, match="all 100 rows have one time, too few for 3 parts"):
        log(f"user,item,day\n{''.join(row[:-2] + '1' + chr(10) for row in days)}", **options)


BASKETS = """user,item,basket,time
1,a,x,1
1,b,x,1
1,a,y,2
1,c,z,3
2,a,x,1
2,b,w,2
1,a,z,3
1,a,z,3
"""


def test_the_last_basket_is_held_out_with_its_repeats(log):
    dataset = log(BASKETS)
    assert dataset.split == "leave-last-basket-out" and dataset.repeats
    assert words_of(dataset) == ["1a 1b 2a 2b", "1a", "1c 1a 1a"]
    assert "1 ids of baskets are of several users: each has a basket of that id" in dataset.inferred
    assert "1 of 2 users have fewer than 3 baskets, and only train" in dataset.inferred
    merged = log(BASKETS, repeats="merge")
    assert words_of(merged) == ["1a 1b 2a 2b", "", "1c"] and not merged.repeats


def test_rows_of_a_basket_at_several_times_stay_together(log):
    text = "user,item,basket,time\n1,a,x,1\n1,b,y,4\n1,c,x,5\n1,d,z,6\n1,e,,7\n"
    dataset = log(text)
    assert words_of(dataset) == ["1a 1c", "1b", "1d"]
    done = cleaning(dataset)
    assert done["removed"] == {"no basket": 1}
    assert done["changed"] == {"time made that of the first row of its basket": 1}
    by_time = log(text, split="time", fractions=(0.4, 0.3, 0.3))
    assert words_of(by_time) == ["1a 1c", "1b", "1d"]


def test_baskets_without_times_follow_the_file_and_at_one_time_do_not_mix(log):
    assert words_of(log("user,item,basket\n1,a,x\n1,b,y\n1,c,x\n1,d,z\n")) == ["1a 1c", "1b", "1d"]
    mixed = log("user,item,basket,time\n1,a,x,1\n1,b,y,1\n1,c,x,1\n1,d,z,1\n1,e,y,1\n")
    assert words_of(mixed) == ["1a 1c", "1b 1e", "1d"]


@pytest.fixture
def files(tmp_path):
    """A function that writes the files of a split and loads it."""

    def files(train, test, valid="", negatives="", **fields):
        for name, text in (("train", train), ("valid", valid), ("test", test), ("negatives", negatives)):
            if text:
                (tmp_path / f"{name}.csv").write_text(text)
                fields[f"{name}_path"] = str(tmp_path / f"{name}.csv")
        return load(DataConfig(**fields))

    return files


TRAIN = "user,item\n1,a\n1,b\n2,a\n2,c\n"


def test_files_of_a_split_are_its_parts(files):
    dataset = files(TRAIN, "user,item\n1,c\n9,z\n1,a\n", "user,item\n2,b\n1,b\n")
    assert (dataset.name, dataset.split, dataset.repeats) == ("train.csv", "files", False)
    assert dataset.user_ids.tolist() == [1, 2, 9] and dataset.item_ids.tolist() == ["a", "b", "c", "z"]
    assert words_of(dataset) == ["1a 1b 2a 2c", "2b", "1c 9z"]  # users and items that training does not know stay
    assert dataset.removed == [Removed(AGAIN, 2)] and dataset.inferred == ()
    kept = files(TRAIN, "user,item\n1,c\n1,a\n", "user,item\n2,b\n", repeats="keep")
    assert words_of(kept)[2] == "1c 1a"


def test_validation_without_a_file_is_cut_from_training(files):
    dataset = files(TRAIN, "user,item\n1,c\n2,b\n")
    assert [len(rows) for rows in rows_of(dataset)] == [2, 2, 2]
    assert dataset.inferred == (
        "validation, of which there is no file, is a random tenth of each user's training rows",
    )


def test_ids_are_of_one_type_in_all_files(files):
    dataset = files("user,item\n1,7\n2,8\n", "user,item\nx2,7\n", "user,item\n1,8\n")
    assert dataset.user_ids.tolist() == ["1", "2", "x2"] and dataset.item_ids.tolist() == [7, 8]


def test_files_of_a_split_are_cleaned_together(files):
    text = "user,item,n\n1,a,2\n1,b,3\n2,a,1\n2,b,1\n"
    dataset = files(text, "user,item,n\n1,c,1\n2,c,\n1,b,-3\n", "user,item,n\n1,d,1\n", value_column="n")
    assert words_of(dataset) == ["1a 2a 2b", "1d", "1c"]
    assert cleaning(dataset)["read"] == 8


def test_the_ncf_files_as_ones_own_are_the_named_data_set(ncf_dir, tmp_path):
    folder = ncf_dir / "ncf"
    train = folder / "ml-1m.train.rating"  # where every item has a row, as in the published files
    train.write_text(train.read_text() + "".join(f"{10 + item}\t{item}\t1\t1\n" for item in range(230)))
    named = load(DataConfig(dataset="ncf-ml-1m", data_dir=str(ncf_dir)))
    columns = {"value_column": "value", "time_column": "time", "negatives_path": str(folder / "ml-1m.test.negative")}
    for part in ("train", "test"):
        columns[f"{part}_path"] = str(tmp_path / f"{part}.tsv")
        rows = (folder / f"ml-1m.{part}.rating").read_text()
        (tmp_path / f"{part}.tsv").write_text(f"user\titem\tvalue\ttime\n{rows}")
    assert load(DataConfig(**columns)).fingerprint == named.fingerprint


NEGATIVES = "(1,c)\td\te\n\n( 2 , b )\te\td\r\n(7,c)\td\te\n"
WITH_ALL = TRAIN + "3,d\n3,e\n"
TEST = "user,item\n2,b\n1,c\n"


def test_negatives_follow_their_test_row(files):
    dataset = files(WITH_ALL, TEST, "user,item\n3,a\n", NEGATIVES)
    assert dataset.item_ids[dataset.test_candidates].tolist() == [["d", "e", "c"], ["e", "d", "b"]]
    assert dataset.valid_candidates is None
    cut = files(WITH_ALL, TEST, "", NEGATIVES)
    assert cut.item_ids[cut.valid_candidates].shape == (3, 3) and "among random items" in cut.inferred[0]


def test_negatives_of_any_split(log, tmp_path):
    (tmp_path / "negatives.txt").write_text("(1,c)\tx\ty\n")
    dataset = log("user,item\n1,a\n1,b\n1,c\n2,x\n2,y\n", negatives_path=str(tmp_path / "negatives.txt"))
    assert dataset.item_ids[dataset.test_candidates].tolist() == [["x", "y", "c"]]


@pytest.mark.parametrize(
    ("negatives", "message"),
    [
        ("(1,c)\td\te\n(2,b)\td\n", "line 2: 1 items, where line 1 has 2"),
        ("(1,c)\td\te\n(2,b)\td\tzz\n", "line 2: item 'zz' is in no row of the log"),
        ("(1,c)\td\te\n", r"no line begins with \(2,b\), which is a test row"),
        ("(1,c)\td\n(1,c)\te\n(2,b)\te\n", r"line 2: \(1,c\) has a line before"),
        ("1,c\td\n", r"line 1: '1,c.d'; legal are \(USER,ITEM\) and items, between tabs"),
        ("(1,c)\n", "line 1: .* legal are"),
        ("(1,c)\td\t\te\n", "line 1: .* legal are"),
        ("\n", "the file is empty"),
    ],
)
def test_negatives_that_do_not_fit(files, negatives, message):
    with pytest.raises(InputError, match=message) as error:
        files(WITH_ALL, TEST, "user,item\n3,a\n", negatives)
    assert "\n" not in str(error.value) and "negatives.csv" in str(error.value)


def test_negatives_of_no_text(files, tmp_path):
    (tmp_path / "bytes.txt").write_bytes(b"(1,c)\td\n(2,b)\t\xff\n")
    with pytest.raises(InputError, match="line 2: a byte that is no UTF-8"):
        files(WITH_ALL, TEST, "user,item\n3,a\n", negatives_path=str(tmp_path / "bytes.txt"))
    with pytest.raises(InputError, match=r"--negatives_path=.*none\.txt: no such file"):
        files(WITH_ALL, TEST, "user,item\n3,a\n", negatives_path=str(tmp_path / "none.txt"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"train_path": "a.csv"}, "flags --train_path, --test_path: give both"),
        ({"test_path": "a.csv"}, "flags --train_path, --test_path: give both"),
        ({"valid_path": "a.csv"}, "flags --train_path, --test_path: give both"),
        ({"train_path": "a", "test_path": "b", "dataset": "c.csv"}, "flags --dataset=c.csv and --train_path=a"),
        ({"train_path": "a", "test_path": "b", "split": "time"}, "flag --split: 'time' splits a log"),
        (
            {"split": "leave-last-basket-out", "dataset": "c.csv"},
            "flag --split: leave-last-basket-out needs --basket_column",
        ),
        ({"repeats": "keep", "duplicates": "sum"}, "flag --duplicates: sum makes one of what --repeats=keep keeps"),
        ({"basket_column": "b", "stream": True}, "flag --basket_column: needs the whole log in memory"),
        ({"negatives_path": "b", "stream": True}, "flag --negatives_path: needs the whole log in memory"),
    ],
)
def test_flags_that_do_not_go_together(flags, message):
    with pytest.raises(InputError, match=message):
        DataConfig(**flags)


@pytest.mark.parametrize("flag", ["basket_column", "negatives_path"])
def test_flags_of_files_with_a_named_data_set(ncf_dir, flag):
    with pytest.raises(InputError, match=f"flag --{flag}: goes with files; --dataset=ncf-ml-1m has its own"):
        load(DataConfig(dataset="ncf-ml-1m", data_dir=str(ncf_dir), **{flag: "x"}))
