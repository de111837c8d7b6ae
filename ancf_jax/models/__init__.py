"""The registry: every recommender by name, with its configuration and its factory."""

from collections.abc import Callable
from typing import Any, NamedTuple

from ancf_jax.models import ancf, bpr, ials, mf, ncf, neighbours, popularity, sasrec
from ancf_jax.types import Data, Recommender


class Entry(NamedTuple):
    """A frozen dataclass of hyperparameters, and make(config, data) -> Recommender."""

    config: type
    make: Callable[[Any, Data], Recommender]


MODELS = {
    "popularity": Entry(popularity.Config, popularity.make),
    "itemknn": Entry(neighbours.Config, neighbours.make),
    "mf": Entry(mf.Config, mf.make),
    "bpr": Entry(bpr.Config, bpr.make),
    "ials": Entry(ials.Config, ials.make),
    "gmf": Entry(ncf.GMF, ncf.make_gmf),
    "mlp": Entry(ncf.MLP, ncf.make_mlp),
    "neumf": Entry(ncf.NeuMF, ncf.make),
    "ancf": Entry(ancf.Config, ancf.make),
    "sasrec": Entry(sasrec.Config, sasrec.make),
}
