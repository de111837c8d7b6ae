"""A log in files: every row in a pass once, in windows that depend on the seed alone, read a row group at a time."""

import itertools
import math
import shutil
import weakref

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ancf_jax.data.clean import Removed
from ancf_jax.data.dataset import cleaning, fold_validation, load
from ancf_jax.data.read import passes, stream
from ancf_jax.data.samplers import knows
from ancf_jax.settings import DataConfig
from ancf_jax.types import InputError

ROWS, USERS, ITEMS = 60, 9, 12
FILES = {"a.parquet": (0, 25, 7), "b.parquet": (25, 30, 9), "c.parquet": (30, ROWS, 11)}  # first, last, row group


def log_of(text=False):
    """Rows in the order of time, no pair twice, and nobody's first row in the last third of them all."""
    pairs = np.random.default_rng(0).permutation(USERS * ITEMS)[:ROWS]
    users, items = pairs // ITEMS * 10, pairs % ITEMS
    columns = {"user": users, "item": items, "stars": np.arange(ROWS) % 5 + 1.0, "when": np.arange(ROWS) // 2}
    frame = pd.DataFrame(columns)
    return frame.astype({"user": "str", "item": "str"}) if text else frame


def write(folder, frame, files=FILES):
    folder.mkdir(exist_ok=True)
    for name, (first, last, size) in files.items():
        table = pyarrow.Table.from_pandas(frame[first:last], preserve_index=False)
        pyarrow.parquet.write_table(table, folder / name, row_group_size=size)
    return folder


def config(path, **values):
    columns = {"value_column": "stars", "time_column": "when", "split": "time", "fractions": (0.7, 0.15, 0.15)}
    return DataConfig(**({"dataset": str(path), "stream": True, "stream_rows": 15} | columns | values))


@pytest.fixture(params=[False, True], ids=["numbers", "text"])
def streamed(tmp_path, request):
    """A data set in three files, and the same log in memory."""
    frame = log_of(request.param)
    write(tmp_path / "log", frame)
    frame.to_parquet(tmp_path / "whole.parquet")
    return load(config(tmp_path / "log")), load(config(tmp_path / "whole.parquet", stream=False))


def rows_of(part):
    return list(zip(part.users.tolist(), part.items.tolist(), part.values.tolist(), strict=True))


def test_vocabularies_and_held_out_parts_are_those_of_a_log_in_memory(streamed):
    found, whole = streamed
    assert found.name == "log" and found.split == whole.split == "time"
    for name in ("user_ids", "item_ids"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))
        assert getattr(found, name).dtype == getattr(whole, name).dtype
    for name in ("valid", "test"):
        assert rows_of(getattr(found, name)) == rows_of(getattr(whole, name)) != []
        np.testing.assert_array_equal(getattr(found, name).offsets, getattr(whole, name).offsets)
    held_out = {*whole.valid.users.tolist(), *whole.test.users.tolist()}
    assert rows_of(found.train) == [row for row in rows_of(whole.train) if row[0] in held_out]


def test_windows_of_a_pass_hold_the_training_rows_of_memory(streamed):
    found, whole = streamed
    count, length = passes.count_windows(found.stream), passes.window_rows(found.stream)
    assert (count, length) == (3, 14)  # 42 rows, at most 15 in a window
    with passes.windows(found.stream, seed=3, last=2 * count) as window:
        parts = [window(number) for number in range(1, 2 * count + 1)]
        again = window(2)
    with passes.windows(found.stream, seed=4, last=1) as window:
        other = window(1)
    visits = [[row for part in parts[start : start + count] for row in rows_of(part)] for start in (0, count)]
    for rows in visits:
        assert sorted(rows) == sorted(rows_of(whole.train))
    assert visits[0] != visits[1]
    assert rows_of(again) == rows_of(parts[1]) != rows_of(other)
    for part in parts:
        assert part.users.dtype == part.items.dtype == part.order.dtype == np.int32
        assert part.values.dtype == np.float32 and len(part.users) == len(part.items) == len(part.values) == length


