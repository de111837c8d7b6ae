"""The data sets that are known by name, each read from the files as their publishers wrote them."""

import csv
import io
import itertools
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from ancf_jax.data import downloads
from ancf_jax.data.tables import Items, Source, as_ids, as_numbers, as_seconds, body, contents, one_character, readable
from ancf_jax.types import InputError

RATINGS = {"user": "int64", "item": "int64", "value": "float64", "time": "int64"}
TITLES = {"item": "int64", "title": "str"}
RETAIL = ["StockCode", "Description", "Quantity", "InvoiceDate", "CustomerID"]


def read_named(name: str, data_dir: str) -> Source:
    """The data set `name`, which is one of NAMED.

    Its files are looked for in --data_dir, $ANCF_DATA_DIR and ~/.cache/ancf_jax, in a folder of its name, and are
    downloaded into the last. Raises InputError, one line that names the file, when one is missing or damaged.
    """
    return NAMED[name](_folder(name, data_dir))


def _folder(name: str, data_dir: str) -> Path:
    """The first folder that holds all files of a named data set; the cache, after a download, if none does."""
    cache = Path.home() / ".cache" / "ancf_jax"
    roots = [Path(root).expanduser() for root in (data_dir, os.environ.get("ANCF_DATA_DIR", "")) if root]
    spellings = (name, "ncf") if name == "ncf-ml-1m" else (name,)
    for root, spelling in itertools.product([*roots, cache], spellings):
        if all((root / spelling / file).is_file() for file in downloads.FILES[name]):
            return root / spelling
    downloads.fetch(name, cache / name)
    return cache / name


def _read_ml_100k(folder: Path) -> Source:
    path, genres = folder / "u.item", list(downloads.GENRES)
    films = _official(path, "|", TITLES)
    categories: tuple[str, ...] = ()
    if path.read_bytes().partition(b"\n")[0].count(b"|") == 4 + len(genres):  # a copy may have titles alone
        columns = TITLES | dict.fromkeys(("date", "video", "address"), "str") | dict.fromkeys(genres, "int64")
        flags = _official(path, "|", columns)[genres].to_numpy(bool)
        films["genres"] = ["|".join(np.array(genres)[row]) for row in flags]
        categories = ("genres",)
    return _films("ml-100k", _official(folder / "u.data", "\t", RATINGS), films, categories)


def _read_ml_1m(folder: Path) -> Source:
    films = _official(folder / "movies.dat", "::", TITLES | {"genres": "str"})
    return _films("ml-1m", _official(folder / "ratings.dat", "::", RATINGS), films, ("genres",))


def _films(name: str, ratings: pd.DataFrame, films: pd.DataFrame, categories: tuple[str, ...]) -> Source:
    items = Items(films["item"], films, text=("title",), categories=categories)
    return Source(name, ratings, films.set_index("item")["title"], items=items)


def _read_ncf_ml_1m(folder: Path) -> Source:
    train = _official(folder / "ml-1m.train.rating", "\t", RATINGS)
    test = _official(folder / "ml-1m.test.rating", "\t", RATINGS)
    path = folder / "ml-1m.test.negative"
    columns = {"pair": "str"} | {f"negative {n}": "int64" for n in range(1, 100)}
    lines = _official(path, "\t", columns)
    pairs = "(" + test["user"].astype(str) + "," + test["item"].astype(str) + ")"
    if not np.array_equal(lines["pair"], pairs):
        raise InputError(f"{path}: its (user,item) pairs are not those of ml-1m.test.rating, line by line")
    return Source("ncf-ml-1m", train, test=test, negatives=lines.drop(columns="pair").to_numpy())


def _read_lines(name: str, folder: Path) -> Source:
    """A training and a test file whose lines are a user and the user's items; without times, the test part is last."""
    train, test = _lines_of_items(folder / "train.txt"), _lines_of_items(folder / "test.txt")
    return Source(name, train, test=test.assign(time=test["time"] + len(train)))


def _read_online_retail(folder: Path) -> Source:
    """A row for each product of an invoice; returns and corrections have negative quantities.

    A product is described in several ways, by mistake or over time, and in rows of corrections by what went wrong: its
    title is what it was called most often when it was sold, the first in the alphabet of equals.
    """
    path = folder / "online_retail.csv.gz"
    raw, separator = contents(path, "data_dir")
    with readable(path):
        log = body(raw, separator, RETAIL)
    user, item = as_ids(log["CustomerID"]), as_ids(log["StockCode"])
    known = user.notna() & item.notna()
    value, time = as_numbers(path, log["Quantity"], known), as_seconds(path, log["InvoiceDate"], known)
    sold = pd.DataFrame({"item": item, "title": log["Description"].str.strip()})[value > 0].dropna()
    often = sold.value_counts(sort=False).reset_index().sort_values(["count", "title"], ascending=[False, True])
    titles = often.drop_duplicates("item").set_index("item")["title"].astype("str")
    frame = pd.DataFrame({"user": user, "item": item, "value": value, "time": time})
    items = Items(titles.index.to_series(), titles.to_frame(), text=("title",))
    return Source("online-retail", frame, titles, items=items, min_value=1.0)


NAMED: dict[str, Callable[[Path], Source]] = {
    "ml-100k": _read_ml_100k,
    "ml-1m": _read_ml_1m,
    "ncf-ml-1m": _read_ncf_ml_1m,
    "gowalla": partial(_read_lines, "gowalla"),
    "yelp2018": partial(_read_lines, "yelp2018"),
    "amazon-book": partial(_read_lines, "amazon-book"),
    "online-retail": _read_online_retail,
}


def _official(path: Path, separator: str, columns: dict[str, str]) -> pd.DataFrame:
    """The first columns of a published file without a header."""
    with readable(path):
        raw, separator = one_character(path.read_bytes(), separator)
        return pd.read_csv(
            io.BytesIO(raw),
            sep=separator,
            names=list(columns),
            usecols=range(len(columns)),
            dtype=columns,
            quoting=csv.QUOTE_NONE,
            encoding="latin-1",
        )


def _lines_of_items(path: Path) -> pd.DataFrame:
    """A file whose lines are a user and the user's items; a user may have none."""
    raw = path.read_bytes()
    wrong = re.search(rb"[^\s\d]\S*|\d{19,}", raw)
    if wrong:
        line, word = raw.count(b"\n", 0, wrong.start()) + 1, wrong[0][:40].decode("latin-1")
        raise InputError(f"{path}: line {line}: '{word}' is no id; a line is the number of a user and those of items")
    words = np.fromstring(raw.strip(), np.int64, sep=" ")  # any white space separates
    length = np.array([len(line.split()) for line in raw.split(b"\n") if line.strip()], int)
    first = np.cumsum(length) - length
    frame = pd.DataFrame({"user": np.repeat(words[first], length - 1), "item": np.delete(words, first)})
    return frame.assign(value=1.0, time=np.arange(len(frame)))
