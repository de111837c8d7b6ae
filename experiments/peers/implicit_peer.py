"""The same work by implicit: ALS, BPR, and the best items by factors.

implicit's objective for ALS is ours with exponent 0, up to a scale of the factors that no ranking sees: with a for
--unobserved, its confidence is (1 + a) / a and its regularization l2 (1 + a) / a. It does not scale the penalty by
frequency; for another exponent, the mean over all rows of that scale is taken. use_cg follows --solver. These are
defaults: --peer_options=regularization=...,alpha=... replace them, and cg_steps=... the three steps of conjugate
gradients.
"""

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")  # as implicit asks for: it has its own threads

import implicit
import numpy as np
from protocol import CALLS, seconds_of, serve
from scipy.sparse import csr_matrix


def setup(work):
    """The commands for one piece of work."""
    with np.load(work["log"]) as log:
        users, items, train = log["users"], log["items"], log["part"] == 0
    matrix = ones(work, users[train], items[train])
    shared = {"factors": work["config"]["factors"], "num_threads": work["threads"], "random_state": 0, "use_gpu": False}
    if work["what"] == "topn":
        commands = {"go": top_n(work, ones(work, users, items))}
    elif work["model"] == "ials":
        options = als_options(work["config"], matrix) | work["options"]
        steps = options.pop("cg_steps", None)
        model = implicit.als.AlternatingLeastSquares(**shared, **options, iterations=1)
        model.cg_steps = steps or model.cg_steps  # which its constructor does not take
        commands = fitting(model, matrix)
    else:
        options = {"learning_rate": work["train"]["learning_rate"], "regularization": work["config"]["l2"]}
        options |= work["options"]
        commands = fitting(implicit.bpr.BayesianPersonalizedRanking(**shared, **options, iterations=1), matrix)
    return {"version": implicit.__version__}, commands


def ones(work, users, items):
    """The interactions [U, I] as ones."""
    matrix = csr_matrix((np.ones(len(users), np.float32), (users, items)), (work["num_users"], work["num_items"]))
    matrix.data[:] = 1
    return matrix


def als_options(config, matrix):
    """Our hyperparameters as implicit's."""
    a, (users, items) = config["unobserved"], matrix.shape
    counts = np.concatenate([matrix.sum(1).A1 + a * items, matrix.sum(0).A1 + a * users])
    confidence = (1 + a) / a
    penalty = config["l2"] * float(np.mean(counts ** config["exponent"]))
    return {"alpha": confidence, "regularization": penalty * confidence, "use_cg": config["solver"] == "cg"}


def fitting(model, matrix):
    """One iteration a run, timed by implicit itself, which leaves its preparation of the matrix out."""

    def go(_):
        seconds = []
        model.fit(matrix, show_progress=False, callback=lambda _, elapsed, *rest: seconds.append(elapsed))
        return {"seconds": seconds[0]}

    def save(path):
        np.savez(path, user=model.user_factors, item=model.item_factors)
        return {}

    return {"go": go, "save": save}


def top_n(work, matrix):
    """The best unseen items of the same users, by random factors of the same width."""
    rng = np.random.default_rng(0)
    model = implicit.als.AlternatingLeastSquares(work["config"]["factors"], num_threads=work["threads"], use_gpu=False)
    model.user_factors = rng.standard_normal((work["num_users"], model.factors), np.float32)
    model.item_factors = rng.standard_normal((work["num_items"], model.factors), np.float32)
    queries = np.resize(np.arange(work["num_users"]), work["queries"])
    seen = matrix[queries]

    def run():
        for _ in range(work["steps"] or CALLS):
            model.recommend(queries, seen, N=work["top_k"], filter_already_liked_items=True)

    return lambda _: seconds_of(run)


if __name__ == "__main__":
    serve(setup)