def test_a_window_knows_no_item_of_any_user(streamed):
    found, _ = streamed
    with passes.windows(found.stream, seed=0, last=1) as window:
        part = window(1)
    assert part.offsets.tolist() == [0] * (len(found.user_ids) + 1)
    items = np.broadcast_to(np.arange(len(found.item_ids)), (len(part.users), len(found.item_ids)))
    assert not np.asarray(knows(part, part.users, items)).any()


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(any),
    st.integers(1, 12),
    st.integers(1, 3),
    st.integers(0, 3),
)
def test_every_row_is_in_one_window_of_one_process(groups, window_rows, processes, seed):
    rows = np.array(groups)
    windows, total = math.ceil(rows.sum() / window_rows), int(rows.sum())
    for done in (0, 1):
        visited, sizes = [], []
        for window, process in itertools.product(range(windows), range(processes)):
            number = done * windows + window + 1
            found = passes.spans(rows, windows, seed, number, process, processes)
            visited += [(n, row) for n, part in found for row in range(rows[n])[part]]
            sizes.append(sum(part.stop - part.start for _, part in found))
        everything = [(n, row) for n, count in enumerate(groups) for row in range(count)]
        if total >= windows * processes:
            assert sorted(visited) == everything
        assert set(visited) == set(everything) and min(sizes) > 0 and max(sizes) - min(sizes) <= 1


def test_processes_read_runs_of_row_groups_of_their_own():
    rows = np.full(12, 10)
    read = [{n for k in range(1, 7) for n, _ in passes.spans(rows, 6, 0, k, process, 3)} for process in range(3)]
    assert [len(groups) for groups in read] == [4, 4, 4] and len(set.union(*read)) == 12


