"""The named data sets of films, each read from the files as their publishers wrote them."""

import html
from pathlib import Path

import numpy as np
import pandas as pd

from ancf_jax.data.named import downloads
from ancf_jax.data.named.originals import columns_of, headless
from ancf_jax.data.read import cells
from ancf_jax.data.read.tables import Attributes, Source
from ancf_jax.types import InputError

RATINGS = {"user": "int64", "item": "int64", "value": "float64", "time": "int64"}
TITLES = {"item": "int64", "title": "str"}
AGES = {0: "under 18", 18: "18-24", 25: "25-34", 35: "35-44", 45: "45-49", 50: "50-55", 56: "56 and over"}


def read_ml_100k(folder: Path) -> Source:
    """MovieLens-100K: ratings; titles and genres of films; age group, gender and occupation of users in u.user."""
    path, genres = folder / "u.item", list(downloads.GENRES)
    films = headless(path, "|", TITLES)
    categories: tuple[str, ...] = ()
    if path.read_bytes().partition(b"\n")[0].count(b"|") == 4 + len(genres):  # a copy may have titles alone
        columns = TITLES | dict.fromkeys(("date", "video", "address"), "str") | dict.fromkeys(genres, "int64")
        flags = headless(path, "|", columns)[genres].to_numpy(bool)
        films["genres"] = ["|".join(np.array(genres)[row]) for row in flags]
        categories = ("genres",)
    users = {"user": "int64", "age": "int64", "gender": "str", "occupation": "str"}
    ratings = headless(folder / "u.data", "\t", RATINGS)
    return _films("ml-100k", ratings, films, categories, _people(folder / "u.user", "|", users))


def read_ml_1m(folder: Path) -> Source:
    """MovieLens-1M: as MovieLens-100K, with users in users.dat."""
    films = headless(folder / "movies.dat", "::", TITLES | {"genres": "str"})
    users = {"user": "int64", "gender": "str", "age": "int64", "occupation": "str"}
    ratings = headless(folder / "ratings.dat", "::", RATINGS)
    return _films("ml-1m", ratings, films, ("genres",), _people(folder / "users.dat", "::", users))


def read_ml_20m(folder: Path) -> Source:
    """MovieLens-20M: ratings in half stars, titles and genres of films; nothing is known of the users."""
    log = columns_of(folder / "ratings.csv", ["userId", "movieId", "rating", "timestamp"])
    known = np.ones(len(log.places), bool)
    ratings = pd.DataFrame(
        {
            "user": cells.ids_of(log.text("userId")),
            "item": cells.ids_of(log.text("movieId")),
            "value": log.numbers("rating", known)[0],
            "time": log.times("timestamp", known, "s").values,
        }
    )
    table = columns_of(folder / "movies.csv", ["movieId", "title", "genres"])
    films = pd.DataFrame({name: cells.strings_of(table.text(name)) for name in ("title", "genres")})
    films = films.assign(item=cells.ids_of(table.text("movieId")))
    films["genres"] = films["genres"].mask(films["genres"] == "(no genres listed)")
    return _films("ml-20m", ratings, films, ("genres",))


def read_ncf_ml_1m(folder: Path) -> Source:
    """The NCF paper's split of MovieLens-1M, with its 99 negatives for each held-out item."""
    train = headless(folder / "ml-1m.train.rating", "\t", RATINGS)
    test = headless(folder / "ml-1m.test.rating", "\t", RATINGS)
    path = folder / "ml-1m.test.negative"
    columns = {"pair": "str"} | {f"negative {n}": "int64" for n in range(1, 100)}
    lines = headless(path, "\t", columns)
    pairs = "(" + test["user"].astype(str) + "," + test["item"].astype(str) + ")"
    if not np.array_equal(lines["pair"], pairs):
        raise InputError(f"{path}: its (user,item) pairs are not those of ml-1m.test.rating, line by line")
    return Source("ncf-ml-1m", train, test=test, negatives=lines.drop(columns="pair").to_numpy())


def read_anime(folder: Path, log: str = "anime_ratings.dat") -> Source:
    """Ratings from 1 to 10 on MyAnimeList, or what was watched, each 1, with names, genres and types.

    There are no times and the rows of a user are in no order of theirs, so that --split=random or k-fold suits them
    more than leave-one-out. The catalogue's mean rating and number of members are left out: they count the ratings
    that a test part holds out.
    """
    rows = columns_of(folder / log, ["User_ID", "Anime_ID", "Feedback"])
    users, items = (cells.ids_of(rows.text(name)) for name in ("User_ID", "Anime_ID"))
    values, _ = rows.numbers("Feedback", np.ones(len(rows.places), bool))
    ratings = pd.DataFrame({"user": users, "item": items, "value": values, "time": rows.places})
    table = columns_of(folder / "anime_info.dat", ["anime_ids", "name", "genre", "type"])
    shows = {name: cells.strings_of(table.text(name)) for name in ("name", "genre", "type")}
    films = pd.DataFrame(
        {
            "item": cells.ids_of(table.text("anime_ids")),
            "title": shows["name"].map(html.unescape),  # Wolf&#039;s Rain
            "genres": shows["genre"].str.replace(", ", "|"),
            "type": shows["type"],
        }
    )
    name = "anime" if log == "anime_ratings.dat" else "watched-anime"
    return _films(name, ratings, films, ("genres", "type"))._replace(unit="rows")


def _films(
    name: str, ratings: pd.DataFrame, films: pd.DataFrame, categories: tuple[str, ...], users: Attributes | None = None
) -> Source:
    items = Attributes(films["item"], films, text=("title",), categories=categories)
    return Source(name, ratings, films.set_index("item")["title"], items=items, users=users)


def _people(path: Path, separator: str, columns: dict[str, str]) -> Attributes | None:
    """Age group, gender and occupation of the users; None where the file is missing.

    MovieLens-1M has the groups of AGES alone, by their youngest year, and MovieLens-100K years, which become them.
    """
    if not path.is_file():
        return None
    users = headless(path, separator, columns)
    users["age"] = pd.cut(users["age"], [*AGES, np.inf], right=False, labels=list(AGES.values())).astype("str")
    return Attributes(users["user"], users, categories=("age", "gender", "occupation"))
