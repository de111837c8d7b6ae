"""Reads a named data set or a file into one table of user, item, value and time."""

import difflib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from ancf_jax.config import AUTO
from ancf_jax.data.clean import BASKETS, DEFAULT
from ancf_jax.data.named.benchmarks import NAMED, read_named
from ancf_jax.data.read import tables
from ancf_jax.data.read.tables import Attributes, Source, readable
from ancf_jax.settings import DataConfig
from ancf_jax.types import InputError


def read(config: DataConfig) -> Source:
    """Read the data set or file that `config.dataset` names.

    Times are int64 seconds since 1970 where the file has dates, its own numbers otherwise, and the place in the file
    where it has no times. Raises InputError, one line that names the file, flag, column or line, when something is
    missing or is not a number, a date or a table.
    """
    named = config.dataset in NAMED and not config.train_path
    source = read_named(config.dataset, config.data_dir) if named else _read_file(config)
    for flag in ("basket_column", "negatives_path"):
        if named and getattr(config, flag):
            raise InputError(f"flag --{flag}: goes with files; --dataset={config.dataset} has its own")
    if config.items_path:
        source = source._replace(titles=read_titles(config))
    return source


def _read_file(config: DataConfig) -> Source:
    rules, timed = BASKETS if config.basket_column else DEFAULT, bool(config.time_column)
    if config.train_path:
        return Source(Path(config.train_path).name, _read_parts(config), rules=rules, timed=timed)
    path = Path(config.dataset)
    if not path.exists() and not path.suffix and path.name == config.dataset:
        close = _did_you_mean(config.dataset, NAMED)
        raise InputError(f"--dataset={config.dataset} is neither a file nor one of {', '.join(NAMED)}{close}")
    return Source(path.name, _read_log(path, "dataset", config), rules=rules, timed=timed)


def _read_log(path: Path, flag: str, config: DataConfig) -> pd.DataFrame:
    """A file as user, item, value and time of a Source."""
    return log_of(path, _table(path, flag, list(wanted_columns(config).items())), config)


def _read_parts(config: DataConfig) -> pd.DataFrame:
    """The files of a split, one after another, as one log that says which part a row is of."""
    logs = []
    for part, flag in enumerate(("train_path", "valid_path", "test_path")):
        if path := getattr(config, flag):
            logs.append(_read_log(Path(path), flag, config).assign(part=part))
    for column in ("user", "item"):
        if len({log[column].dtype for log in logs}) > 1:  # whole numbers in some files alone are text in all
            logs = [log.assign(**{column: log[column].astype("string")}) for log in logs]
    both = pd.concat(logs, ignore_index=True)
    return both if config.time_column else both.assign(time=np.arange(len(both)))


def source_of(frame: pd.DataFrame, config: DataConfig) -> Source:
    """A log that is in memory, by the columns that `config` names, as `read` gives it. Raises InputError likewise."""
    path = Path(config.dataset)
    for flag, name in wanted_columns(config).items():
        require_columns(path, list(map(str, frame.columns)), {flag: name})
    return Source(config.dataset, log_of(path, frame.reset_index(drop=True), config))


def wanted_columns(config: DataConfig) -> dict[str, str]:
    """The columns of a log that the flags name: flag -> column."""
    flags = ("user_column", "item_column", "value_column", "time_column", "basket_column")
    return {flag: getattr(config, flag) for flag in flags if getattr(config, flag)}


def require_columns(path: Path, columns: list[str], wanted: dict[str, str]) -> None:
    """Raises InputError unless the `columns` of a file are those wanted (flag -> column), and maybe others."""
    for flag, name in wanted.items():
        if columns.count(name) > 1:
            raise InputError(f"{path}: there are {columns.count(name)} columns '{name}' (--{flag}); legal is one")
        if name not in columns:
            close = _did_you_mean(name, columns)
            listed = ", ".join(columns)
            raise InputError(f"{path}: no column '{name}' (--{flag}); its columns are {listed}{close}")


