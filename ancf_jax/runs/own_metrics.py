"""Metrics of one's own: a function of ranks in a module that Python can import, named package.module:function.

It is called as metrics.recall is, with a block of B users at once, inside a compiled program:

    def success(ranks, count, visible):
        return metrics.hit_rate(ranks, 3)  # of ancf_jax.evaluation

`ranks.better` [B, P] float32 are the places, from 0, of a user's held-out items, padded with +inf: how many items score
higher. Where `ranks.tied` [B, P] is above 1, so many items have that score, in a random order. `count` [B] is how many
items are held out, `visible` [B] how many are ranked. It returns one number a user [B]; greater is better.
"""

from collections.abc import Iterable
from importlib import import_module

import jax.numpy as jnp
import numpy as np

from ancf_jax.evaluation.counted import Metric
from ancf_jax.evaluation.ranks import untied
from ancf_jax.types import InputError


def own_metrics(names: Iterable[str]) -> dict[str, Metric]:
    """The metrics of these names, package.module:function, each tried on three users.

    Raises InputError if one cannot be imported or called, or does not return a number for each user.
    """
    return {name: _metric(name) for name in names}


def _metric(name: str) -> Metric:
    module, _, function = name.partition(":")
    if not module or not function:
        raise InputError(f"metric {name!r} is none; one of one's own is written package.module:function")
    try:
        found = getattr(import_module(module), function)
        ranks, count = untied(np.array([[0.0, 2.0], [np.inf, 1.0], [np.inf, np.inf]])), jnp.array([2, 1, 0])
        given = jnp.asarray(found(ranks, count, jnp.array([5, 5, 5])))
    except Exception as error:
        raise InputError(f"metric {name}: {type(error).__name__}: {error}; see ancf_jax/runs/own_metrics.py") from error
    if given.shape != count.shape:
        raise InputError(f"metric {name}: returned shape {given.shape} for 3 users; legal is (3,), a number for each")
    return lambda *arguments: jnp.asarray(found(*arguments), jnp.float32)
