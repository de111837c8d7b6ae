"""What a run is made of beside its model: the data, how it is trained, on which devices, how it is evaluated."""

import math
import re
from dataclasses import dataclass

from ancf_jax.config import field
from ancf_jax.types import InputError

DATASETS = (  # those of data/named.py
    "ml-100k",
    "ml-1m",
    "ml-20m",
    "ncf-ml-1m",
    "anime",
    "online-retail",
    "complete-journey",
    "amazon-beauty",
    "steam",
    "gowalla",
    "yelp2018",
    "amazon-book",
)
SPLITS = ("leave-one-out", "random", "k-fold", "time", "cold-items", "ncf", "published")
TARGETS = ("value", "log", "user", "item", "z-score", "min-max")
MAX_SEED = 2**32 - 1
IN_MEMORY = "DataFrame"  # the data set of a run whose log never was in a file


@dataclass(frozen=True)
class DataConfig:
    """What is read, how it is cleaned and how it is split."""

    dataset: str = field("ml-100k", f"{', '.join(DATASETS)}, or a .csv/.tsv/.dat/.parquet file")
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
    users_path: str = field("", "a table of users with the user column, for models of user features")
    user_categories: tuple[str, ...] = field(
        (), "columns of --users_path that are categories, several in a cell separated by |"
    )
    user_numbers: tuple[str, ...] = field((), "columns of --users_path that are numbers")
    user_vectors: str = field(
        "", "a vector for each user: .parquet with the user column, or .npy whose rows are those of --users_path"
    )
    text_terms: int = field(2048, "the most frequent words of the items' text, which are kept", low=1)
    anonymous: str = field("", "rows without a user, or of --anonymous_ids (empty: drop)", ("drop", "keep"))
    anonymous_ids: tuple[str, ...] = field((), "user ids that stand for many; --anonymous=keep makes all of them one")
    drop_items: str = field(
        "",
        "rows of items whose whole id is like this regular expression, in any case, are dropped (empty: the data "
        "set's own)",
    )
    returns: str = field(
        "",
        "rows of negative value; match takes them off earlier purchases (empty: the data set's own; files keep)",
        ("match", "drop", "keep"),
    )
    min_value: float = field(0.0, "rows with a smaller value are dropped (0: none)")
    clip_quantile: float = field(0.0, "larger values become this quantile of all values (0: none)", low=0, high=1)
    duplicates: str = field(
        "",
        "rows of one user and item become one, of this value (empty: the data set's own; files latest)",
        ("latest", "sum"),
    )
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
    target: str = field(
        "value", "what models of values learn: log1p, a ratio to a training mean, or standardised values", TARGETS
    )
    stream: bool = field(False, "train from a .parquet file, or a folder of them, that is larger than memory")
    stream_rows: int = field(1_000_000, "training rows that --stream reads, shuffles, learns and saves at once", low=1)

    def __post_init__(self) -> None:
        if len(self.fractions) != 3 or self.fractions[0] == 0 or not math.isclose(sum(self.fractions), 1):
            raise InputError("flag --fractions: legal are three numbers in [0, 1] that sum to 1, the first above 0")
        for name in ("item_text", "item_categories", "item_numbers", "user_categories", "user_numbers"):
            path = "items_path" if name.startswith("item") else "users_path"
            if getattr(self, name) and not getattr(self, path):
                raise InputError(f"flag --{name}: names columns of --{path}, which is not given")
        if self.fold >= self.folds:
            raise InputError(f"flag --fold: {self.fold} is none of --folds={self.folds}; legal are 0..{self.folds - 1}")
        if self.stream and self.split not in ("", "time"):
            raise InputError(f"flag --split: {self.split!r} needs the whole log in memory; legal with --stream is time")
        if self.stream and (self.user_core or self.item_core):
            raise InputError("flags --user_core, --item_core: they need the whole log in memory, so not with --stream")
        streamed = {"returns": ("", "drop", "keep"), "clip_quantile": (0,), "duplicates": ("",), "target": TARGETS[:2]}
        for name, legal in streamed.items():
            if self.stream and getattr(self, name) not in legal:
                what = " or ".join(f"--{name}={value}" for value in legal if value) or "none"
                raise InputError(f"flag --{name}: needs the whole log in memory; legal with --stream is {what}")
        try:
            re.compile(self.drop_items)
        except (re.error, OverflowError, RecursionError) as error:
            raise InputError(f"flag --drop_items: {self.drop_items!r} is no regular expression: {error}") from error


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
    weight_decay: float = field(0.0, "decoupled weight decay, on the matrices of the net's layers alone", low=0)
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