def log_of(path: Path, table: pd.DataFrame, config: DataConfig) -> pd.DataFrame:
    """A file's table, or some of its rows under their places in it, as user, item, value and time of a Source.

    Raises InputError that names the first cell that is not a number or a date and should be.
    """
    user, item = tables.as_ids(table[config.user_column]), tables.as_ids(table[config.item_column])
    # Nothing is asked of the other cells of a row that will be dropped.
    known = item.notna() & (user.notna() | (config.anonymous == "keep"))
    value, time = np.ones(len(table)), np.arange(len(table))
    if config.value_column:
        value = tables.as_numbers(path, table[config.value_column], known)
    if config.time_column:
        time = tables.as_seconds(path, table[config.time_column], known)
    log = pd.DataFrame({"user": user, "item": item, "value": value, "time": time})
    return log.assign(basket=tables.as_ids(table[config.basket_column])) if config.basket_column else log


def read_titles(config: DataConfig) -> pd.Series | None:
    """The titles in --items_path by item id; None where there are none and none are asked for. Raises as `read`."""
    path, (flag, column) = Path(config.items_path), id_column(config, "item")
    title, columns = config.title_column, _columns(path, "items_path")
    if title == AUTO:
        title = "title" if "title" in columns else ""
    if not title:
        require_columns(path, columns, {flag: column})
        return None
    table = _table(path, "items_path", [(flag, column), ("title_column", title)])
    titles = pd.DataFrame({"item": tables.as_ids(table[column]), "title": table[title]})
    return titles.dropna().drop_duplicates("item").set_index("item")["title"].astype("str")


def id_column(config: DataConfig, side: str) -> tuple[str, str]:
    """The flag that names the column of ids in a table of items or users, and the column; `side` is item or user."""
    own = f"{side}s_id_column"
    flag = own if getattr(config, own) else f"{side}_column"
    return flag, getattr(config, flag)


def ids_of(config: DataConfig, side: str) -> pd.Series:
    """The ids in --items_path or --users_path, row by row; `side` is item or user. Raises InputError as `read`."""
    flag, column = id_column(config, side)
    return tables.as_ids(_table(Path(getattr(config, f"{side}s_path")), f"{side}s_path", [(flag, column)])[column])


def read_attributes(config: DataConfig, side: str) -> Attributes:
    """The columns of --items_path or --users_path that flags name as text, categories and numbers.

    `side` is item or user; users have no text. Raises InputError as `read` does.
    """
    path, (flag, column_of_ids) = Path(getattr(config, f"{side}s_path")), id_column(config, side)
    kinds = {kind: getattr(config, f"{side}_{kind}", ()) for kind in ("text", "categories", "numbers")}
    columns = [(f"{side}_{kind}", column) for kind, names in kinds.items() for column in names]
    table = _table(path, f"{side}s_path", [(flag, column_of_ids), *columns])
    ids = tables.as_ids(table[column_of_ids])
    for column in kinds["numbers"]:
        table[column] = tables.as_numbers(path, table[column], ids.notna())
    return Attributes(ids, table, **kinds)


def _columns(path: Path, flag: str) -> list[str]:
    """The names in a file's header."""
    raw, separator = tables.contents(path, flag)
    with readable(path):
        return tables.header(raw, separator)


def _table(path: Path, flag: str, wanted: list[tuple[str, str]]) -> pd.DataFrame:
    """The `wanted` columns (flag, name) of a file with a header."""
    raw, separator = tables.contents(path, flag)
    with readable(path):
        columns = tables.header(raw, separator)
    for named_by, name in wanted:
        require_columns(path, columns, {named_by: name})
    with readable(path):
        table = tables.body(raw, separator, list(dict.fromkeys(name for _, name in wanted)))
    if table.empty:
        raise InputError(f"{path}: no rows below the header")
    return table


def _did_you_mean(name: str, legal: Iterable[str]) -> str:
    spelling = {word.lower(): word for word in legal}
    close = difflib.get_close_matches(name.lower(), spelling, 1)
    return f"; did you mean {spelling[close[0]]}?" if close else ""
