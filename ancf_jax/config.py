"""Configuration: frozen dataclasses, one field a hyperparameter, and the absl flags made from them.

A flag that is not given holds None, so that a default is written once, in its dataclass, and may differ between models.
"""

import dataclasses
import math
import re
import typing
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from absl import flags

from ancf_jax.types import InputError

Config = TypeVar("Config")


def field(
    default: Any,
    help: str,
    legal: tuple[str, ...] = (),
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
) -> Any:
    """A dataclass field, with what its flag's help shows and `from_flags` checks.

    Args:
        default: the value when the flag is not given; always legal.
        help: one line for people.
        legal: the legal values of a text.
        low: the smallest legal number.
        high: the largest legal number.
        above: the number that every legal one exceeds.
    """
    metadata = {"help": help, "legal": legal, "low": low, "high": high, "above": above}
    return dataclasses.field(default=default, metadata=metadata)


SPLITS = ("leave-one-out", "random", "k-fold", "time", "cold-items", "ncf", "published")
MAX_SEED = 2**32 - 1


@dataclass(frozen=True)
class DataConfig:
    """What is read, how it is cleaned and how it is split."""

    dataset: str = field("ml-100k", "a name (ml-100k, ml-1m, ncf-ml-1m, gowalla ...) or a .csv/.tsv/.dat/.parquet file")
    data_dir: str = field("", "where originals are looked for, in a folder of the data set's name ($ANCF_DATA_DIR)")
    user_column: str = field("user", "column of the user ids, for a file")
    item_column: str = field("item", "column of the item ids, for a file")
    value_column: str = field("", "column of ratings or quantities, for a file; every row counts 1 without it")
    time_column: str = field("", "column of times (numbers or dates), for a file; file order without it")
    items_path: str = field("", "a table of items with the item column and a title column")
    title_column: str = field("title", "column of item titles in --items_path")
    item_text: tuple[str, ...] = field((), "columns of --items_path that are text, for models of item features")
    item_categories: tuple[str, ...] = field(
        (), "columns of --items_path that are categories, several in a cell separated by |"
    )
    item_numbers: tuple[str, ...] = field((), "columns of --items_path that are numbers")
    item_vectors: str = field(
        "", "a vector for each item: .parquet with the item column, or .npy whose rows are those of --items_path"
    )
    text_terms: int = field(2048, "the most frequent words of the items' text, which are kept", low=1)
    min_value: float = field(0.0, "rows with a smaller value are dropped (0: keep all, but for returns)")
    user_core: int = field(0, "users with fewer interactions are dropped, repeatedly (k-core)", low=0)
    item_core: int = field(0, "items with fewer interactions are dropped, repeatedly (k-core)", low=0)
    split: str = field("", "how the log is split; the data set's own split if empty", SPLITS)
    fractions: tuple[float, ...] = field(
        (0.6, 0.2, 0.2),
        "train, validation, test fractions of the rows, for --split=random and time, or items, for cold-items",
        low=0,
        high=1,
    )
    folds: int = field(5, "parts of --split=k-fold, equal to one row", low=2)
    fold: int = field(0, "the part of --split=k-fold that is test; a tenth of the others is validation", low=0)
    split_seed: int = field(0, "seed of random splits, validation parts and candidates", low=0, high=MAX_SEED)
    stream: bool = field(False, "train from a .parquet file, or a folder of them, that is larger than memory")
    stream_rows: int = field(1_000_000, "training rows that --stream reads, shuffles, learns and saves at once", low=1)

    def __post_init__(self) -> None:
        if len(self.fractions) != 3 or self.fractions[0] == 0 or not math.isclose(sum(self.fractions), 1):
            raise InputError("flag --fractions: legal are three numbers in [0, 1] that sum to 1, the first above 0")
        for name in ("item_text", "item_categories", "item_numbers"):
            if getattr(self, name) and not self.items_path:
                raise InputError(f"flag --{name}: names columns of --items_path, which is not given")
        if self.fold >= self.folds:
            raise InputError(f"flag --fold: {self.fold} is none of --folds={self.folds}; legal are 0..{self.folds - 1}")
        if self.stream and self.split not in ("", "time"):
            raise InputError(f"flag --split: {self.split!r} needs the whole log in memory; legal with --stream is time")
        if self.stream and (self.user_core or self.item_core):
            raise InputError("flags --user_core, --item_core: they need the whole log in memory, so not with --stream")


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained, whichever model it is."""

    seed: int = field(0, "seed of initialisation, order and sampling", low=0, high=MAX_SEED)
    epochs: int = field(20, "epochs (sweeps for closed forms stop earlier by themselves)", low=1)
    batch_size: int = field(0, "training rows in a step (0: the model's own)", low=0)
    optimizer: str = field("adam", "optimizer", ("adam", "adagrad", "sgd"))
    learning_rate: float = field(0.001, "peak learning rate", above=0)
    schedule: str = field(
        "constant", "learning rate schedule; cosine warms up first", ("constant", "cosine", "cyclical")
    )
    warmup: float = field(0.05, "fraction of the steps that warm up, for cosine", low=0, high=1)
    cycles: int = field(4, "number of cycles, for cyclical", low=1)
    weight_decay: float = field(0.0, "decoupled weight decay, on the net's matrices alone", low=0)
    clip: float = field(0.0, "global gradient norm limit (0: none)", low=0)
    lazy_rows: bool = field(False, "optimizer steps on the table rows that a batch touched alone")
    precision: str = field(
        "float32", "arithmetic of the nets; tables, optimizer and sums stay float32", ("float32", "bfloat16")
    )
    validation: bool = field(
        True, "pick the best epoch on the validation part; --novalidation trains on it too, all epochs"
    )
    metric: str = field("ndcg@10", "validation metric that picks the best epoch")
    patience: int = field(5, "evaluations without improvement before training stops (0: never)", low=0)
    eval_every: int = field(1, "epochs between evaluations", low=1)


@dataclass(frozen=True)
class MeshConfig:
    """Which devices and processes share the work. A run may resume on others; its results change by rounding alone.

    But for --stream, whose windows depend on the number of processes.
    """

    mesh: str = field(
        "", "devices as data=A,model=B: batches split in A, tables in B (empty: one; data=all of several processes)"
    )
    coordinator: str = field("", "HOST:PORT of process 0, where several processes meet")
    num_processes: int = field(1, "processes that train together", low=1)
    process_id: int = field(0, "the number of this process; process 0 prints and writes", low=0)

    def __post_init__(self) -> None:
        if bool(self.coordinator) != (self.num_processes > 1) or self.process_id >= self.num_processes:
            raise InputError(
                "flags --coordinator, --num_processes, --process_id: legal are all three or none, with at least 2 "
                "processes, numbered from 0"
            )
        if self.coordinator and not re.fullmatch(r".+:\d+", self.coordinator):
            raise InputError(f"flag --coordinator: {self.coordinator!r} is not HOST:PORT")


@dataclass(frozen=True)
class EvalConfig:
    """How a model is evaluated. It changes no result, but for rounding."""

    memory_budget: float = field(1.0, "GiB that ranking may hold at once, besides the model and the data", above=0)


def define_flags(*classes: type, values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines one absl flag for each field of the dataclasses.

    A field that several classes share is one flag, and its help shows every class's default. Defining a flag again
    replaces it, so that scripts may be imported side by side.

    Args:
        classes: dataclasses with fields of type bool, int, float, str, or tuple[one of these, ...].
        values: where the flags are defined; the command line's unless a recipe is read beside it.
    """
    shared: dict[str, list[tuple[type, Any, dataclasses.Field]]] = {}
    for cls in classes:
        for name, (kind, spec) in _fields(cls).items():
            shared.setdefault(name, []).append((cls, kind, spec))
    define: dict[Any, Any] = {
        bool: flags.DEFINE_boolean,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
        tuple: flags.DEFINE_list,
    }
    for name, entries in shared.items():
        kind = entries[0][1]
        assert all(other == kind for _, other, _ in entries), f"--{name} has several types: {entries}"
        text = _help([(_label(cls), spec) for cls, _, spec in entries])
        define[typing.get_origin(kind) or kind](name, None, text, flag_values=values, allow_override=True)


