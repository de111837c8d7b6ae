"""Features: what is known of items, or of users, beside who chose what, as one vector for each.

Text is TF-IDF (Salton & Buckley, Term-weighting approaches in automatic text retrieval, 1988), a category is a column
of 0 and 1, numbers are standardised, and vectors of any other kind, of pictures say, come ready-made. Each kind is a
block of columns, divided by what makes its rows of length 1 in root mean square, so that no kind drowns another:

    x_i = [block_1i / r_1, block_2i / r_2, ...],   r_k^2 = mean of |block_ki|^2 over the items i whose block is not 0

Words and categories are many and mostly absent, so that with one of these kinds the vectors are a sparse matrix; who
needs them dense asks for the memory first.
"""

import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse
from pandas.api import types as dtypes

from ancf_jax.data.read import cells
from ancf_jax.data.read.files import File, readable
from ancf_jax.data.read.formats import parquet
from ancf_jax.data.read.sources import id_column, ids_of, read_attributes
from ancf_jax.data.read.tables import Attributes, require_columns
from ancf_jax.devices.memory import check_machine
from ancf_jax.files import at_home
from ancf_jax.settings import DataConfig
from ancf_jax.types import InputError, Matrix

SEPARATOR = "|"  # between several categories in a cell, as MovieLens writes genres
SHORTER = "fewer or shorter vectors"


class Words(NamedTuple):
    """The words that text is made of: what makes TF-IDF of other text."""

    terms: np.ndarray  # [T] str, in alphabetical order
    idf: np.ndarray  # [T] float32: the inverse document frequency of each


class Categories(NamedTuple):
    """Which categories items are of."""

    names: list[str]  # [C], in alphabetical order
    of: scipy.sparse.csr_matrix  # [I, C] float32: 1 where the item is of the category


class Features(NamedTuple):
    """The features of all items, or of all users, and how words become such a vector."""

    vectors: Matrix  # [I, F] float32; zeros where nothing is known of an item
    missing: int  # items of which nothing is known
    kinds: dict[str, int]  # kind -> how many columns it has, in their order
    origins: tuple[np.ndarray, ...]  # what the vectors were made of, for the data set's fingerprint
    words: Words | None  # of the text; None: no text
    repeated: int = 0  # rows of the table whose id an earlier row has, which alone counts


def item_features(config: DataConfig, items: Attributes | None, item_ids: np.ndarray) -> Features | None:
    """The features of the items `item_ids` [I] by the columns and the file that flags name; None if there are none.

    Without flags that name columns, those of `items` are taken, which the data set brings itself. Ids are compared as
    text; of rows with the same id the first counts. Raises InputError that names the file, row, column or flag.
    """
    if config.item_text or config.item_categories or config.item_numbers:
        items = read_attributes(config, "item")
    return _features(config, "item", items, item_ids)


def user_features(config: DataConfig, users: Attributes | None, user_ids: np.ndarray) -> Features | None:
    """The features [U, F] of the users `user_ids` [U], as `item_features` makes those of items, without text."""
    if config.user_categories or config.user_numbers:
        users = read_attributes(config, "user")
    return _features(config, "user", users, user_ids)


def _features(config: DataConfig, side: str, known: Attributes | None, ids: np.ndarray) -> Features | None:
    """The features [n, F] of the items or users `ids` [n], by what is `known` of them and the file of vectors."""
    blocks: dict[str, Matrix] = {}
    origins: list[np.ndarray] = []
    words = None
    if known is not None:
        frame = known.frame.reset_index(drop=True).reindex(_places(known.ids, ids))
        if known.text:
            documents = _documents(frame[list(known.text)])
            words, blocks["text"] = _tf_idf(documents, known.text, config.text_terms)
            origins.append(np.frombuffer("\0".join(documents).encode(), np.uint8))
        if known.categories:
            hot = scipy.sparse.hstack([_one_hot(frame[name])[1] for name in known.categories], "csr", np.float32)
            blocks["categories"] = hot
            origins += [hot.indptr, hot.indices, np.array(hot.shape)]
        if known.numbers:
            numbers = frame[list(known.numbers)].to_numpy(np.float64, na_value=np.nan)
            blocks["numbers"] = _standardised(numbers)
            origins.append(numbers)
    if path := getattr(config, f"{side}_vectors"):
        listed, vectors = _read_vectors(at_home(path), config, side)
        places, size = _places(listed, ids), len(ids) * vectors.shape[1]
        check_machine(f"--{side}_vectors={path}: {size:,} numbers", 2 * 4 * size, SHORTER)
        blocks["vectors"] = np.where(places[:, None] >= 0, vectors[places], np.float32(0))
        origins.append(blocks["vectors"])
    if not blocks:
        return None
    kinds = {kind: block.shape[1] for kind, block in blocks.items()}
    units = [_unit(block) for block in blocks.values()]
    if any(scipy.sparse.issparse(block) for block in units):
        vectors = scipy.sparse.hstack(units, "csr", np.float32)
        vectors.eliminate_zeros()
        missing = int((np.diff(vectors.indptr) == 0).sum())
    else:
        vectors = np.hstack(units, dtype=np.float32)
        missing = int((~vectors.any(axis=1)).sum())
    repeated = 0 if known is None else int(known.ids.dropna().duplicated().sum())
    return Features(vectors, missing, kinds, tuple(origins), words, repeated)


