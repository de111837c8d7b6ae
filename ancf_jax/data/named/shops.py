"""The named data sets of shops, each read from the files as their publishers wrote them."""

import ast
import gzip
import html
import sys
from pathlib import Path

import pandas as pd
import pyarrow.compute as arrow

from ancf_jax.data.clean import Rules
from ancf_jax.data.named.originals import columns_of, headless
from ancf_jax.data.read import cells
from ancf_jax.data.read.files import readable
from ancf_jax.data.read.tables import Attributes, Source

RETAIL_EXTRAS = "POST|DOT|C2|23444|23574|AMAZONFEE|BANK CHARGES|CRUK|B|D|M|S"
DENSE = Rules(user_core=5, item_core=5)  # customary where most users have a single row


def read_online_retail(folder: Path) -> Source:
    """A row for each product of an invoice; returns and corrections have negative quantities.

    Codes that are no products are dropped: postage and carriage (POST, DOT, C2, 23444), packing (23574), fees
    (AMAZONFEE, BANK CHARGES, CRUK), bad debt (B), discounts (D), manual entries (M) and samples (S). Vouchers stay.
    A code in small letters is the same code.

    A product is described in several ways, by mistake or over time, and in rows of corrections by what went wrong: its
    title is what it was called most often when it was sold, the first in the alphabet of equals.
    """
    log = columns_of(
        folder / "online_retail.csv.gz",
        ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "CustomerID"],
    )
    user = cells.ids_of(_whole(log.text("CustomerID")))
    item = cells.strings_of(log.text("StockCode")).str.upper()
    known = item.notna().to_numpy()  # all that --anonymous=keep may keep
    value, times = log.numbers("Quantity", known)[0], log.times("InvoiceDate", known)
    sold = pd.DataFrame({"item": item, "title": cells.strings_of(log.text("Description"))})[value > 0].dropna()
    often = sold.value_counts(sort=False).reset_index().sort_values(["count", "title"], ascending=[False, True])
    titles = often.drop_duplicates("item").set_index("item")["title"].astype("str")
    frame = pd.DataFrame({"user": user, "item": item, "value": value, "time": times.values})
    frame["basket"] = cells.ids_of(log.text("InvoiceNo"))
    items = Attributes(titles.index.to_series(), titles.to_frame(), text=("title",))
    rules = Rules(drop_items=RETAIL_EXTRAS, returns="match", duplicates="sum")
    return Source("online-retail", frame, titles, items=items, rules=rules, unit=times.unit)


def _whole(text: cells.Text) -> cells.Text:
    """Customers are whole numbers, which the tables of many tools write as 17850.0 beside missing ones."""
    return text._replace(words=arrow.replace_substring_regex(text.words, r"\.0$", ""))


def read_complete_journey(folder: Path) -> Source:
    """A row for each product in a household's basket; it counts the quantity.

    Its publisher says that the data are simulated, from real shopping patterns, for learning and exploring and not for
    research or decisions; hence the name that results carry. Rows of quantity 0 are dropped. Fuel has quantities of ten
    thousand, as if in thousandths of a gallon, so that quantities are clipped to their 0.99-quantile, which is 12.
    """
    log = columns_of(
        folder / "transactions.parquet",
        ["household_id", "basket_id", "product_id", "quantity", "transaction_timestamp"],
    )
    user, item = (cells.ids_of(log.text(name)) for name in ("household_id", "product_id"))
    known = item.notna().to_numpy()
    value, times = log.numbers("quantity", known)[0], log.times("transaction_timestamp", known)
    frame = pd.DataFrame({"user": user, "item": item, "value": value, "time": times.values})
    frame["basket"] = cells.ids_of(log.text("basket_id"))
    kinds = ["product_type", "product_category", "department"]  # from the finest
    table = _texts(folder / "products.parquet", ["product_id", "brand", "package_size", *kinds])
    table["kind"] = table[kinds[0]].fillna(table[kinds[1]]).fillna(table[kinds[2]])
    titles = (table["kind"] + (", " + table["package_size"]).fillna("")).set_axis(table["product_id"]).dropna()
    items = Attributes(table["product_id"], table, ("kind",), ("department", "product_category", "brand"))
    rules = Rules(min_value=1, clip_quantile=0.99, duplicates="sum")
    users = _households(folder / "demographics.parquet")
    return Source("complete-journey (simulated)", frame, titles, None, None, items, rules, users, times.unit)


