"""The registry: every recommender by name, and the file that it is in. A file is imported when its model is asked for.

A model from outside is named by its module, `package.module`: it has `Config`, a frozen dataclass of hyperparameters,
and `make(config, data) -> Recommender`; where they hold, `FEATURES = True` and `STREAMS = True` as in `Entry`; and
`SEARCH`, what a search tries of its settings, some of which may be those of training (ancf_jax/tuning/space.py).
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

from ancf_jax.config import Space
from ancf_jax.types import InputError


class Entry(NamedTuple):
    """Where a model is, and what the engine has to know before it is made."""

    module: str
    config_name: str = "Config"
    make_name: str = "make"
    features: bool = False  # the model reads Data.features, which are not made for those that do not
    streams: bool = False  # a training row is one interaction, read from the log alone, so the log may come in parts

    @property
    def config(self) -> type:
        """The frozen dataclass of hyperparameters."""
        return getattr(import_module(self.module), self.config_name)

    @property
    def make(self) -> Callable[[Any, Any], Any]:
        """make(config, data) -> Recommender."""
        return getattr(import_module(self.module), self.make_name)

    @property
    def search(self) -> Space:
        """What a search tries of the settings of the module's models; empty if it says nothing."""
        return getattr(import_module(self.module), "SEARCH", {})


def _in(family: str, file: str, *names: str, **facts: Any) -> Entry:
    return Entry(f"ancf_jax.models.{family}.{file}", *names, **facts)  # type: ignore[arg-type]


MODELS = {
    "popularity": _in("baselines", "popularity"),
    "recent": _in("baselines", "popularity", "Recent", "make_recent"),
    "personal": _in("baselines", "popularity", "Personal", "make_personal"),
    "random": _in("baselines", "popularity", "Random", "make_random"),
    "global_mean": _in("baselines", "means", "GlobalMean", "make_global_mean"),
    "item_mean": _in("baselines", "means", "ItemMean", "make_item_mean"),
    "itemknn": _in("neighbours", "itemknn"),
    "userknn": _in("neighbours", "userknn"),
    "content": _in("baselines", "content", features=True),
    "ease": _in("linear", "ease"),
    "slim": _in("linear", "slim"),
    "slit": _in("linear", "slit"),
    "puresvd": _in("linear", "puresvd"),
    "mf": _in("factors", "mf"),
    "biased_mf": _in("factors", "biased_mf", streams=True),
    "ratingknn": _in("neighbours", "ratingknn"),
    "userknn_ratings": _in("neighbours", "userknn_ratings"),
    "bpr": _in("factors", "bpr", streams=True),
    "ials": _in("factors", "ials"),
    "gmf": _in("factors", "ncf", "GMF", "make_gmf", streams=True),
    "mlp": _in("factors", "ncf", "MLP", "make_mlp", streams=True),
    "neumf": _in("factors", "ncf", "NeuMF", "make", streams=True),
    "neumf_history": _in("factors", "neumf_history"),
    "ngcf": _in("graph", "ngcf"),
    "lightgcn": _in("graph", "lightgcn"),
    "gfcf": _in("graph", "gfcf"),
    "turbocf": _in("graph", "turbocf"),
    "bspm": _in("graph", "bspm"),
    "chebycf": _in("graph", "chebycf"),
    "attention_matrix": _in("factors", "attention_matrix"),
    "abcf": _in("ancf", "abcf"),
    "ancf": _in("ancf", "ancf"),
    "ancf_ratings": _in("ancf", "ancf_ratings"),
    "hybrid": _in("ancf", "hybrid", features=True),
    "gru4rec": _in("sequential", "gru4rec"),
    "reinforce": _in("sequential", "reinforce"),
    "caser": _in("sequential", "caser"),
    "sasrec": _in("sequential", "sasrec"),
    "esasrec": _in("sequential", "esasrec"),
    "hstu": _in("sequential", "hstu"),
    "bert4rec": _in("sequential", "bert4rec"),
    "autorec": _in("autoencoders", "autorec"),
    "multvae": _in("autoencoders", "multvae"),
    "recvae": _in("autoencoders", "recvae"),
}


def entry_of(name: str) -> Entry:
    """The model called `name`, or the one in the module `name`. Raises InputError if there is neither."""
    if name in MODELS:
        return MODELS[name]
    if "." not in name:
        raise InputError(f"--model={name} is unknown; legal are {', '.join(MODELS)}, or package.module of one's own")
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        if error.name and not f"{name}.".startswith(f"{error.name}."):
            raise  # the module is there, and lacks something itself
        raise InputError(
            f"--model={name}: there is no module {error.name}; it is looked for on Python's path"
        ) from None
    for needed in ("Config", "make"):
        if not hasattr(module, needed):
            raise InputError(f"--model={name}: the module has no `{needed}`; a model has Config and make(config, data)")
    return Entry(name, features=getattr(module, "FEATURES", False), streams=getattr(module, "STREAMS", False))