def encoded(features: Features, text: str) -> np.ndarray:
    """The vector [F] of an item with this text alone; `features` have words."""
    from sklearn.feature_extraction.text import TfidfVectorizer  # takes a second

    assert features.words is not None
    terms, idf = features.words
    vectoriser = TfidfVectorizer(vocabulary={term: place for place, term in enumerate(terms)}, dtype=np.float32)
    vectoriser.idf_ = idf
    found = np.zeros(features.vectors.shape[1], np.float32)
    found[: len(terms)] = vectoriser.transform([_composed(text)]).toarray()[0]
    return found


def item_categories(config: DataConfig, items: Attributes | None, item_ids: np.ndarray) -> Categories | None:
    """The categories of the items `item_ids` [I] by --item_categories, else those that the data set brings itself.

    None if there are none. Raises InputError that names the file, row, column or flag.
    """
    if config.item_categories:
        items = read_attributes(replace(config, item_text=(), item_numbers=()), "item")
    if items is None or not items.categories:
        return None
    frame = items.frame.reset_index(drop=True).reindex(_places(items.ids, item_ids))
    parts = [_one_hot(frame[name]) for name in items.categories]
    names = np.concatenate([part for part, _ in parts])
    found, place = np.unique(names, return_inverse=True)  # a name may be in several columns
    ones, shape = np.ones(len(names), np.float32), (len(names), len(found))
    merge = scipy.sparse.csr_matrix((ones, (np.arange(len(names)), place)), shape)
    of = scipy.sparse.csr_matrix(scipy.sparse.hstack([part for _, part in parts], "csr") @ merge)
    of.data[:] = 1.0
    return Categories(found.tolist(), of)


def _places(listed: pd.Series, ids: np.ndarray) -> np.ndarray:
    """The first row [n] of each of `ids` [n] in a table whose rows are of the ids `listed`, -1 if it has none."""
    rows = pd.Series(np.arange(len(listed)), index=pd.Index(listed.astype("string")))
    rows = rows[rows.index.notna() & ~rows.index.duplicated()]
    return rows.reindex(pd.Index(ids).astype("string"), fill_value=-1).to_numpy(np.int64)


def _unit(block: Matrix) -> Matrix:
    """The block with rows of length 1 in root mean square, those of zeros left out."""
    squares = np.asarray(row_lengths(block)).astype(np.float64) ** 2
    return block / np.float32(np.sqrt(squares[squares > 0].mean())) if squares.any() else block


def row_lengths(rows: Matrix) -> np.ndarray:
    """The length [n] of every row of a matrix [n, F]."""
    from scipy.sparse.linalg import norm

    return norm(rows, axis=1) if scipy.sparse.issparse(rows) else np.linalg.norm(rows, axis=1)


def _composed(text: str) -> str:
    """Text in the one Unicode form that equal texts share."""
    return unicodedata.normalize("NFC", text)


def _documents(columns: pd.DataFrame) -> list[str]:
    """The texts of all columns, put together [I]."""
    texts = columns.astype("string").fillna("")
    return [_composed(text) for text in texts.iloc[:, 0].str.cat(texts.iloc[:, 1:], sep=" ")]


def _tf_idf(documents: list[str], columns: tuple[str, ...], terms: int) -> tuple[Words, Matrix]:
    """The `terms` most frequent words, and the TF-IDF of the documents [I, terms]."""
    from sklearn.feature_extraction.text import TfidfVectorizer  # takes a second, which only features should cost

    vectoriser = TfidfVectorizer(max_features=terms, dtype=np.float32)
    try:
        found = vectoriser.fit_transform(documents).tocsr()
    except ValueError as error:
        raise InputError(f"--item_text={','.join(columns)}: no item has a word of two letters or more there") from error
    return Words(vectoriser.get_feature_names_out(), vectoriser.idf_), found


