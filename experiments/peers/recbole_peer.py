"""The same work by RecBole: an epoch of its trainer, or its full ranking of the test part.

RecBole reads the whole log and splits it by its own leave-one-out, which is ours for users with 3 interactions or more.
A step has as many positives as ours where a training row is a pair; SASRec, whose rows are not ours, keeps RecBole's
own batch of 2,048 sequences, one for each interaction, scored at its last place.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from protocol import seconds_of, serve
from recbole import __version__
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.trainer import Trainer
from recbole.utils import get_model, init_seed

SEQUENCES = 2048
NAMES = {"neumf": "NeuMF", "bpr": "BPR", "sasrec": "SASRec"}


def setup(work):
    """The commands for one piece of work."""
    torch.set_num_threads(work["threads"])
    folder = Path(work["log"]).parent
    write_log(folder / "log" / "log.inter", work["log"])
    cuda = work["device"] != "cpu" and torch.cuda.is_available()
    settings = {
        "data_path": str(folder),
        "checkpoint_dir": str(folder),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
        "use_gpu": cuda,
        "show_progress": False,
        "seed": work["train"]["seed"],
        "learning_rate": work["train"]["learning_rate"],
        "learner": work["train"]["optimizer"],
        **settings_of(work),
        **work["options"],
    }
    config = Config(model=NAMES[work["model"]], dataset="log", config_dict=settings)
    init_seed(config["seed"], config["reproducibility"])
    train, _, test = data_preparation(config, create_dataset(config))
    model = get_model(config["model"])(config, train._dataset).to(config["device"])
    trainer = Trainer(config, model)

    def run():
        if work["what"] == "ranking":
            trainer.evaluate(test, load_best_model=False)
        else:
            trainer._train_epoch(train, 0)
        if cuda:
            torch.cuda.synchronize()

    ready = {"version": __version__, "torch": torch.__version__, "device": str(config["device"])}
    ready |= {"rows": len(train._dataset), "users": train._dataset.user_num - 1, "items": train._dataset.item_num - 1}
    return ready, {"go": lambda _: seconds_of(run)}


def write_log(path, log):
    """RecBole's atomic file: places in the order of time stand for times."""
    path.parent.mkdir()
    with np.load(log) as columns:
        table = np.column_stack([columns["users"], columns["items"], np.arange(len(columns["users"]))])
    header = "user_id:token\titem_id:token\ttimestamp:float"
    np.savetxt(path, table, "%d", delimiter="\t", header=header, comments="")


def settings_of(work):
    """Our hyperparameters as RecBole's."""
    config = work["config"]
    if work["model"] == "sasrec":
        if config["loss"] != "full_softmax":
            sys.exit("RecBole's SASRec has the full softmax: legal is --loss=full_softmax")
        return {
            "n_layers": config["layers"],
            "n_heads": config["heads"],
            "hidden_size": config["factors"],
            "inner_size": config["factors"],
            "hidden_act": "relu",
            "hidden_dropout_prob": config["dropout"],
            "attn_dropout_prob": config["dropout"],
            "MAX_ITEM_LIST_LENGTH": config["history"],
            "loss_type": "CE",
            "train_neg_sample_args": None,
            "train_batch_size": SEQUENCES,
        }
    if work["model"] == "bpr":
        return {**drawn(1), "embedding_size": config["factors"], "train_batch_size": work["batch"]}
    return {
        **drawn(config["negatives"]),
        "mf_embedding_size": config["factors"],
        "mlp_embedding_size": config["tower_factors"],
        "mlp_hidden_size": list(config["tower"]),
        "dropout_prob": config["dropout"],
        "train_batch_size": work["batch"] * (1 + config["negatives"]),  # RecBole's counts positives and negatives
    }


def drawn(negatives):
    """So many uniform negatives a positive."""
    return {"train_neg_sample_args": {"distribution": "uniform", "sample_num": negatives}}


if __name__ == "__main__":
    serve(setup)
