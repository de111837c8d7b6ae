"""The contract every recommender fulfils, and the arrays that pass through it.

Shape legend, used in every docstring and at line ends:

    U users      I items        B batch      R interactions (rows of the log)
    H history    L window       P targets    N negatives
    K candidates or cut-off     D factors    heads attention heads

Ids are dense int32: users 0..U-1, items 0..I-1. Row I of an item table is padding and stays zero; row U of a user
table is the unknown user and stays zero. Histories are oldest first and padded with I on the left, so that column
H-1 is always the latest interaction.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    import scipy.sparse  # takes a fifth of a second, which help should not cost

    Matrix: TypeAlias = np.ndarray | scipy.sparse.csr_matrix  # [n, F] float32, on the host
else:
    Matrix = Any

Array = jax.Array
ArrayLike = jax.Array | np.ndarray
Params = Any  # a pytree: {'tables': {name: [rows, D]}, 'net': ..., 'held': ...}; see Gradient
LOG_ODDS = "log-odds of an interaction"  # a `unit` of which 1 / (1 + e^-s) makes a probability
LOG_PROBABILITY = "log-probability of an item, up to a constant"  # one of which the softmax over the catalogue does


class InputError(ValueError):
    """Bad input by the user: one line that names the flag, file, row or column and what is legal."""


class Interactions(NamedTuple):
    """One part of the data (train, validation or test), sorted by user and then, stably, by time."""

    users: ArrayLike  # [R] int32
    items: ArrayLike  # [R] int32
    values: ArrayLike  # [R] float32: rating, quantity, or 1 for a click
    order: ArrayLike  # [R] int32: the row's place in the whole log under a stable sort by time
    offsets: ArrayLike  # [U + 1] int32: rows offsets[u]:offsets[u + 1] are user u's
    known: ArrayLike  # [R] int32: the same items in ascending order within a user, for membership tests
    bits: ArrayLike | None = None  # [U, I // 32 + 1] uint32, of a small log: bit i % 32 of word i // 32 says the same


class Data(NamedTuple):
    """What a model's factory sees: the sizes, the training part, and what is known of items and users beside it."""

    num_users: int
    num_items: int
    train: Interactions
    features: Matrix | None = None  # [I, F] float32: what is known of the items beside who chose them
    user_features: Matrix | None = None  # [U, G] float32: what is known of the users beside what they chose
    ordered: bool = False  # the log has times, by which what is held out of a user came after all of training


class Given(NamedTuple):
    """What a model's functions read of the data, as arguments: a compiled program holds none of it.

    The engine moves it to the device once.
    """

    train: Interactions
    own: Any = ()  # a pytree of arrays that the factory made of the data: windows, a graph, features


class Query(NamedTuple):
    """Whom to score for. A user never seen in training is row U with a history."""

    users: Array  # [B] int32, U for an unknown user
    history: Array  # [B, H] int32, oldest first, padded with I on the left
    values: Array  # [B, H] float32, 0 at padding


@dataclass(frozen=True)
class Rows:
    """What a loss may see in place of a table: its rows by an array of ids, and nothing else that an array can do."""

    shape: tuple[int, ...]
    dtype: Any
    read: Callable[[Array], Array]  # ids [...] -> rows [..., D]

    def __getitem__(self, ids: Array | slice) -> "Array | Rows":
        if isinstance(ids, slice):  # the first rows alone
            return Rows((len(range(self.shape[0])[ids]), *self.shape[1:]), self.dtype, self.read)
        if not jnp.issubdtype(getattr(ids, "dtype", object), jnp.integer):
            raise TypeError(f"a table's rows are read by an array of integers, not by {ids!r}")
        return self.read(ids)


class Gradient(NamedTuple):
    """A model that learns by gradient steps: `rows` examples in an epoch, by default `batch` of them a step.

    Steps move the `tables` and the `net` of the params. What stands below a third key, `held`, is set by `init` and
    `advance` alone, and has no gradient: a closed form, a schedule's value, a copy of other parameters. Weight decay is
    on what is called a kernel in `net`, as Flax's layers call their matrices. Where rows have `lengths`, `sample` pads
    all of them to one width, and a step takes them in strata of like length, of which `narrow` cuts the padding.
    """

    rows: int
    init: Callable[[Array, Given], Params]  # key, given -> params
    sample: Callable[[Array, Given, Array], Any]  # key, given, rows [B] -> batch, drawn on the device
    loss: Callable[[Params, Given, Any, Array], tuple[Array, dict[str, Array]]]
    # params, given, batch, key -> mean loss [], sums
    batch: int = 1024
    advance: Callable[[Params, Array], Params] | None = None  # params, n -> params as epoch n (from 1) starts
    ranks: bool = False  # what `init` gives ranks already, so it is evaluated too, as epoch 0
    epochs: int = 20  # this and what follows: how it is trained if a run does not say
    learning_rate: float = 0.001
    schedule: str = "constant"
    lengths: np.ndarray | None = None  # [rows] int: columns of each row that are not padding, if a batch has columns
    narrow: Callable[[Any, int], Any] | None = None  # batch, width -> its last columns, if it has them


