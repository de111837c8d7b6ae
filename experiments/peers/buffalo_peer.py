"""The same work by buffalo: BPR. Its rate falls as it trains, so a run is an epoch of SWEEPS."""

import logging
from importlib.metadata import version

import numpy as np
from buffalo.algo.bpr import BPRMF
from buffalo.algo.options import BPRMFOption
from buffalo.data.mm import MatrixMarketOptions
from protocol import seconds_of, serve
from scipy.sparse import csr_matrix

SWEEPS = 10


def setup(work):
    """The commands for one piece of work."""
    logging.disable()
    with np.load(work["log"]) as log:
        users, items = (log[name][log["part"] == 0] for name in ("users", "items"))
    matrix = csr_matrix((np.ones(len(users), np.float32), (users, items)), (work["num_users"], work["num_items"]))
    data = MatrixMarketOptions().get_default_option()
    data.input.main, data.data.path, data.data.tmp_dir = matrix, "log.h5", "."  # where it is started, and deleted
    data.data.validation = {}
    penalty = {f"reg_{name}": work["config"]["l2"] for name in "uijb"}
    options = BPRMFOption().get_default_option()
    options.update({"d": work["config"]["factors"], "lr": work["train"]["learning_rate"], "num_iters": SWEEPS})
    options.update({"num_workers": work["threads"], "compute_loss_on_training": False, "validation": {}})
    options.update(penalty | work["options"])
    model = BPRMF(options, data_opt=data)

    def go(_):
        model.initialize()
        return {"seconds": seconds_of(model.train)["seconds"] / SWEEPS}

    return {"version": version("buffalo")}, {"go": go}


if __name__ == "__main__":
    serve(setup)
