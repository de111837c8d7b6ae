"""Metrics of ranks, in programs of their own that all models and parts share: most of what an evaluation compiles."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from ancf_jax.evaluation import metrics
from ancf_jax.evaluation.ranks import Ranks, untied
from ancf_jax.types import Array

Metric = Callable[[Ranks, Array, Array], Array]  # ranks, held-out items [B], ranked ones [B] -> [B]; greater is better

_ranking = jax.jit(metrics.ranking, static_argnames="ks")
_graded_ndcg = jax.jit(metrics.graded_ndcg, static_argnames="k")


class Counted(NamedTuple):
    """What metrics of ranks are made of."""

    ranks: Ranks  # [B, P]
    held: Array  # [B] how many items are held out
    visible: Array  # [B] how many are ranked
    gains: Array | None = None  # [B, P] of the held-out items, 0 or more, where they are graded


def measured(counted: Counted, ks: tuple[int, ...], own: Mapping[str, Metric]) -> dict[str, Array]:
    """The metrics [B] of what is counted by their names, at `ks`, with those of one's `own`."""
    ranks, held, visible, gains = counted
    values = _ranking(ranks, held, visible, ks=ks)
    values |= {name: jax.jit(metric)(ranks, held, visible) for name, metric in own.items()}
    if gains is not None:
        values |= {f"gndcg@{k}": _graded_ndcg(ranks, gains, k) for k in ks}
    return values


def names(ks: tuple[int, ...], own: Mapping[str, Metric], *, graded: bool = False) -> list[str]:
    """The names of what `measured` gives."""
    one = jax.ShapeDtypeStruct((1,), np.int32)
    ranks = jax.eval_shape(untied, jax.ShapeDtypeStruct((1, 1), np.float32))
    ranking = jax.eval_shape(partial(_ranking, ks=ks), ranks, one, one)
    return [*ranking, *own, *(f"gndcg@{k}" for k in ks if graded)]
