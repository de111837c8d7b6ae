"""A small data set, and every model on it, trained.

On the checkerboard, users and items of the same parity go together and the diagonal is withheld, so whoever has
understood ranks every user's withheld item above all items of the other parity (after the tests of implicit). Models
that predict values learn from a board where both parities are rated, the user's own highly.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from typing import Any, NamedTuple

import jax
import numpy as np

from ancf_jax.config import from_json, settings_of
from ancf_jax.data.interactions import build
from ancf_jax.data.samplers import take_window
from ancf_jax.models import MODELS, Entry, entry_of
from ancf_jax.settings import TrainConfig
from ancf_jax.training.batches import steps_per_epoch
from ancf_jax.training.loop import TrainState, epochs_of, fit, init_state
from ancf_jax.training.optimizers import make_optimizer
from ancf_jax.types import Data, InputError, Query, Recommender

SIZE = 16  # users, and items
SMALL: dict[str, Any] = {
    "factors": 8,
    "hidden": 8,
    "tower_factors": 4,
    "tower": (8, 4),
    "history": 10,
    "window": 8,
    "negatives": 8,
    "targets": 3,
    "stddev": 0.1,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "ancf, ordered with a layer": {"ordered": True, "layers": 1, "history": 5, "loss": "full_softmax"},
    "ancf, order-free with a layer, scored by a network": {
        "layers": 1,
        "tied": True,
        "scorer": 4,
        "heads": 1,
        "tower": (),
        "user": False,
        "project": False,
    },
    "ancf, no history": {"history": 0},
    "ancf_ratings, ordinal": {"loss": "ordinal"},
    "biased_mf, ordinal": {"loss": "ordinal"},
    "neumf, squared": {"loss": "squared"},
    "gmf, ordinal": {"loss": "ordinal"},
    "autorec, ordinal": {"loss": "ordinal"},
    "content, grouped and recent": {"groups": 4, "half_life": 3.0},
}
NAMES = [*MODELS, *VARIANTS]
OWN: dict[str, dict[str, Any]] = {  # what suits a registered model and its variants
    **{
        name: {"personal": False} for name in ("popularity", "personal", "recent", "random", "global_mean", "item_mean")
    },
    "abcf": {"tower": ()},
    "puresvd": {"factors": 2},  # beyond the two parities all that the board has is alike
    **{name: {"layers": 1} for name in ("sasrec", "esasrec", "hstu", "bert4rec")},  # half as much to compile
}
# Enough for each; windows hold many pairs, and too many steps teach by heart which items are withheld.
STEPS = {"ancf": 30, "caser": 60, "hybrid": 30, "mf": 60}
MANY = 140


@cache
def board(rated: bool = False, copies: int = 1) -> Data:
    """Users and the items of their parity; rated: those at 5, the others at 1. Each user is `copies` times there."""
    rng = np.random.default_rng(0)
    users, items = np.nonzero(~np.eye(SIZE, dtype=bool) & (rated | (np.indices((SIZE, SIZE)).sum(0) % 2 == 0)))
    values = np.where((users + items) % 2, 1, 5) if rated else np.ones(len(users))
    order = rng.permutation(len(users))
    features = np.eye(2)[np.arange(SIZE) % 2] + rng.uniform(0, 0.3, (SIZE, 2))  # the parity, not quite
    shift = np.repeat(np.arange(copies), len(users))
    users, items, values, order = (np.tile(column, copies) for column in (users, items, values, order))
    train = build(users + SIZE * shift, items, values, order + len(users) * shift, SIZE * copies)
    return Data(SIZE * copies, SIZE, train, features.astype(np.float32))


_take_window = jax.jit(take_window, static_argnums=(3, 4))


class Trained(NamedTuple):
    """A model after its steps of Adam, or its sweeps, and its functions compiled."""

    state: TrainState
    prepare: Any
    ready: Any
    score: Any


@dataclass(frozen=True)
class Case:
    """A model on the board."""

    name: str
    entry: Entry
    config: Any
    learning: Mapping[str, Any]  # settings of training that the model wants
    personal: bool  # whether it tells users apart

    @cached_property
    def model(self) -> Recommender:
        """The model on the board that suits it."""
        rated = self.entry.make(self.config, board(rated=True))
        return rated if rated.rates else self.entry.make(self.config, board())

    @property
    def data(self) -> Data:
        """What it is trained on."""
        return board(self.model.rates)

    @cached_property
    def trained(self) -> Trained:
        """What it has learnt."""
        model, states, batch = self.model, [], 16
        steps = steps_per_epoch(model.learn, batch)
        needed = math.ceil(STEPS.get(self.name.partition(",")[0], MANY) / steps)
        epochs = epochs_of(model.learn, self.learning.get("epochs", needed))
        chosen = {"batch_size": batch, "learning_rate": 0.03, **self.learning, "epochs": epochs, "eval_every": epochs}
        training = TrainConfig(**chosen)
        tx = make_optimizer(training, steps_per_epoch(model.learn, training.batch_size) * epochs)
        fit(
            model,
            training,
            init_state(model, tx, training.seed),
            tx,
            validate=None,
            save=lambda state, value, records: states.append(state),
            report=lambda record: None,
        )
        prepare = jax.jit(model.prepare)
        return Trained(states[-1], prepare, prepare(states[-1].params, model.given), jax.jit(model.score))

    def ask(self, users: Sequence[int] = range(SIZE)) -> Query:
        """Users with their histories; SIZE is the unknown user, with nothing known."""
        items, values = self.histories
        chosen = np.array(users, np.int32)
        return Query(*jax.device_put((chosen, items[chosen], values[chosen])))

    @cached_property
    def histories(self) -> tuple[np.ndarray, np.ndarray]:
        """The items and values of all users' histories, and an empty one."""
        train = self.data.train
        items, values = _take_window(train, np.arange(SIZE), train.offsets[1:], self.model.history, SIZE)
        return np.concatenate([items, np.full_like(items[:1], SIZE)]), np.concatenate([values, 0 * values[:1]])

    @cached_property
    def scores(self) -> np.ndarray:
        """The scores [SIZE, SIZE] of all items for all users."""
        return np.asarray(self.trained.score(self.trained.ready, self.ask()))


def case_of(name: str) -> Case:
    """The case `name`: a registered model, a variant of one, or the model in the module `name`.

    Raises InputError if there is none, or if its CONTRACT has what is no setting.
    """
    model = name.partition(",")[0]
    entry = entry_of(model)
    own = OWN.get(model, {}) if model in MODELS else getattr(import_module(model), "CONTRACT", {})
    of_model, of_training = settings_of(entry.config), settings_of(TrainConfig)
    unknown = own.keys() - of_model.keys() - of_training.keys() - {"personal"}
    if unknown:
        raise InputError(f"--model={name}: CONTRACT has {min(unknown)!r}, no setting of the model or of training")
    values = SMALL | own | VARIANTS.get(name, {})
    config: Any = from_json(entry.config, {key: value for key, value in values.items() if key in of_model})
    learning = {key: value for key, value in own.items() if key in of_training}
    return Case(name, entry, config, learning, own.get("personal", True))