def _one_hot(column: pd.Series) -> tuple[np.ndarray, scipy.sparse.csr_matrix]:
    """The categories [C], in alphabetical order, and a column of 0 and 1 for each [I, C]; a missing cell has none.

    White space around a category is none of it, and one that a cell has twice counts once.
    """
    words = column.reset_index(drop=True).astype("string").str.split(SEPARATOR).explode().dropna()
    words = words.str.normalize("NFC").str.strip()
    words = words[words != ""]
    codes, names = pd.factorize(words, sort=True)
    places = np.unique(np.asarray(words.index, np.int64) * len(names) + codes)
    ones, size = np.ones(len(places), np.float32), max(len(names), 1)
    hot = scipy.sparse.csr_matrix((ones, (places // size, places % size)), (len(column), len(names)))
    return np.asarray(names, object), hot


def _standardised(numbers: np.ndarray) -> np.ndarray:
    """Columns [I, n] of mean 0 and deviation 1; a missing number is the mean, and a constant column zeros."""
    numbers = numbers - np.nanmean(np.where(np.isnan(numbers).all(axis=0), 0.0, numbers), axis=0)
    deviation = np.sqrt(np.nan_to_num(numbers**2).sum(axis=0) / np.maximum((~np.isnan(numbers)).sum(axis=0), 1))
    return np.nan_to_num(numbers / np.where(deviation > 0, deviation, 1.0))


def _read_vectors(path: Path, config: DataConfig, side: str) -> tuple[pd.Series, np.ndarray]:
    """The ids [n] and the vectors [n, F] in --item_vectors or --user_vectors."""
    if not path.is_file():
        raise InputError(f"--{side}_vectors={path}: no such file")
    if path.suffix == ".npy":
        ids, vectors = _from_npy(path, config, side)
    elif path.suffix == ".parquet":
        ids, vectors = _from_parquet(path, config, side)
    else:
        raise InputError(f"--{side}_vectors={path}: the name must end in .parquet or .npy")
    wrong = np.argwhere(~np.isfinite(vectors))
    if len(wrong):
        raise InputError(f"{path}: row {wrong[0, 0] + 1}: number {wrong[0, 1] + 1} of its vector is not finite")
    return ids, vectors


def _from_npy(path: Path, config: DataConfig, side: str) -> tuple[pd.Series, np.ndarray]:
    """Rows in the order of --items_path or --users_path."""
    flag, table = f"--{side}s_path", getattr(config, f"{side}s_path")
    if not table:
        raise InputError(f"--{side}_vectors={path}: rows without ids follow the rows of {flag}, which is not given")
    ids = ids_of(config, side)
    with readable(path):
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(vectors, np.ndarray):
            raise ValueError("it holds several arrays, as .npz does; legal is one")
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu" or len(vectors) != len(ids):
        raise InputError(
            f"{path}: holds {vectors.dtype} {list(vectors.shape)}; legal are numbers [{len(ids)}, F], a row for each "
            f"row of {flag}={table}"
        )
    check_machine(f"--{side}_vectors={path}: its numbers", 4 * vectors.size, SHORTER)
    return ids, vectors.astype(np.float32)


def _from_parquet(path: Path, config: DataConfig, side: str) -> tuple[pd.Series, np.ndarray]:
    """A column of ids beside either one column of lists or columns of numbers."""
    flag, id_name = id_column(config, side)
    file = File(path, ".parquet")
    names = parquet.schema_of(file).names
    require_columns(file, names, [(flag, id_name)])
    columns = dict(zip(names, parquet.read_columns(file, range(len(names))), strict=True))
    ids = cells.ids_of(cells.text_of(cells.plain(columns.pop(id_name), f"{path}: column '{id_name}'")))
    numbers = pd.DataFrame({name: column.to_pandas() for name, column in columns.items()}, index=ids.index)
    if numbers.shape[1] == 1 and dtypes.is_object_dtype(numbers.iloc[:, 0]):
        lists = numbers.iloc[:, 0]
        present = lists.notna().to_numpy()
        lengths = lists[present].map(len)
        odd = np.flatnonzero(present)[(lengths != lengths.mode().iloc[0]).to_numpy()] if len(lengths) else []
        if len(odd):
            raise InputError(
                f"{path}: row {odd[0] + 1}, column '{lists.name}': {len(lists[odd[0]])} numbers, where others have "
                f"{lengths.mode().iloc[0]}"
            )
        return ids[present], _numeric(path, lists.name, lists[present].tolist())
    if not numbers.shape[1]:
        raise InputError(f"{path}: no column beside '{id_name}'; legal are one of lists or some of numbers")
    return ids, np.column_stack([_numeric(path, name, numbers[name]) for name in numbers])


def _numeric(path: Path, name: Any, cells: Any) -> np.ndarray:
    """Numbers, or lists of numbers of one length, as float32; NaN where one is missing."""
    try:
        if isinstance(cells, pd.Series):
            return cells.to_numpy(np.float32, na_value=np.nan)
        return np.asarray(cells, np.float32)
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: column '{name}' holds neither numbers nor, alone, lists of them") from error


def required(model: str, features: Matrix | None) -> Matrix:
    """The item features [I, F]. Raises InputError that says where the `model` could have them from."""
    if features is None:
        raise InputError(
            f"--model={model}: needs item features; legal are a data set that brings them (ml-100k, online-retail "
            "...), or --items_path with --item_text, --item_categories or --item_numbers, or --item_vectors"
        )
    return features


def dense(rows: Matrix) -> np.ndarray:
    """A matrix [n, F] as an array, for which the memory is to be asked before."""
    return rows if isinstance(rows, np.ndarray) else rows.toarray()
