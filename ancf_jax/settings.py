"""What a run is made of beside its model: the data, how it is trained, on which devices, how it is evaluated."""

import math
import re
from dataclasses import dataclass

from ancf_jax.config import AUTO, Auto, Range, Space, field
from ancf_jax.types import InputError

DATASETS = (  # those of data/named.py
    *("ml-100k", "ml-1m", "ml-20m", "ncf-ml-1m", "anime", "watched-anime"),
    *("online-retail", "complete-journey", "amazon-beauty", "steam"),
    *("gowalla", "yelp2018", "amazon-book", "beauty"),
)
SPLITS = ("leave-one-out", "random", "k-fold", "time", "cold-items", "leave-last-basket-out", "ncf", "published")
TARGETS = ("value", "log", "user", "item", "z-score", "min-max")
MAX_SEED = 2**32 - 1
IN_MEMORY = "DataFrame"  # the data set of a run whose log never was in a file
SEARCH: Space = {"learning_rate": Range(0.0003, 0.03, log=True)}  # of how every model of gradient steps is trained


@dataclass(frozen=True)
class DataConfig:
    """What is read, how it is cleaned and how it is split."""

    dataset: str = field(
        "ml-100k",
        f"{', '.join(DATASETS)}, or a file, or a folder of files of one format: .csv .tsv .dat .txt .jsonl .ndjson "
        ".parquet, plain or .gz .bz2 .zst .zip",
    )
    data_dir: str = field("", "where originals are looked for, in a folder of the data set's name ($ANCF_DATA_DIR)")
    user_column: str = field("user", "column of the user ids, for a file")
    item_column: str = field("item", "column of the item ids, for a file")
    value_column: str = field("", "column of ratings or quantities (empty: a row counts 1)")
    time_column: str = field("", "column of times, numbers or dates (empty: file order)")
    basket_column: str = field(
        "",
        "column of baskets, such as invoices, for a file: --split=leave-last-basket-out holds out whole ones, and "
        "--split=time parts none",
    )
    time_format: str = field(
        "",
        "how --time_column is written: a format as of strptime (%d/%m/%Y %H:%M), or s, ms, us or ns for numbers that "
        "count them since 1970 (empty: inferred where one format alone fits all cells)",
    )
    separator: str = field(
        "", "between the columns of a file of text: a character, tab, or :: (empty: the one that finds the columns)"
    )
    decimal: str = field("", "before decimals in a file of text (empty: a point, or a comma where nothing else fits)")
    encoding: str = field(
        "",
        "of files of text, by its name in Python (empty: UTF-8, and UTF-16 with its mark); with utf-8 bytes that are "
        "none become U+FFFD",
    )
    header: tuple[str, ...] = field((), "names of all columns of a file of text whose first line is data")
    na_values: tuple[str, ...] = field((), "texts that stand for a missing cell, as an empty cell does in any case")
    where: str = field(
        "", 'rows of a file that are read: event=purchase, or several conditions: event!=view,price>=10,name="a, b"'
    )
    train_path: str = field("", "a split of your own, in place of --dataset: the file of its training part")
    valid_path: str = field(
        "", "the file of its validation part; without it, a random tenth of each user's training rows"
    )
    test_path: str = field("", "the file of its test part")
    negatives_path: str = field(
        "",
        "items to rank each test row among: lines of (USER,ITEM), then items, between tabs, as the NCF paper's files",
    )
    items_path: str = field("", "a table of items: their ids, titles and features")
    items_id_column: str = field("", "column of the ids in --items_path and --item_vectors (empty: as --item_column)")
    title_column: str = field(
        AUTO, "column of titles in --items_path; auto is 'title' where there is one, empty is none"
    )
    item_text: tuple[str, ...] = field((), "columns of --items_path that are text")
    item_categories: tuple[str, ...] = field(
        (), "columns of --items_path that are categories, several in a cell separated by |"
    )
    item_numbers: tuple[str, ...] = field((), "columns of --items_path that are numbers")
    item_vectors: str = field(
        "", "a vector for each item: .parquet with the column of ids, or .npy whose rows are those of --items_path"
    )
    users_path: str = field("", "a table of users, for models of user features")
    users_id_column: str = field("", "column of the ids in --users_path and --user_vectors (empty: as --user_column)")
    user_categories: tuple[str, ...] = field(
        (), "columns of --users_path that are categories, several in a cell separated by |"
    )
    user_numbers: tuple[str, ...] = field((), "columns of --users_path that are numbers")
    user_vectors: str = field(
        "", "a vector for each user: .parquet with the column of ids, or .npy whose rows are those of --users_path"
    )
    text_terms: int = field(2048, "the most frequent words of the items' text, which are kept", low=1)
    anonymous: str = field(AUTO, "rows without a user, or of --anonymous_ids (auto: drop)", ("drop", "keep"))
    anonymous_ids: tuple[str, ...] | Auto = field(
        AUTO, "user ids that stand for many; --anonymous=keep makes all of them one (empty: none)"
    )
    drop_items: str = field(
        AUTO,
        "rows whose whole item id matches this regular expression, in any case, are dropped (empty: none)",
    )
    returns: str = field(
        AUTO,
        "rows of negative value; match takes them off earlier purchases, and drops those that match none (auto: match, "
        "and drop with --stream; for ratings below 0: keep)",
        ("match", "drop", "keep"),
    )
    min_value: float | Auto = field(AUTO, "rows with a smaller value are dropped (0: none; auto: the data set's own)")
    clip_quantile: float | Auto = field(
        AUTO, "larger values become this quantile of all values (0: none; auto: the data set's own)", low=0, high=1
    )
    repeats: str = field(
        AUTO,
        "rows of one user and item: merge makes them one and hides from rankings what was bought before; keep keeps "
        "all, so that buying again is recommended and tested (auto: keep with baskets, else merge)",
        ("merge", "keep"),
    )
    duplicates: str = field(
        AUTO,
        "the value of rows that --repeats=merge makes one (auto: the data set's own; files latest)",
        ("latest", "sum"),
    )
    user_core: int | Auto = field(AUTO, "least rows of a user, k-core (0: any; auto: the data set's own)", low=0)
    item_core: int | Auto = field(AUTO, "least rows of an item, k-core (0: any; auto: the data set's own)", low=0)
    split: str = field(
        AUTO,
        "how the log is split (auto: as published; leave-last-basket-out with --basket_column; else leave-one-out)",
        SPLITS,
    )
    fractions: tuple[float, ...] = field(
        (0.6, 0.2, 0.2),
        "train, validation, test fractions: of the pairs of user and item for --split=random; of the rows for time, "
        "cut where the time changes next to them; of the items for cold-items",
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
        for side in ("item", "user"):
            if getattr(self, f"{side}s_id_column") and not (
                getattr(self, f"{side}s_path") or getattr(self, f"{side}_vectors")
            ):
                which = f"--{side}s_path or --{side}_vectors"
                raise InputError(f"flag --{side}s_id_column: names a column of {which}, and neither is given")
        if self.time_format and not self.time_column and not self._named():
            raise InputError("flag --time_format: says how --time_column is written, which is not given")
        if self.separator and self.separator not in ("::", "tab", "\\t") and len(self.separator) != 1:
            raise InputError(f"flag --separator: {self.separator!r} is neither one character nor tab nor ::")
        if self.separator in ('"', "\n", "\r"):
            raise InputError(
                f"flag --separator: {self.separator!r} has a meaning of its own; legal is another character"
            )
        if self.decimal not in ("", ".", ",") or (self.decimal and self.decimal == self.separator):
            raise InputError(f"flag --decimal: {self.decimal!r} is neither . nor , or it is --separator as well")
        if len(set(self.header)) < len(self.header):
            raise InputError(f"flag --header: names a column twice: {','.join(self.header)}")
        if self.encoding:
            try:
                "".encode(self.encoding)
            except (LookupError, ValueError) as error:
                raise InputError(
                    f"flag --encoding: {self.encoding!r} is none that Python knows, as latin-1 is"
                ) from error
        if self._named():
            files = ("separator", "decimal", "encoding", "header", "na_values", "where", "time_format")
            given = [name for name in files if getattr(self, name) and not (self.items_path or self.users_path)]
            if given:
                raise InputError(
                    f"flag --{given[0]}: is for files, and --dataset={self.dataset} is read as it is written"
                )
        if self.fold >= self.folds:
            raise InputError(f"flag --fold: {self.fold} is none of --folds={self.folds}; legal are 0..{self.folds - 1}")
        if bool(self.train_path) != bool(self.test_path) or (self.valid_path and not self.train_path):
            raise InputError("flags --train_path, --test_path: give both, and --valid_path if there is one, or none")
        if self.train_path and self.dataset != DataConfig.dataset:
            raise InputError(f"flags --dataset={self.dataset} and --train_path={self.train_path}: give one of them")
        if self.train_path and self.split != AUTO:
            raise InputError(
                f"flag --split: {self.split!r} splits a log, and --train_path names parts; give one of them"
            )
        if self.split == "leave-last-basket-out" and not self.basket_column and self.dataset not in DATASETS:
            raise InputError("flag --split: leave-last-basket-out needs --basket_column")
        if self.repeats == "keep" and self.duplicates != AUTO:
            raise InputError(
                f"flag --duplicates: {self.duplicates} makes one of what --repeats=keep keeps; give one of them"
            )
        if self.stream:
            self._check_stream()
        try:
            re.compile(self.drop_items)
        except (re.error, OverflowError, RecursionError) as error:
            raise InputError(f"flag --drop_items: {self.drop_items!r} is no regular expression: {error}") from error

    def _named(self) -> bool:
        """Whether the data set is read as its publisher wrote it."""
        return self.dataset in DATASETS and not self.train_path

    def _check_stream(self) -> None:
        """Raises InputError for what needs the whole log in memory."""
        whole = "the whole log in memory"
        if self.split not in (AUTO, "time"):
            raise InputError(f"flag --split: {self.split!r} needs {whole}; legal with --stream is time")
        for name in ("basket_column", "train_path", "negatives_path"):
            if getattr(self, name):
                raise InputError(f"flag --{name}: needs {whole}, so not with --stream")
        if {self.user_core, self.item_core} - {AUTO, 0}:
            raise InputError(f"flags --user_core, --item_core: they need {whole}, so not with --stream")
        streamed = {
            "returns": (AUTO, "drop", "keep"),
            "clip_quantile": (AUTO, 0),
            "repeats": (AUTO, "keep"),
            "duplicates": (AUTO,),
            "target": TARGETS[:2],
        }
        for name, legal in streamed.items():
            if getattr(self, name) not in legal:
                what = " or ".join(f"--{name}={value}" for value in legal if value not in (AUTO, 0)) or "none"
                raise InputError(f"flag --{name}: needs {whole}; legal with --stream is {what}")


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained, whichever model it is."""

    seed: int = field(0, "seed of initialisation, order and sampling", low=0, high=MAX_SEED)
    epochs: int | Auto = field(
        AUTO, "passes over the training rows (auto: the model's own; sweeps may end earlier)", low=1
    )
    batch_size: int = field(0, "training rows in a step (0: the model's own)", low=0)
    optimizer: str = field("adam", "optimizer", ("adam", "adagrad", "sgd"))
    learning_rate: float | Auto = field(AUTO, "peak learning rate (auto: the model's own, mostly .001)", above=0)
    schedule: str = field(
        AUTO, "learning rate schedule; cosine warms up (auto: the model's own)", ("constant", "cosine", "cyclical")
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
    metric: str = field(
        "ndcg@10", "validation metric that picks the best epoch: at a cut-off of --ks, or package.module:function"
    )
    knows: str = field(
        "valid",
        "what a model knows when it is tested: the training part alone, or the validation part too, in the history or, "
        "where it reads no history of a user it was trained on, by training again",
        ("train", "valid"),
    )
    until: int = field(0, "stop after so many of --epochs, whose schedule stays (0: after all)", low=0)
    patience: int = field(5, "evaluations without improvement before a stop (0: never)", low=0)
    eval_every: int = field(1, "epochs between evaluations", low=1)
    validate_users: int | Auto = field(
        AUTO,
        "users whom validation ranks for, a sample by --split_seed (0: all; auto: all but of large logs)",
        low=0,
        absent=0,
    )


@dataclass(frozen=True)
class EvalConfig:
    """How a model is evaluated. It changes nothing that is learnt."""

    ks: tuple[int, ...] = field((5, 10, 20), "cut-offs of the metrics of ranks; --metric must be at one", low=1)
    own_metric: tuple[str, ...] = field(
        (), "metrics of one's own as package.module:function, f(ranks, count, visible) -> [B], greater is better"
    )
    clip_predictions: bool = field(False, "predicted values stay within the training part's, but to pick the epoch")
    memory_budget: float = field(1.0, "GiB that ranking may hold at once, besides the model and the data", above=0)

    def __post_init__(self) -> None:
        if not self.ks or len(set(self.ks)) < len(self.ks):
            raise InputError("flag --ks: give one whole number from 1 on or several different ones, as in 5,10,20")
