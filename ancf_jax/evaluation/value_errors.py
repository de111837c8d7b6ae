"""Errors of predicted values, for models whose scores are predictions (`rates`): mse, rmse and mae.

They are over all held-out pairs, as the field has them, and not means over users: a user with more pairs counts more.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from ancf_jax.data.samplers import Windows, take_window, windows
from ancf_jax.evaluation import metrics
from ancf_jax.types import Array, Interactions, Query

InUnits = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # users, items, predicted -> predicted [R]
WIDTH = 64  # pairs of one user that are predicted at once


def as_predicted(users: np.ndarray, items: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The `InUnits` of a model that predicts values in the units of the held-out ones."""
    return predicted


def make_predictor(
    predicted: Callable[[Any, Query, Array], dict[str, Array]],
    ask: Callable[..., Query],
    held_out: Interactions,
    num_items: int,
) -> tuple[Windows, Callable[..., dict[str, Array]]]:
    """The rows (users [W], ends [W]) that hold all pairs of `held_out`, and the function that predicts some of them.

    A row is a window of at most WIDTH pairs of one user. predict(ready, asked, seen, held_out, users [B], ends [B])
    gives what predicted(ready, query, items [B, P]) does and the pairs' places in held_out, each [B, P], the place R
    where a window has fewer pairs; `ask` makes a query from asked and users.
    """
    counts = np.diff(held_out.offsets)
    width = min(int(counts.max()), WIDTH)

    def predict(
        ready: Any, asked: Any, seen: Interactions, held_out: Interactions, users: Array, ends: Array
    ) -> dict[str, Array]:
        items, _ = take_window(held_out, users, ends, width, num_items)  # [B, P]
        places = jnp.where(items < num_items, ends[:, None] - width + jnp.arange(width), len(held_out.items))
        return predicted(ready, ask(asked, users), jnp.minimum(items, num_items - 1)) | {"places": places}

    return windows(np.asarray(held_out.offsets), width), predict


def per_user(
    held_out: Interactions, predicted: np.ndarray, places: np.ndarray, in_units: InUnits = as_predicted
) -> dict[str, np.ndarray]:
    """mse, rmse and mae as values of users [E], whose means over users are the errors over all pairs.

    With S_u the sum of a user's squared errors, n_u the number of the user's pairs and n its mean over users,

        mse_u = mse + (S_u - mse n_u) / n,    rmse_u = rmse + (mse_u - mse) / (2 rmse)

    and mae_u like mse_u, see ratio_per_user. With one pair a user, mse_u is the squared error. `predicted` and `places`
    [W, P] as predicted; `in_units` makes what is predicted of pairs comparable with their values.
    """
    observed = np.asarray(held_out.values, np.float64)
    ordered = np.empty(len(observed) + 1)  # and a last one for padding
    ordered[places] = predicted
    predicted = in_units(np.asarray(held_out.users), np.asarray(held_out.items), ordered[:-1])
    error = predicted - observed
    one = np.ones(len(error))
    mse, rmse, mae = (float(measure(predicted, observed)) for measure in (metrics.mse, metrics.rmse, metrics.mae))
    squares = ratio_per_user(held_out, error**2, one, mse)
    roots = rmse + (squares - mse) / (2 * rmse or 1.0)
    return {"rmse": roots, "mae": ratio_per_user(held_out, np.abs(error), one, mae), "mse": squares}


def ratio_per_user(held_out: Interactions, numerator: np.ndarray, denominator: np.ndarray, ratio: float) -> np.ndarray:
    """The `ratio` of the sums of two arrays [R] over all pairs as values of users [E], whose mean it is.

    With N_u and D_u a user's own sums, ratio_u = ratio + (N_u - ratio D_u) / mean_u D_u: how far each user moves it, so
    that intervals and tests over users hold for it. Users without a row are left out, the others ascend.
    Source: R. Woodruff, 1971, "A simple method for approximating the variance of a complicated estimate".
    """
    users = np.unique(np.asarray(held_out.users), return_inverse=True)[1]
    above, below = np.bincount(users, numerator), np.bincount(users, denominator)
    return ratio + (above - ratio * below) / (below.mean() or 1.0)