def given_flags(values: flags.FlagValues = flags.FLAGS) -> set[str]:
    """The names of the flags that the command line (or a flag file) sets."""
    return {name for name in values if not values[name].using_default_value}


def from_flags(cls: type[Config], values: flags.FlagValues = flags.FLAGS) -> Config:
    """The dataclass with the flags that were given, and its own defaults for the rest.

    Args:
        cls: a dataclass, its flags defined and parsed; a field without a flag keeps its default.
        values: where the flags were parsed.

    Raises:
        InputError: a value of the wrong type or outside its legal values.
    """
    given = {name: values[name].value for name in _fields(cls) if name in values}
    return from_json(cls, {name: value for name, value in given.items() if value is not None})


def reject_foreign(
    model_name: str, config_cls: type, all_classes: Iterable[type], values: flags.FlagValues = flags.FLAGS
) -> None:
    """Refuses flags that belong to other models alone, which would be ignored in silence.

    Args:
        model_name: the selected model, for the message.
        config_cls: its Config.
        all_classes: every model's Config.
        values: where the flags were parsed.

    Raises:
        InputError: such a flag is given; the message names it and the model's own flags.
    """
    own = _fields(config_cls)
    common = own.keys() | _fields(DataConfig).keys() | _fields(TrainConfig).keys()
    foreign = {name for cls in all_classes for name in _fields(cls)} - common
    for name in sorted(foreign & given_flags(values)):
        legal = ", ".join(f"--{other}" for other in own) or "none"
        raise InputError(f"flag --{name}: not a setting of model {model_name}; its own flags are {legal}")


