"""Files: logs in every format, tables beside them, the named data sets, and what a run leaves behind."""

import gzip
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ancf_jax.data.dataset import cleaning, load
from ancf_jax.data.named.benchmarks import read_named
from ancf_jax.data.named.downloads import GENRES
from ancf_jax.data.store import load_dataset, read_arrays
from ancf_jax.files import read_json
from ancf_jax.runs.records import old_records, read_records
from ancf_jax.runs.run import folder_of, from_workdir
from ancf_jax.serving.tables import frame_of, ids_in
from ancf_jax.settings import DataConfig
from ancf_jax.training.steps import best_first, is_whole, steps_in
from tests.reliability.fuzz.made import Kind

COLUMNS: dict[str, Any] = {"value_column": "value", "time_column": "time", "split": "random"}
ROWS = "user,item,value,time\nu1,007,2,2020-01-01\nu2,7,-1.5,2020-01-03\nu2,8,3,2020-01-02\nu1,9,1,2020-01-05\n"
HERE = ("user,item,value,time", "2020-01-01 12:00", "01/02/2020", "\r\n", "\ufeff", "1,5", '""', "::", "\t", ";")
FLAGS: tuple[dict[str, Any], ...] = (  # how a log may be read
    {},
    {"na_values": ("-", "7"), "where": "item!=7,value>=0"},
    {"header": ("user", "item", "value", "time")},
    {"encoding": "latin-1", "decimal": ","},
    {"time_format": "%Y-%m-%d"},
    {"time_format": "ms", "returns": "match"},
    {"anonymous": "keep", "anonymous_ids": ("u1",)},
    {"encoding": "utf-8", "separator": "tab"},
)
LOGS = ("log.csv", "log.tsv", "log.dat", "log.csv.gz", "log.txt", "log.csv.zip", "log.csv.zst", "log.csv.bz2")
NAMED: dict[tuple[str, str], str] = {  # data set and file -> valid content
    ("ml-100k", "u.data"): "1\t7\t3\t881250949\n2\t8\t4\t5\n",
    ("ml-100k", "u.item"): f"7|Seven (1995)|01-Jan-1995||x{'|1' * len(GENRES)}\n8|Eight|||{'|0' * len(GENRES)}\n",
    ("ml-100k", "u.user"): "1|24|M|technician|85711\n2|73|F|other|94043\n",
    ("ml-1m", "ratings.dat"): "1::7::5::978300760\n2::8::5::978300760\n",
    ("ml-1m", "movies.dat"): "7::Seven::Drama|Comedy\n8::Eight::War\n",
    ("ml-1m", "users.dat"): "1::F::1::10::48067\n2::M::56::16::70072\n",
    ("ml-20m", "ratings.csv"): "userId,movieId,rating,timestamp\n1,7,3.5,5\n2,8,1.0,6\n",
    ("ml-20m", "movies.csv"): "movieId,title,genres\n7,Seven,(no genres listed)\n8,Eight,War|Crime\n",
    ("ncf-ml-1m", "ml-1m.train.rating"): "0\t1\t5\t9\n1\t2\t3\t4\n",
    ("ncf-ml-1m", "ml-1m.test.rating"): "0\t2\t5\t10\n1\t3\t3\t5\n",
    ("ncf-ml-1m", "ml-1m.test.negative"): "".join(
        "\t".join([pair, *map(str, range(4, 103))]) + "\n" for pair in ("(0,2)", "(1,3)")
    ),
    ("gowalla", "train.txt"): "0 1 2 3\n1 2 4\n",
    ("gowalla", "test.txt"): "0 4\n1 1\n",
    ("beauty", "Beauty.txt.gz"): "1 2 3 4 5 6\n2 3 4 5 6 7\n",
    ("beauty", "Beauty_item2attributes.json"): '{"2": [1, 2], "3": [4]}',
    ("anime", "anime_ratings.dat"): "User_ID\tAnime_ID\tFeedback\n1\t20\t8\n3\t24\t6\n",
    ("anime", "anime_info.dat"): "anime_ids\tname\tgenre\ttype\tepisodes\trating\tmembers\n20\tA\tX, Y\tTV\t1\t7\t9\n",
    ("amazon-beauty", "ratings_Beauty.csv"): "A1,7,5.0,1369699200\nA2,8,3.0,1355443200\n",
}


