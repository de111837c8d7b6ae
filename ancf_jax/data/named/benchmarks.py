"""The data sets that are known by name: where their files are, and who reads them."""

import itertools
import json
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from ancf_jax.data.named import downloads
from ancf_jax.data.named import films as named_films
from ancf_jax.data.named import shops as named_shops
from ancf_jax.data.read.files import File, readable, unpacked
from ancf_jax.data.read.tables import Attributes, Source
from ancf_jax.files import at_home
from ancf_jax.types import InputError


def read_named(name: str, data_dir: str) -> Source:
    """The data set `name`, which is one of NAMED.

    Its files are looked for in --data_dir, $ANCF_DATA_DIR and ~/.cache/ancf_jax, in a folder of its name, and are
    downloaded into the last. Raises InputError, one line that names the file, when one is missing or damaged.
    """
    return NAMED[name](_folder(name, data_dir))


def named_files(name: str, data_dir: str) -> list[Path]:
    """The files that `read_named` reads. Raises InputError as it does."""
    folder = _folder(name, data_dir)
    files = (*downloads.FILES[name], *downloads.EXTRAS.get(name, ()))
    return [folder / file for file in files if (folder / file).is_file()]


ALSO = {"ncf-ml-1m": ("ncf",), "watched-anime": ("anime",)}  # other folders that may hold a data set


def _folder(name: str, data_dir: str) -> Path:
    """The first folder that holds all files of a named data set; the cache, after a download, if none does."""
    cache = at_home("~/.cache/ancf_jax")
    roots = [at_home(root) for root in (data_dir, os.environ.get("ANCF_DATA_DIR", "")) if root]
    spellings = (name, *ALSO[name]) if name in ALSO else (name,)
    for root, spelling in itertools.product([*roots, cache], spellings):
        if all((root / spelling / file).is_file() for file in downloads.FILES[name]):
            return root / spelling
    downloads.fetch(name, cache / name)
    return cache / name


def _read_lines(name: str, folder: Path) -> Source:
    """A training and a test file whose lines are a user and the user's items; without times, the test part is last."""
    train, test = _lines_of_items(folder / "train.txt"), _lines_of_items(folder / "test.txt")
    return Source(name, train, test=test.assign(time=test["time"] + len(train)), unit="rows")


def _read_beauty(folder: Path) -> Source:
    """Purchases of beauty products on Amazon, 5-core, as S3-Rec has them (Zhou et al., S3-Rec: self-supervised learning
    for sequential recommendation with mutual information maximization, 2020): a user a line, items in the order of
    purchase, without times; attributes of items if Beauty_item2attributes.json is there.
    """
    log = _lines_of_items(folder / "Beauty.txt.gz")
    path, items = folder / "Beauty_item2attributes.json", None
    if path.is_file():
        with readable(path):
            attributes = json.loads(path.read_bytes())
            ids = pd.Series([int(item) for item in attributes])
            words = ["|".join(map(str, found)) for found in attributes.values()]
        items = Attributes(ids, pd.DataFrame({"attributes": words}), categories=("attributes",))
    return Source("beauty", log, items=items, unit="rows")


def _lines_of_items(path: Path) -> pd.DataFrame:
    """A file whose lines are a user and the user's items; a user may have none."""
    with unpacked(File(path, ".txt", path.suffix if path.suffix == ".gz" else "")) as stream:
        raw = stream.read()
    wrong = re.search(rb"[^\s\d]\S*|\d{19,}", raw)
    if wrong:
        line, word = raw.count(b"\n", 0, wrong.start()) + 1, wrong[0][:40].decode("latin-1")
        raise InputError(f"{path}: line {line}: '{word}' is no id; a line is the number of a user and those of items")
    words = np.fromstring(raw.strip(), np.int64, sep=" ")  # any white space separates
    length = np.array([len(line.split()) for line in raw.split(b"\n") if line.strip()], int)
    first = np.cumsum(length) - length
    frame = pd.DataFrame({"user": np.repeat(words[first], length - 1), "item": np.delete(words, first)})
    return frame.assign(value=1.0, time=np.arange(len(frame)))


NAMED: dict[str, Callable[[Path], Source]] = {
    "ml-100k": named_films.read_ml_100k,
    "ml-1m": named_films.read_ml_1m,
    "ml-20m": named_films.read_ml_20m,
    "ncf-ml-1m": named_films.read_ncf_ml_1m,
    "anime": named_films.read_anime,
    "watched-anime": partial(named_films.read_anime, log="anime_history.dat"),
    "online-retail": named_shops.read_online_retail,
    "complete-journey": named_shops.read_complete_journey,
    "amazon-beauty": named_shops.read_amazon_beauty,
    "steam": named_shops.read_steam,
    "gowalla": partial(_read_lines, "gowalla"),
    "yelp2018": partial(_read_lines, "yelp2018"),
    "amazon-book": partial(_read_lines, "amazon-book"),
    "beauty": _read_beauty,
}