def test_the_windows_of_processes_have_one_shape_and_all_rows(tmp_path):
    found = load(config(write(tmp_path / "log", log_of())))
    length, rows = passes.window_rows(found.stream, processes=4), []
    assert length == 4 * math.ceil(42 / 3 / 4)
    for process in range(4):
        with passes.windows(found.stream, 0, 3, process, 4) as window:
            parts = [window(number) for number in (1, 2, 3)]
        assert {len(part.users) for part in parts} == {length // 4}
        rows += [row for part in parts for row in rows_of(part)]
    assert len(set(rows)) == 42


def test_one_row_group_at_a_time_is_in_memory(tmp_path, monkeypatch):
    frames, alive, columns = [], [], set()

    def read(file, wanted, *args, whole=stream.read_file):
        table = whole(file, wanted, *args)
        frames.append(weakref.ref(table.columns["user"]))
        alive.append([len(frame) for frame in (ref() for ref in frames) if frame is not None])
        columns.add(tuple(table.columns))
        return table

    def clean(log, *args, whole=stream.clean_rows):
        frames.append(weakref.ref(log))
        return whole(log, *args)

    monkeypatch.setattr(stream, "read_file", read)
    monkeypatch.setattr(stream, "clean_rows", clean)
    found = load(config(write(tmp_path / "log", log_of())))
    assert len(alive) == 8 + 4 and columns == {("user", "item", "stars", "when")}  # one pass, and what is at the cuts
    with passes.windows(found.stream, seed=0, last=3) as window:
        for number in (1, 2, 3):
            window(number)
    assert all(len(sizes) == 1 and sizes[0] <= 11 for sizes in alive)
    assert len(alive) == 12 + 7  # of a pass, seven have training rows: one that two windows share is read once


def test_the_next_window_is_read_while_the_caller_works(tmp_path, monkeypatch):
    found, read = load(config(write(tmp_path / "log", log_of()))), []

    def recorded(file, wanted, dialect, first, row_group, skipped, whole=stream.read_file):
        read.append((file.path.name, row_group))
        return whole(file, wanted, dialect, first, row_group, skipped)

    def groups_of(*numbers):
        parts = [n for number in numbers for n, _ in passes.spans(found.stream.rows, 3, 0, number)]
        return {(group.file.path.name, group.number) for group in (found.stream.groups[n] for n in parts)}

    monkeypatch.setattr(stream, "read_file", recorded)
    for asked, numbers in ((1, (1, 2)), (3, (3,))):  # the third is the last
        read.clear()
        with passes.windows(found.stream, seed=0, last=3) as window:
            window(asked)
        assert set(read) == groups_of(*numbers)


def test_errors_of_the_thread_reach_the_caller(tmp_path):
    found = load(config(write(tmp_path / "log", log_of())))
    shutil.rmtree(tmp_path / "log")
    with passes.windows(found.stream, 0, 3) as window, pytest.raises(InputError, match=r"\.parquet: cannot be read"):
        window(1)


def test_rows_are_cleaned_as_in_memory(tmp_path):
    frame = log_of().astype({"user": "Int64", "item": "Int64"})
    frame.loc[[0, 26], "user"], frame.loc[[3, 26], "item"], frame.loc[[4, 58], "stars"] = pd.NA, pd.NA, np.nan
    frame.loc[0, "stars"], frame.loc[30, "stars"] = np.nan, -3.0
    write(tmp_path / "log", frame)
    frame.to_parquet(tmp_path / "whole.parquet")
    for least in (0.0, 2.5):
        found = load(config(tmp_path / "log", min_value=least))
        whole = load(config(tmp_path / "whole.parquet", min_value=least, stream=False, returns="drop"))
        assert sorted(found.removed) == sorted(whole.removed)
        assert found.removed[:2] == [Removed("no item", 2), Removed("no value", 3)]
        np.testing.assert_array_equal(found.item_ids, whole.item_ids)
        with passes.windows(found.stream, seed=0, last=9) as window:
            count = passes.count_windows(found.stream)
            rows = [row for number in range(1, count + 1) for row in rows_of(window(number))]
        clean = frame[:42].dropna()
        early = clean[clean["stars"] >= least]
        places = found.user_ids.searchsorted(early["user"]), found.item_ids.searchsorted(early["item"])
        assert set(rows) == set(zip(*(place.tolist() for place in places), early["stars"], strict=True))


@pytest.mark.parametrize(("repeats", "valid"), [("auto", []), ("keep", [7])])
def test_repeated_pairs_stay_in_training_and_files_come_by_name(tmp_path, repeats, valid):
    frame = pd.DataFrame({"user": [1, 1, 1, 1, 1, 1], "item": [7, 7, 8, 7, 6, 9]})
    write(tmp_path / "log", frame, {"part-2.parquet": (2, 6, 2), "part-1.parquet": (0, 2, 5)})
    options = {"value_column": "", "time_column": "", "fractions": (0.5, 0.33, 0.17), "repeats": repeats}
    found = load(config(tmp_path / "log", **options))
    items = [found.item_ids[part.items].tolist() for part in (found.train, found.valid, found.test)]
    assert items == [[7, 7, 8], [*valid, 6], [9]] and found.repeats == (repeats == "keep")
    assert cleaning(found)["read"] == 6
    with passes.windows(found.stream, seed=0, last=1) as window:
        assert sorted(window(1).items.tolist()) == [1, 1, 2]


@example([0, 1, 0, 0, 0, 0], 1)  # the end is nearer than the only change, and none
@given(st.lists(st.integers(0, 3), min_size=4, max_size=30), st.integers(1, 7))
def test_cuts_fall_between_two_times_as_in_memory(tmp_path_factory, steps, size):
    frame = pd.DataFrame({"user": 1, "item": np.arange(len(steps)), "when": np.cumsum(steps)})
    folder = tmp_path_factory.mktemp("log")
    frame.to_parquet(folder / "a.parquet", row_group_size=size)
    options = {"value_column": "", "fractions": (0.6, 0.0, 0.4)}
    try:
        whole = load(config(folder / "a.parquet", stream=False, **options))
    except InputError as error:
        assert "all" in str(error) and frame["when"].nunique() == 1
        with pytest.raises(InputError, match="a cut falls between two times"):
            load(config(folder / "a.parquet", **options))
        return
    found = load(config(folder / "a.parquet", **options))
    assert found.test.items.tolist() == whole.test.items.tolist()
    times = frame["when"].to_numpy()
    assert times[found.train.items].max() < times[found.test.items].min()


def test_training_rows_stay_in_memory_of_users_asked_for(tmp_path):
    frame = log_of()
    frame.loc[50:, "user"] = 10  # the only user held out
    frame["item"] = range(ROWS)
    path = write(tmp_path / "log", frame)
    for asked in ((), ("30",), ("30", "80", "31", "x")):
        found = load(config(path, fractions=(0.85, 0.05, 0.1)), asked)
        kept = {10, *(int(text) for text in asked if text in ("30", "80"))}
        assert set(found.user_ids[found.train.users]) == kept
        early = frame[:50]  # 50 and 51 have one time, and there is no cut between them
        assert len(found.train.users) == early["user"].isin(kept).sum()


def test_fold_validation_streams_it_too(tmp_path):
    found = load(config(write(tmp_path / "log", log_of())))
    folded = fold_validation(found)
    assert folded.stream.rows.sum() == 50 and len(folded.valid.users) == 0 and folded.fingerprint == found.fingerprint
    with passes.windows(folded.stream, seed=0, last=4) as window:
        rows = [row for number in range(1, 5) for row in rows_of(window(number))]
    assert set(rows_of(found.valid)) < set(rows) and not set(rows_of(found.test)) & set(rows)


def test_the_fingerprint_is_of_what_the_files_say_of_themselves(tmp_path):
    frame = log_of()
    found = {load(config(write(tmp_path / "log", frame))).fingerprint}
    shutil.copytree(tmp_path / "log", tmp_path / "copy")
    assert {load(config(tmp_path / "copy")).fingerprint} == found
    for column, value in (("item", 99), ("stars", 1.0)):
        found.add(load(config(write(tmp_path / "log", frame.assign(**{column: value})))).fingerprint)
    files = FILES | {"a.parquet": (0, 25, 8)}
    found.add(load(config(write(tmp_path / "log", frame, files))).fingerprint)
    assert len(found) == 4


def test_files_that_change_between_windows(tmp_path):
    frame, path = log_of(), tmp_path / "log"
    other = frame.assign(item=frame["item"] + 100)
    changes = {
        "it has changed since it was first read: unknown id '1": (other, FILES),
        "it has changed since it was first read: rows are missing": (frame, FILES | {"a.parquet": (0, 26, 6)}),
        "cannot be read as a table": (frame, FILES | {"a.parquet": (0, 25, 25)}),
    }
    for message, (changed, files) in changes.items():
        found = load(config(write(path, frame)))
        write(path, changed, files)
        with passes.windows(found.stream, 0, 3) as window, pytest.raises(InputError, match=rf"\.parquet: {message}"):
            for number in (1, 2, 3):
                window(number)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"item_column": "itm"}, r"a\.parquet: no column 'itm' \(--item_column\); .* did you mean item\?"),
        ({"time_column": "stars"}, r"[abc]\.parquet: row \d+ is earlier than the one before it \(--time_column\)"),
        ({"value_column": "user"}, r"b\.parquet: row 3, column 'user': 'x2' is not a number"),
        ({"fractions": (0.8, 0.2, 0.0)}, "--fractions: no row is left for the test part"),
        ({"min_value": 9.0}, r"no row is left for training; rows dropped: 60 for value below 9"),
        ({"dataset": "ml-100k"}, r"--dataset=ml-100k: legal with --stream are a \.parquet file and a folder of them"),
        ({"dataset": "a.csv"}, r"a\.csv: legal with --stream are a \.parquet file"),
        ({"dataset": "text.parquet"}, r"text\.parquet: cannot be read as a table"),
        ({"dataset": "empty"}, r"empty: no file of data in this folder"),
        ({"dataset": "none"}, r"none: no rows"),
    ],
)
def test_bad_input(tmp_path, monkeypatch, values, message):
    frame = log_of()
    frame["user"] = [f"x{n}" if n == 27 else str(n) for n in frame["user"].where(frame.index != 27, 27)]
    write(tmp_path / "log", frame.assign(user=frame["user"].replace("x27", "x2")))
    write(tmp_path / "none", frame, {"a.parquet": (0, 0, 1)})
    (tmp_path / "empty").mkdir()
    for name in ("a.csv", "text.parquet"):
        (tmp_path / name).write_text("user,item\n1,2\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message) as refusal:
        load(config("log", **values))
    assert "\n" not in str(refusal.value)


def test_ids_that_are_text_in_some_row_groups_are_text_in_all(tmp_path):
    frame = log_of(text=True)
    frame.loc[27, "user"], frame.loc[55, "item"] = "x2", "07"
    frame.to_parquet(tmp_path / "whole.parquet")
    for place, (name, (first, last, size)) in enumerate(FILES.items()):
        part = frame[first:last]
        part = part if place == 1 else part.astype({"user": "int64"})  # numbers here, text there
        (tmp_path / "log").mkdir(exist_ok=True)
        part.to_parquet(tmp_path / "log" / name, row_group_size=size, index=False)
    found, whole = load(config(tmp_path / "log")), load(config(tmp_path / "whole.parquet", stream=False))
    for name in ("user_ids", "item_ids"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))
    assert "x2" in found.user_ids and "07" in found.item_ids and "7" in found.item_ids
    assert rows_of(found.test) == rows_of(whole.test) and rows_of(found.valid) == rows_of(whole.valid)
    with passes.windows(found.stream, seed=0, last=3) as window:
        rows = [row for number in (1, 2, 3) for row in rows_of(window(number))]
    assert sorted(rows) == sorted(rows_of(whole.train))


