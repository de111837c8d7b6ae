"""How large a model's compiled programs are: they hold no data, so at any size of log they are equally large."""

from typing import Any

import jax
import numpy as np

from ancf_jax.settings import TrainConfig
from ancf_jax.training.loop import init_state, make_epoch
from ancf_jax.training.optimizers import make_optimizer
from ancf_jax.types import ClosedForm, Query, Recommender, shapes_of

STEPS, BATCH = 2, 4


def program_sizes(model: Recommender, query: Query, items: jax.Array, features: jax.Array) -> dict[str, int]:
    """The characters in a model's programs before compilation, constants included: its epoch, prepare and scoring.

    Args:
        query: whom to score for; B users.
        items: which items of each, [B, K].
        features: of what is wanted, for a model that retrieves, [B, F].
    """
    tx = make_optimizer(TrainConfig(), STEPS)
    shape = (1, 0) if isinstance(model.learn, ClosedForm) else (STEPS, BATCH)
    state = jax.eval_shape(lambda: init_state(model, tx, 0))
    params, key = shapes_of(model), jax.random.key(0)
    ready = jax.eval_shape(model.prepare, params, model.given)
    epoch = make_epoch(model.learn, tx).lower(state, model.given, np.zeros(shape, np.int32), key)  # type: ignore[attr-defined]
    lowered: dict[str, Any] = {"epoch": epoch, "prepare": jax.jit(model.prepare).lower(params, model.given)}
    lowered["score"] = jax.jit(model.score).lower(ready, query)
    lowered["score of items"] = jax.jit(model.score).lower(ready, query, items)
    if model.embed is not None:
        lowered["embed"] = jax.jit(model.embed).lower(ready, query)
    if model.attend is not None:
        lowered["attend"] = jax.jit(model.attend).lower(ready, query, items)
    if model.propensities is not None:
        lowered["propensities"] = jax.jit(model.propensities).lower(ready, query, items)
    if model.retrieve is not None:
        lowered["retrieve"] = jax.jit(model.retrieve).lower(ready, features)
    return {name: len(program.as_text()) for name, program in lowered.items()}
