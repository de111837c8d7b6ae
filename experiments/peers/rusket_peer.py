"""The same work by rusket: BPR. It fits once and for all, so a run is a fit of SWEEPS epochs, over their number."""

import os
from importlib.metadata import version

import numpy as np
from protocol import seconds_of, serve
from scipy.sparse import csr_matrix

SWEEPS = 10


def setup(work):
    """The commands for one piece of work."""
    os.environ["RAYON_NUM_THREADS"] = str(work["threads"])  # before its import
    import rusket

    with np.load(work["log"]) as log:
        users, items = (log[name][log["part"] == 0] for name in ("users", "items"))
    matrix = csr_matrix((np.ones(len(users), np.float32), (users, items)), (work["num_users"], work["num_items"]))
    options = {"learning_rate": work["train"]["learning_rate"], "regularization": work["config"]["l2"]}
    options |= {"factors": work["config"]["factors"], "iterations": SWEEPS} | work["options"]

    def go(_):
        model = rusket.BPR(**options)
        return {"seconds": seconds_of(lambda: model.fit(matrix))["seconds"] / SWEEPS}

    return {"version": version("rusket")}, {"go": go}


if __name__ == "__main__":
    serve(setup)