def test_where_and_missing_values_apply_to_every_row_group(tmp_path):
    frame = log_of()
    frame["event"] = np.where(frame.index % 2 == 0, "buy", "see")
    write(tmp_path / "log", frame)
    frame.to_parquet(tmp_path / "whole.parquet")
    flags = {"where": "event=buy", "na_values": ("80",), "fractions": (0.6, 0.2, 0.2)}
    found, whole = (
        load(config(tmp_path / "log", **flags)),
        load(config(tmp_path / "whole.parquet", stream=False, **flags)),
    )
    assert sorted(found.removed) == sorted(whole.removed)
    assert Removed("not --where=event=buy", 30) in found.removed
    np.testing.assert_array_equal(found.user_ids, whole.user_ids)


@pytest.mark.parametrize("kind", ["uint64", "text", "stamps", "nanoseconds"])
def test_times_of_every_type(tmp_path, kind):
    frame = log_of()
    stamps = pd.to_datetime(1_600_000_000 + frame["when"], unit="s", utc=True)
    frame["when"] = {
        "uint64": (1_600_000_000 + frame["when"]).astype("uint64"),
        "text": stamps.dt.strftime("%d/%m/%Y %H:%M:%S"),
        "stamps": stamps,
        "nanoseconds": 1_600_000_000_000_000_000 + frame["when"],
    }[kind]
    form = "%d/%m/%Y %H:%M:%S" if kind == "text" else ""
    found = load(config(write(tmp_path / "log", frame), time_format=form))
    assert len(found.test.users) == 10  # the ninth row from the end has the time of the tenth
    with passes.windows(found.stream, seed=0, last=1) as window:
        assert len(rows_of(window(1))) == 14
    frame.loc[7, "when"] = frame["when"][0]
    with pytest.raises(InputError, match=r"a\.parquet: row 8 is earlier"):
        load(config(write(tmp_path / "late", frame), time_format=form))


