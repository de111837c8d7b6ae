"""How large a model's programs are: they hold no data, so at any size of log they are equally large."""

from typing import Any

import jax
import numpy as np
from jax.extend import core

from ancf_jax.settings import TrainConfig
from ancf_jax.training.batches import order_of
from ancf_jax.training.loop import init_state, make_epoch
from ancf_jax.training.optimizers import make_optimizer
from ancf_jax.types import ArrayLike, ClosedForm, Query, Recommender, shapes_of

STEPS, BATCH = 2, 4


def program_sizes(model: Recommender, query: Query, items: ArrayLike, features: ArrayLike) -> dict[str, int]:
    """The sizes of a model's programs as JAX traces them: its epoch, prepare and scoring. See `size_of`.

    Args:
        query: whom to score for; B users.
        items: which items of each, [B, K].
        features: of what is wanted, for a model that retrieves, [B, F].
    """
    tx = make_optimizer(TrainConfig(optimizer="sgd", learning_rate=0.001), STEPS)
    shape = (1, 0) if isinstance(model.learn, ClosedForm) else (STEPS, BATCH)
    order = dict.fromkeys(order_of(model.learn, BATCH, 0, 1), np.zeros(shape, np.int32))
    state = jax.eval_shape(lambda: init_state(model, tx, 0))
    params, key = shapes_of(model), jax.random.key(0)
    ready = jax.eval_shape(model.prepare, params, model.given)
    programs: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "epoch": (make_epoch(model.learn, tx), (state, model.given, order, key)),
        "prepare": (model.prepare, (params, model.given)),
        "score": (model.score, (ready, query)),
        "score of items": (model.score, (ready, query, items)),
        "embed": (model.embed, (ready, query)),
        "attend": (model.attend, (ready, query, items)),
        "contribute": (model.contribute, (ready, query, items)),
        "falls": (model.falls, (ready, query, items)),
        "propensities": (model.propensities, (ready, query, items)),
        "retrieve": (model.retrieve, (ready, features)),
    }
    given = {name: program for name, program in programs.items() if program[0] is not None}
    return {name: size_of(jax.make_jaxpr(function)(*args)) for name, (function, args) in given.items()}


def size_of(part: Any) -> int:
    """The equations of a traced program, those inside them too, and the numbers in all of its constants."""
    if isinstance(part, core.ClosedJaxpr | core.Jaxpr):
        inside = sum(1 + size_of([*equation.params.values(), *equation.invars]) for equation in part.eqns)
        return inside + sum(map(np.size, getattr(part, "consts", ())))
    if isinstance(part, core.Literal):
        return np.size(part.val)
    if isinstance(part, list | tuple):
        return sum(map(size_of, part))
    return np.size(part) if isinstance(part, np.ndarray | jax.Array) else 0
