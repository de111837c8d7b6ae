"""Reads a named data set or a file into one table of user, item, value and time."""

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ancf_jax.config import AUTO
from ancf_jax.data.clean import BASKETS, DEFAULT, Changed
from ancf_jax.data.named.benchmarks import NAMED, named_files, read_named
from ancf_jax.data.read import cells
from ancf_jax.data.read.cells import Text
from ancf_jax.data.read.files import BLOCK, files_of
from ancf_jax.data.read.formats.delimited import Dialect
from ancf_jax.data.read.frames import read_frame
from ancf_jax.data.read.tables import Attributes, Source, Table, did_you_mean, joined, names_of, read_table
from ancf_jax.files import at_home
from ancf_jax.settings import IN_MEMORY, DataConfig
from ancf_jax.types import InputError

PARTS = ("train_path", "valid_path", "test_path")


FILES = (*PARTS, "items_path", "users_path", "item_vectors", "user_vectors", "negatives_path")


class Log(NamedTuple):
    """A table as a log, and what was made of its cells."""

    frame: pd.DataFrame  # user, item, value, time, as a Source has them
    unit: str
    form: str  # how times were written
    power: int  # times count 10^-power of what they count as they are written
    changed: list[Changed]
    inferred: list[str]


def read(config: DataConfig) -> Source:
    """Read the data set, file or folder of files that `config.dataset` names.

    Times are int64 in the unit that the Source states, and the place in the file where it has no times. Raises
    InputError, one line that names the file, flag, column or line, when something is missing or is not a number, a
    date or a table, or may be read in two ways.
    """
    named = config.dataset in NAMED and not config.train_path
    source = read_named(config.dataset, config.data_dir) if named else _read_file(config)
    for flag in ("basket_column", "negatives_path"):
        if named and getattr(config, flag):
            raise InputError(f"flag --{flag}: goes with files; --dataset={config.dataset} has its own")
    if named and config.split == "leave-last-basket-out":
        if "basket" not in source.frame:
            raise InputError(f"--split={config.split}: --dataset={config.dataset} has no baskets")
    elif named:
        source = source._replace(frame=source.frame.drop(columns="basket", errors="ignore"))
    if config.items_path:
        source = source._replace(titles=read_titles(config))
    return source


def sums_of(config: DataConfig) -> dict[str, str]:
    """The sha256 of what `read` reads, as it is now: of each file of a named data set, and of each flag that names one.

    Of a folder it is that of its files' bytes one after another. A log in memory has none, nor one that is gone by now.
    """
    found: dict[str, list[Path]] = {}
    with suppress(InputError, OSError):
        if config.dataset in NAMED and not config.train_path:
            found = {path.name: [path] for path in named_files(config.dataset, config.data_dir)}
        elif config.dataset != IN_MEMORY and not config.train_path:
            found["dataset"] = [file.path for file in files_of(config.dataset, "dataset")]
        for flag in FILES:
            if path := getattr(config, flag):
                found[flag] = (
                    [file.path for file in files_of(path, flag)] if at_home(path).is_dir() else [at_home(path)]
                )
        return {name: _sum_of(paths) for name, paths in found.items()}
    return {}