def kinds(root: Path) -> dict[str, Kind]:
    """What is read from files, each written to a folder of its own."""
    written = partial(_written, root)
    return {
        "delimited": Kind(lambda: [bytes([n, n]) + _packed(LOGS[n], ROWS) for n in range(8)], written(_log), 40, HERE),
        "json lines": Kind(lambda: [b"\0" + _json_lines()], written(_json), 30, ('{"user": ', '"item": ', "[", "{}")),
        "parquet": Kind(_parquets, written(_parquet), 30),
        "stream": Kind(_parquets, written(_stream), 5),
        "side tables": Kind(
            lambda: [bytes([n]) + _items() for n in range(2)], written(_side), 3, ("item,title,kind,price", "|")
        ),
        "vectors": Kind(_vectors, written(_read_vectors), 6),
        "named": Kind(
            lambda: [bytes([n]) + text.encode() for n, text in enumerate(NAMED.values())], written(_named), 40
        ),
        "ids": Kind(lambda: [b"u1\nu2\n\n u3 \r\n"], written(_ids), 90),
        "new rows": Kind(lambda: [ROWS.encode()], written(_new_rows), 15, HERE),
        "config.json": Kind(
            partial(_file, root / "gmf" / "config.json"), partial(_config, _copy(root)), 90, ("version",)
        ),
        "step.json": Kind(partial(_file, *root.glob("gmf/checkpoints/*/step.json")), partial(_step, _copy(root)), 40),
        "result.json": Kind(partial(_file, root / "gmf" / "result.json"), partial(_result, _copy(root)), 90),
        "metrics.jsonl": Kind(partial(_file, root / "gmf" / "metrics.jsonl"), partial(_records, _copy(root)), 110),
        "users.npz": Kind(partial(_file, root / "gmf" / "users.npz"), written(_arrays), 70),
        "dataset.npz": Kind(lambda: [*_file(root / "gmf" / "dataset.npz"), b""], partial(_dataset, root), 20),
    }


def _written(root: Path, act: Callable[[Path, bytes], Any]) -> Callable[[bytes], Any]:
    """`act` with a folder."""
    return lambda data: act(_folder(root), data)


def _folder(root: Path) -> Path:
    folder = root / "inputs"
    folder.mkdir(exist_ok=True)
    return folder


def _copy(root: Path) -> Callable[[], Path]:
    """What copies a run that is trained, once in each process."""
    made: list[Path] = []

    def copied() -> Path:
        if not made:
            made.append(root / "copy")
            shutil.rmtree(made[0], ignore_errors=True)
            shutil.copytree(root / "gmf", made[0])
        return made[0]

    return copied


def _file(*paths: Path) -> list[bytes]:
    return [path.read_bytes() for path in paths]


def _packed(name: str, text: str) -> bytes:
    """Text as a file of this name holds it."""
    if name.endswith(".zip"):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("log.csv", text)
        return stream.getvalue()
    if name.endswith(".zst"):
        import pyarrow

        return pyarrow.compress(text.encode(), "zstd", asbytes=True)
    if name.endswith(".bz2"):
        import bz2

        return bz2.compress(text.encode())
    if name.endswith(".gz"):
        return gzip.compress(text.encode(), mtime=0)
    return text.replace(",", {".tsv": "\t", ".dat": "::"}.get(name[-4:], ",")).encode()


def _checked(config: DataConfig) -> None:
    """Read a log: every row is kept or counted."""
    done = cleaning(load(config))
    assert done["read"] == done["kept"] + sum(done["removed"].values()), done


def _log(folder: Path, data: bytes) -> None:
    name, flags = LOGS[(data[0] if data else 0) % 8], FLAGS[(data[1] if len(data) > 1 else 0) % 8]
    (folder / name).write_bytes(data[2:])
    _checked(DataConfig(dataset=str(folder / name), **COLUMNS, **flags))


def _json_lines() -> bytes:
    return b"".join(
        json.dumps({"user": n, "item": f"i{n}", "value": 1.5, "time": n}).encode() + b"\n" for n in range(3)
    )


def _json(folder: Path, data: bytes) -> None:
    (folder / "log.jsonl").write_bytes(data[1:])
    flags = FLAGS[(data[0] if data else 0) % 2]
    _checked(DataConfig(dataset=str(folder / "log.jsonl"), **COLUMNS, **flags))


def _parquets() -> list[bytes]:
    """Logs whose columns are of several types."""
    ids, when = ["a", "b", "a", "c"], pd.date_range("2020", periods=4)
    frames = (
        {"user": [1, 2, 1, 3], "item": ids, "value": [1.0, 2.0, None, 4.0], "time": [1, 2, 3, 4]},
        {"user": pd.Categorical(ids), "item": [True, False, True, None], "value": [1, 2, 3, 4], "time": when},
        {"user": [b"a", b"b", b"c", None], "item": [[1], [2], [], None], "value": ["1", "2", "x", ""], "time": ids},
        {"user": [{"a": 1}] * 4, "item": [1.5, 2.5, np.nan, 1e30], "value": when, "time": ["2020-01-01"] * 4},
    )
    found = []
    for frame in frames:
        stream = io.BytesIO()
        pd.DataFrame(frame).to_parquet(stream, compression=None)
        found.append(stream.getvalue())
    return found


def _parquet(folder: Path, data: bytes) -> None:
    (folder / "log.parquet").write_bytes(data)
    _checked(DataConfig(dataset=str(folder / "log.parquet"), **COLUMNS))