def test_times_in_several_formats_are_refused(tmp_path):
    frame = log_of()
    days = pd.to_datetime(frame["when"], unit="D")
    frame["when"] = np.where(frame.index < 30, days.dt.strftime("%Y-%m-%d"), days.dt.strftime("%Y/%m/%d"))
    with pytest.raises(InputError, match=r"c\.parquet: its times are %Y/%m/%d, and %Y-%m-%d before it"):
        load(config(write(tmp_path / "log", frame)))


def test_row_groups_and_files_out_of_order(tmp_path):
    frame = log_of()
    late = frame.assign(when=np.where(frame.index == 7, -1, frame["when"]))
    with pytest.raises(InputError, match=r"a\.parquet: row 8 is earlier"):  # the first of its row group
        load(config(write(tmp_path / "log", late)))
    swapped = {"b.parquet": FILES["a.parquet"], "a.parquet": FILES["b.parquet"], "c.parquet": FILES["c.parquet"]}
    with pytest.raises(InputError, match=r"b\.parquet: row 1 is earlier .* files that are in it by name"):
        load(config(write(tmp_path / "swapped", frame, swapped)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"split": "random"}, "flag --split: 'random' needs the whole log in memory; legal with --stream is time"),
        ({"user_core": 2}, "flags --user_core, --item_core: they need the whole log in memory"),
        ({"item_core": 2}, "flags --user_core, --item_core: they need the whole log in memory"),
    ],
)
def test_settings_that_need_the_whole_log(values, message):
    with pytest.raises(InputError, match=message):
        config("log", **values)