def _sum_of(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    return digest.hexdigest()


def _read_file(config: DataConfig) -> Source:
    path = at_home(config.train_path or config.dataset)
    if not path.exists() and not path.suffix and path.name == config.dataset:
        close = did_you_mean(config.dataset, NAMED)
        raise InputError(f"--dataset={config.dataset} is neither a file nor one of {', '.join(NAMED)}{close}")
    parts = [n for n, flag in enumerate(PARTS) if getattr(config, flag)]  # no file of a split: the log is one
    tables: list[Table] = []
    for flag in [PARTS[n] for n in parts] or ["dataset"]:
        first = int(tables[-1].places[-1]) + 1 if tables else 0
        tables.append(read_log(getattr(config, flag), flag, config, first))
    table = joined(tables)
    log = log_of(table, config)
    if parts:
        log.frame["part"] = np.repeat(parts, [len(each.places) for each in tables])
    return _source(path.name, table, log, config)


def read_log(name: str, flag: str, config: DataConfig, first: int = 0) -> Table:
    """The columns of a log, `name`, in the rows that --where keeps, as flags say that it is written.

    `first` is the place of its first row, where other tables come before it.
    """
    return read_table(name, flag, wanted_columns(config).items(), dialect_of(config), config.where, first)


def dialect_of(config: DataConfig) -> Dialect:
    """What flags say of how a log is written."""
    separator = {"tab": "\t", "\\t": "\t"}.get(config.separator, config.separator)
    return Dialect(separator, config.encoding, config.header, config.decimal, config.na_values)


def source_of(frame: pd.DataFrame, config: DataConfig) -> Source:
    """A log that is in memory, by the columns that `config` names, as `read` gives it. Raises InputError likewise."""
    table = read_frame(frame, config.dataset, wanted_columns(config).items(), dialect_of(config), config.where)
    source = _source(config.dataset, table, log_of(table, config), config)
    return source._replace(titles=read_titles(config)) if config.items_path else source


def _source(name: str, table: Table, log: Log, config: DataConfig) -> Source:
    return Source(
        name,
        log.frame,
        rules=BASKETS if config.basket_column else DEFAULT,
        unit=log.unit,
        removed=table.removed,
        changed=(*table.changed, *log.changed),
        inferred=(*table.inferred, *log.inferred),
    )


def wanted_columns(config: DataConfig) -> dict[str, str]:
    """The columns of a log that the flags name: flag -> column."""
    flags = ("user_column", "item_column", "value_column", "time_column", "basket_column")
    return {flag: getattr(config, flag) for flag in flags if getattr(config, flag)}


def log_of(table: Table, config: DataConfig) -> Log:
    """A table, or a part of it, as a log; the index of its frame is the places of its rows.

    Raises InputError that names the first cell that is not a number or a date and should be.
    """
    texts = {name: table.text(getattr(config, f"{name}_column")) for name in ("user", "item")}
    user, item = (cells.ids_of(text) for text in texts.values())
    # Nothing is asked of the other cells of a row that will be dropped.
    known = (item.notna() & (user.notna() | (config.anonymous == "keep"))).to_numpy()
    value, time = np.ones(len(known)), table.places
    inferred = [remark for name, text in texts.items() for remark in _decimals(getattr(config, f"{name}_column"), text)]
    unit, form, power = "rows", "", 0
    if config.value_column:
        value, comma = table.numbers(config.value_column, known)
        if comma:
            inferred.append(f"column '{config.value_column}': a comma stands before decimals")
    if config.time_column:
        times = table.times(config.time_column, known, config.time_format)
        time, unit, form, power = times.values, times.unit, times.form, times.power
        if times.remark:
            inferred.append(f"column '{config.time_column}': {times.remark}")
    frame = pd.DataFrame({"user": user, "item": item, "value": value, "time": time}).set_index(table.places)
    if config.basket_column:
        texts["basket"] = table.text(config.basket_column)
        frame["basket"] = cells.ids_of(texts["basket"]).set_axis(frame.index)
    changes = [change for name, text in texts.items() for change in _changes(name, text)]
    return Log(frame, unit, form, power, changes, inferred)


def read_titles(config: DataConfig) -> pd.Series | None:
    """The titles in --items_path by item id; None where there are none and none are asked for. Raises as `read`."""
    wanted = id_column(config, "item")
    title = config.title_column
    if title == AUTO:
        file = files_of(config.items_path, "items_path")[0]
        names, _ = names_of(file, Dialect(encoding=config.encoding), [wanted[1]])
        title = "title" if "title" in names else ""
    table = _side_table(config, "item", [("title_column", title)] if title else [])
    if not title:
        return None
    ids, titles = cells.ids_of(table.text(wanted[1])), table.text(title)
    frame = pd.DataFrame({"item": ids, "title": cells.strings_of(titles)})
    return frame.dropna().drop_duplicates("item").set_index("item")["title"].astype("str")


def id_column(config: DataConfig, side: str) -> tuple[str, str]:
    """The flag that names the column of ids in a table of items or users, and the column; `side` is item or user."""
    own = f"{side}s_id_column"
    flag = own if getattr(config, own) else f"{side}_column"
    return flag, getattr(config, flag)


def ids_of(config: DataConfig, side: str) -> pd.Series:
    """The ids in --items_path or --users_path, row by row; `side` is item or user. Raises InputError as `read`."""
    return cells.ids_of(_side_table(config, side).text(id_column(config, side)[1]))


def read_attributes(config: DataConfig, side: str) -> Attributes:
    """The columns of --items_path or --users_path that flags name as text, categories and numbers.

    `side` is item or user; users have no text. Raises InputError as `read` does.
    """
    kinds = {kind: getattr(config, f"{side}_{kind}", ()) for kind in ("text", "categories", "numbers")}
    columns = [(f"{side}_{kind}", column) for kind, names in kinds.items() for column in names]
    table = _side_table(config, side, columns)
    ids = cells.ids_of(table.text(id_column(config, side)[1]))
    frame = {name: cells.strings_of(table.text(name)) for kind in ("text", "categories") for name in kinds[kind]}
    known = ids.notna().to_numpy()
    frame |= {name: pd.Series(table.numbers(name, known)[0]) for name in kinds["numbers"]}
    return Attributes(ids, pd.DataFrame(frame, index=ids.index), **kinds)


def _side_table(config: DataConfig, side: str, wanted: Iterable[tuple[str, str]] = ()) -> Table:
    """The ids and the `wanted` columns (flag, name) of --items_path or --users_path."""
    columns = [id_column(config, side), *wanted]
    path, flag = getattr(config, f"{side}s_path"), f"{side}s_path"
    return read_table(path, flag, columns, dialect_of(config)._replace(separator="", header=()))


def _changes(name: str, text: Text) -> list[Changed]:
    """What was done to the ids of a column."""
    found = [
        Changed(f"white space around the {name}'s id taken off", text.stripped),
        Changed(f"Unicode of the {name}'s id composed (NFC)", text.composed),
    ]
    return [change for change in found if change.rows]


def _decimals(column: str, text: Text) -> list[str]:
    """A sentence on ids such as 17850.0, which stay as they are."""
    if not cells.all_whole_decimals(text):
        return []
    return [f"column '{column}': ids such as {text.words.drop_null()[0]} are text as written, not whole numbers"]