def _stream(folder: Path, data: bytes) -> None:
    (folder / "log.parquet").write_bytes(data)
    load(DataConfig(dataset=str(folder / "log.parquet"), time_column="time", stream=True, stream_rows=2))


def _items() -> bytes:
    return b"item,title,kind,price\n007,Red mug,mug|cup,1.5\n7,Blue tea,tea,2\n8,,,\n"


def _side(folder: Path, data: bytes) -> None:
    (folder / "log.csv").write_text(ROWS)
    (folder / "items.csv").write_bytes(data[1:])
    words: dict[str, Any] = {"item_text": ("title",)} if data[:1] > b"\0" else {}
    flags: dict[str, Any] = {"item_categories": ("kind",), "item_numbers": ("price",)}
    config = DataConfig(dataset=str(folder / "log.csv"), items_path=str(folder / "items.csv"), **flags, **words)
    load(config, (), True)


def _vectors() -> list[bytes]:
    """Vectors as .npy, as .parquet of lists and of columns; the first letter says which."""
    found, rows = [], np.arange(12.0, dtype=np.float32).reshape(3, 4)
    stream = io.BytesIO()
    np.save(stream, rows)
    found.append(b"\0" + stream.getvalue())
    stream = io.BytesIO()
    np.savez(stream, rows)
    found.append(b"\0" + stream.getvalue())
    for frame in (pd.DataFrame({"item": ["007", "7", "8"], "v": [*rows]}), pd.DataFrame(rows).assign(item=[1, 2, 3])):
        stream = io.BytesIO()
        frame.rename(columns=str).to_parquet(stream, compression=None)
        found.append(b"\1" + stream.getvalue())
    return found


def _read_vectors(folder: Path, data: bytes) -> None:
    (folder / "log.csv").write_text(ROWS)
    (folder / "items.csv").write_bytes(_items())
    path = folder / ("vectors.parquet" if data[:1] > b"\0" else "vectors.npy")
    path.write_bytes(data[1:])
    flags = {"items_path": str(folder / "items.csv"), "item_vectors": str(path)}
    load(DataConfig(dataset=str(folder / "log.csv"), **flags), (), True)


def _named(folder: Path, data: bytes) -> None:
    (name, changed) = [*NAMED][(data[0] if data else 0) % len(NAMED)]
    for (dataset, file), text in NAMED.items():
        if dataset != name:
            continue
        path = folder / name / file
        path.parent.mkdir(exist_ok=True)
        content = data[1:] if file == changed else text.encode("latin-1")
        path.write_bytes(gzip.compress(content, 1, mtime=0) if file.endswith(".gz") else content)
    read_named(name, str(folder))


def _ids(folder: Path, data: bytes) -> None:
    (folder / "ids.txt").write_bytes(data)
    assert all(each and each == each.strip() for each in ids_in(str(folder / "ids.txt"), "users"))


def _new_rows(folder: Path, data: bytes) -> None:
    (folder / "new.csv").write_bytes(data)
    frame_of(str(folder / "new.csv"), DataConfig(dataset="log.csv", value_column="value", time_column="time"))


def _config(copied: Callable[[], Path], data: bytes) -> None:
    folder = copied()
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    (folder / "config.json").write_bytes(data)
    from_workdir(folder)


def _step(copied: Callable[[], Path], data: bytes) -> None:
    folder = copied()
    for path in folder.glob("checkpoints/*/step.json"):
        path.write_bytes(data)
    for step in best_first(steps_in(folder)):
        is_whole(step)
    read_records(folder, 2)
    from_workdir(folder)


def _result(copied: Callable[[], Path], data: bytes) -> None:
    folder = copied()
    (folder / "result.json").write_bytes(data)
    read_json(folder / "result.json")
    folder_of(folder)


def _records(copied: Callable[[], Path], data: bytes) -> None:
    folder = copied()
    (folder / "metrics.jsonl").write_bytes(data)
    old_records(folder, 2)


def _arrays(folder: Path, data: bytes) -> None:
    (folder / "users.npz").write_bytes(data)
    read_arrays(folder / "users.npz")


def _dataset(root: Path, data: bytes) -> None:
    """Bytes of the file changed; or of one array in it, whose checksum then fits, as those of later versions may."""
    folder, kept = _folder(root), root / "gmf" / "dataset.npz"
    path = folder / "dataset.npz"
    if len(data) > 1000:
        path.write_bytes(data)
    else:
        with np.load(kept) as arrays:
            names = sorted(arrays)
            name = names[(data[0] if data else 0) % len(names)]
            found = {each: arrays[each] for each in names}
        changed = np.frombuffer(data[1:], np.uint8)
        found[name] = np.array(data[1:].decode("utf-8", "replace")) if name == "about" else changed
        if data[:1] > b"\x80":
            del found[name]
        with path.open("wb") as file:
            np.savez(file, **found)
    load_dataset(path)