class ClosedForm(NamedTuple):
    """A model that learns in sweeps over all of the data: one for counts and closed forms, several for ALS."""

    sweeps: int
    init: Callable[[Array, Given], Params]  # key, given -> params before the first sweep
    sweep: Callable[[Params, Given, Array], Params]  # params, given, key -> params


class Recommender(NamedTuple):
    """A recommender as pure functions, as an Optax optimizer is a pair of them, and the data that they are given.

    `history` is the number of latest interactions H that a query must carry (0: the model looks at the user alone).
    `prepare` runs once before scoring (propagate a graph, project all items); every further function has what it
    returns, `ready`, as its first argument.
    `embed` is None unless the score is an inner product; `attend` is None unless the model attends. With `rates`,
    scores are predictions of the interaction's value, and evaluation adds mse, rmse and mae on the held-out pairs.
    `retrieve` is None unless features alone make a query: it gives what `embed` does, for who wants an item of these.
    `propensities` is None unless the model is a policy: the logarithms of the probabilities that it and the behaviour
    that logged the data choose each item, from which evaluation adds ips and snips of the held-out values.
    `contribute` is None unless the model can say what each past interaction adds to a score, 0 at padding. With
    `additive` that is all that the history does: for an unknown user, it sums to the score less that of no history.
    `falls` is None unless what the score loses without the item of each column, wherever it occurs, 0 at padding, costs
    less to say than to ask again.
    `unit` says in a few words what a score is, where neither `rates` nor `embed` does.
    `order` says what of the order of interactions a model knows: nothing ("no"), all that it reads ("yes"), that of the
    log it learns from and none of a query's ("in training"), or in a few words which interactions are the latest, as
    "latest 100" of a model that reads these as a set.
    """

    learn: Gradient | ClosedForm
    given: Given
    history: int
    prepare: Callable[[Params, Given], Any]  # params, given -> ready
    score: Callable[..., Array]  # ready, query, items [B, K] | None -> [B, K] | [B, I]
    embed: Callable[[Any, Query], tuple[Array, Array]] | None = None  # ready, query -> [B, D], [I, D]
    attend: Callable[[Any, Query, Array], Array] | None = None  # ready, query, items [B, K] -> [B, K, heads, H]
    rates: bool = False
    alone: bool = False  # a user it was trained on is scored by what it learned, whatever the query's history
    retrieve: Callable[[Any, Array], tuple[Array, Array]] | None = None  # ready, features [B, F] -> [B, D], [I, D]
    propensities: Callable[[Any, Query, Array], tuple[Array, Array]] | None = None  # ready, query, items -> 2 x [B, K]
    unit: str = ""
    order: str = "no"
    contribute: Callable[[Any, Query, Array], Array] | None = None  # ready, query, items [B, K] -> [B, K, H], signed
    additive: bool = False
    falls: Callable[[Any, Query, Array], Array] | None = None  # ready, query, items [B, K] -> [B, K, H]
    narrow: int = 0  # not 0: a query may be less wide by its padding, which saves little beyond so many columns


def as_they_are(params: Params, given: Given) -> Params:
    """The `prepare` of a model that scores by its parameters."""
    return params


def moved(params: Params) -> Params:
    """The part of the params that gradient steps move: all but `held`."""
    return {name: part for name, part in params.items() if name != "held"}


def shapes_of(model: Recommender) -> Params:
    """The shapes and types of a model's parameters."""
    return jax.eval_shape(model.learn.init, jax.random.key(0), model.given)


def map_scoring(wrap: Callable[[Callable[..., Any]], Callable[..., Any]], model: Recommender) -> Recommender:
    """The model with `wrap` around every function of what `prepare` returns."""
    parts = model._asdict().items()
    scoring: dict[str, Any] = {name: wrap(part) for name, part in parts if callable(part) and name != "prepare"}
    return model._replace(**scoring)
