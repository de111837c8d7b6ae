"""Attention Neural Collaborative Filtering in JAX, with the baselines it must be measured against.

`load` reads a log, `fit` trains a model on it, `compare` trains several, `tune` searches for settings, and `open_run`
opens what was trained before; see api.py. They are imported when they are asked for, so that a script can say what its
flags are at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ancf_jax.api import Dataset, Fitted, InputError, Tuned, compare, fit, load, open_run, tune

__version__ = "0.2.0.dev0"
__all__ = ["Dataset", "Fitted", "InputError", "Tuned", "compare", "fit", "load", "open_run", "tune"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("ancf_jax.api"), name)
    raise AttributeError(f"module 'ancf_jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