def _texts(path: Path, names: list[str]) -> pd.DataFrame:
    """Columns of an original as strings, but for the first, which holds ids."""
    table = columns_of(path, names)
    ids = cells.ids_of(table.text(names[0]))
    return pd.DataFrame({names[0]: ids} | {name: cells.strings_of(table.text(name)) for name in names[1:]})


def _households(path: Path) -> Attributes | None:
    """Age, income, home and family of the third of the households of which they are known; None without the file."""
    if not path.is_file():
        return None
    known = ("age", "income", "home_ownership", "marital_status", "household_size", "kids_count")
    table = _texts(path, ["household_id", *known])
    return Attributes(table["household_id"], table, categories=known)


def read_amazon_beauty(folder: Path) -> Source:
    """Ratings of beauty products on Amazon up to 2014 (McAuley et al., Image-based recommendations on styles and
    substitutes, 2015), in users and items of 5 ratings or more, with titles and categories if meta_Beauty.json.gz is
    there. `--user_core=1 --item_core=1` keep all ratings.
    """
    columns = {"user": "str", "item": "str", "value": "float64", "time": "int64"}
    ratings = headless(folder / "ratings_Beauty.csv", ",", columns)
    path = folder / "meta_Beauty.json.gz"
    products = literals(path, ("asin", "title", "categories")) if path.is_file() else None
    return _described("amazon-beauty", ratings, products)


def read_steam(folder: Path) -> Source:
    """Reviews of games on Steam, one row each with its day (Kang & McAuley, Self-attentive sequential recommendation,
    2018), in users and items of 5 reviews or more, with titles, genres and tags if steam_games.json.gz is there.
    `--user_core=1 --item_core=1` keep all reviews.

    The file holds 7.8 million lines, which are read in minutes.
    """
    path = folder / "steam_reviews.json.gz"
    reviews = literals(path, ("username", "product_id", "date"))
    days = pd.to_datetime(reviews["date"], format="%Y-%m-%d", errors="coerce")
    with readable(path):
        if days.isna().any():
            row = int(days.isna().argmax())
            raise ValueError(f"line {row + 1}: date {reviews['date'][row]!r} is not written as 2018-01-31")
    user, item = (reviews[name].astype("string") for name in ("username", "product_id"))
    seconds = (days - pd.Timestamp("1970-01-01")).dt.total_seconds().astype("int64")
    frame = pd.DataFrame({"user": user, "item": item, "value": 1.0, "time": seconds})
    path = folder / "steam_games.json.gz"
    games = literals(path, ("id", "app_name", "genres", "tags")) if path.is_file() else None
    return _described("steam", frame, games)


def literals(path: Path, keys: tuple[str, ...]) -> pd.DataFrame:
    """What a gzipped file, a Python dict written in every line, holds under `keys`; None where a dict lacks one.

    Nothing in the file is executed. Raises InputError that names the line.
    """
    columns: dict[str, list] = {key: [] for key in keys}
    with readable(path), gzip.open(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                found = ast.literal_eval(line)
                for key, column in columns.items():
                    value = found.get(key)
                    column.append(sys.intern(value) if isinstance(value, str) else value)  # ids recur
            except (ValueError, SyntaxError, TypeError, AttributeError, MemoryError, RecursionError) as error:
                raise ValueError(f"line {number} is not a dict as Python writes it") from error
    return pd.DataFrame(columns, dtype=object)


def _described(name: str, frame: pd.DataFrame, table: pd.DataFrame | None) -> Source:
    """A log, cut down to what is dense, with what a table of ids, titles and (nested) lists of categories knows."""
    if table is None:
        return Source(name, frame, rules=DENSE)
    id_column, title, *lists = table.columns
    table = table[table[id_column].notna()].reset_index(drop=True)
    table["title"] = table[title].map(html.unescape, na_action="ignore").astype("string")
    for column in lists:
        table[column] = table[column].map(lambda cell: "|".join(sorted(_words(cell))) or None)
    ids = table[id_column].astype("string")
    titles = table["title"].set_axis(ids).dropna()
    titles = titles[~titles.index.duplicated()]
    return Source(name, frame, titles, items=Attributes(ids, table, ("title",), tuple(lists)), rules=DENSE)


def _words(cell: object) -> set[str]:
    """The texts in nested lists; none in a cell that is neither."""
    if isinstance(cell, list):
        return {word for part in cell for word in _words(part)}
    return {cell.replace("|", " ")} if isinstance(cell, str) else set()