def to_json(config: Any) -> dict[str, Any]:
    """The fields of a dataclass as JSON holds them (lists for tuples); `from_json` reads them back."""
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(config).items()
    }


def from_json(cls: type[Config], values: Mapping[str, Any]) -> Config:
    """The dataclass with these values, checked, and its own defaults for the rest.

    Raises:
        InputError: an unknown key, a value of the wrong type or outside its legal values.
    """
    fields = _fields(cls)
    checked = {}
    for name, value in values.items():
        if name not in fields:
            raise InputError(f"{name!r} is not a setting of {_label(cls)}; legal are {', '.join(fields)}")
        kind, spec = fields[name]
        if typing.get_origin(kind) is tuple:
            parts = value if isinstance(value, list | tuple) else [value]
            checked[name] = tuple(_check(name, part, typing.get_args(kind)[0], spec) for part in parts)
        else:
            checked[name] = _check(name, value, kind, spec)
    return cls(**checked)


def _fields(cls: type) -> dict[str, tuple[Any, dataclasses.Field]]:
    """Name -> (type, field) for each field of a dataclass."""
    hints = typing.get_type_hints(cls)
    return {spec.name: (hints[spec.name], spec) for spec in dataclasses.fields(cls)}


def _label(cls: type) -> str:
    """What people call a Config: MfConfig is mf, and a bare Config has its module's name."""
    return (cls.__name__.removesuffix("Config") or cls.__module__.rpartition(".")[2]).lower()


def _check(name: str, value: Any, kind: type, spec: dataclasses.Field) -> Any:
    """The value as its field's type, if it is legal."""
    converted = _convert(value, kind)
    if converted is None:
        what = {bool: "true or false", int: "an integer", float: "a finite number", str: "a text"}[kind]
        raise InputError(f"flag --{name}: {value!r} is not {what}")
    legal = spec.metadata.get("legal")
    if legal and converted not in (*legal, spec.default):
        raise InputError(f"flag --{name}: {converted!r} is not one of {', '.join(legal)}")
    low, high, above = (spec.metadata.get(bound) for bound in ("low", "high", "above"))
    inside = (low is None or converted >= low) and (high is None or converted <= high)
    if not inside or (above is not None and converted <= above):
        raise InputError(f"flag --{name}: {converted!r} is out of range; legal is {_range(spec)}")
    return converted


def _convert(value: Any, kind: type) -> Any:
    """The value as a bool, int, float or str; None if it is none, as 2.5 and True are no integers."""
    if kind in (bool, str):
        return value if isinstance(value, kind) else None
    with suppress(TypeError, ValueError, OverflowError):
        number = kind(value)
        if math.isfinite(number) and not isinstance(value, bool) and (isinstance(value, str) or number == value):
            return number
    return None


def _range(spec: dataclasses.Field) -> str:
    """'at least 1', 'above 0 and at most 1', ... or nothing for a field without a range."""
    bounds = (("at least", "low"), ("above", "above"), ("at most", "high"))
    return " and ".join(
        f"{word} {spec.metadata[bound]}" for word, bound in bounds if spec.metadata.get(bound) is not None
    )


def _help(entries: list[tuple[str, dataclasses.Field]]) -> str:
    """The texts of the classes that share a flag, each with its legal values and defaults."""
    texts: dict[str, dict[str, str]] = {}
    for label, spec in entries:
        default = ",".join(map(str, spec.default)) if isinstance(spec.default, tuple) else str(spec.default)
        legal = spec.metadata.get("legal")
        text = spec.metadata.get("help", "") + (f", one of {', '.join(legal)}" if legal else "")
        texts.setdefault(text, {})[label] = default or "''"
    lines = []
    for text, defaults in texts.items():
        same = len(set(defaults.values())) == 1 and len(texts) == 1
        shown = next(iter(defaults.values())) if same else ", ".join(f"{k} {v}" for k, v in defaults.items())
        lines.append(f"{text} (default: {shown})")
    return "; ".join(lines)
