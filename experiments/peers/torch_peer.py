"""The same work in plain PyTorch: embedding tables, the same losses and optimizer; the best items by one product.

It does a little less than we do: negatives are drawn from all items, also those that the user knows, and the last
batch of an epoch is not filled up.
"""

import numpy as np
import torch
from protocol import CALLS, seconds_of, serve
from torch.nn.functional import softplus

OPTIMIZERS = {"adam": torch.optim.Adam, "adagrad": torch.optim.Adagrad, "sgd": torch.optim.SGD}


def setup(work):
    """The commands for one piece of work."""
    torch.set_num_threads(work["threads"])
    torch.manual_seed(work["train"]["seed"])
    cuda = work["device"] != "cpu" and torch.cuda.is_available()
    torch.set_default_device("cuda" if cuda else "cpu")
    with np.load(work["log"]) as log:
        users, items, train = log["users"], log["items"], log["part"] == 0
    run = top_n(work, users, items) if work["what"] == "topn" else training(work, users[train], items[train])

    def run_and_wait():
        run()
        if cuda:
            torch.cuda.synchronize()

    ready = {"version": torch.__version__, "device": "cuda" if cuda else "cpu"}
    return ready, {"go": lambda _: seconds_of(run_and_wait)}


def training(work, users, items):
    """A function that trains for one epoch, or for work["steps"] steps."""
    make = {"bpr": bpr, "mf": windowed_mf}.get(work["model"], neumf)
    modules, columns, loss = make(work, users, items)
    optimizer = OPTIMIZERS[work["train"]["optimizer"]](modules.parameters(), lr=work["train"]["learning_rate"])
    columns = [torch.from_numpy(column.astype(np.int64)).to(torch.get_default_device()) for column in columns]

    def run():
        order = torch.randperm(len(columns[0]))
        for rows in order.split(work["batch"])[: work["steps"] or None]:
            optimizer.zero_grad()
            loss(*(column[rows] for column in columns)).backward()
            optimizer.step()

    return run


def neumf(work, users, items):
    """NeuMF, and GMF and MLP as its halves, by binary cross-entropy against sampled items."""
    config, sizes = work["config"], (work["num_users"], work["num_items"])
    tower = config.get("tower", [])
    width = config["tower_factors"] if tower else 0
    halves = torch.nn.ModuleDict()
    if config.get("factors"):
        halves["product"] = torch.nn.ModuleList(
            [*tables(sizes, config["factors"], config), torch.nn.Linear(config["factors"], 1)]
        )
    if tower:
        layers: list = []
        for fan_in, fan_out in zip([2 * width, *tower[:-1]], tower, strict=True):
            dropout = [torch.nn.Dropout(config["dropout"])] if layers and config["dropout"] else []
            layers += [*dropout, torch.nn.Linear(fan_in, fan_out), torch.nn.ReLU()]
        layers.append(torch.nn.Linear(tower[-1], 1))
        halves["tower"] = torch.nn.ModuleList([*tables(sizes, width, config), torch.nn.Sequential(*layers)])

    def score(users, items):
        parts = []
        if "product" in halves:
            user, item, out = halves["product"]
            parts.append(out(user(users)[:, None] * item(items))[..., 0])
        if "tower" in halves:
            user, item, out = halves["tower"]
            item = item(items)
            parts.append(out(torch.cat([user(users)[:, None].expand_as(item), item], -1))[..., 0])
        return parts[0] if len(parts) == 1 else config["alpha"] * parts[0] + (1 - config["alpha"]) * parts[1]

    def loss(users, items):
        others = torch.randint(work["num_items"], (len(users), config["negatives"]))
        scores = score(users, torch.cat([items[:, None], others], 1))
        return (softplus(-scores[:, 0]) + softplus(scores[:, 1:]).sum(1)).mean()

    return halves, (users, items), loss


def bpr(work, users, items):
    """Matrix factorisation with item biases by the pairwise loss of BPR."""
    config, num_items = work["config"], work["num_items"]
    user_table, item_table = tables((work["num_users"], num_items), config["factors"], config)
    item_bias = torch.nn.Embedding(num_items, 1)

    def loss(users, items):
        both = torch.stack([items, torch.randint(num_items, items.shape)], 1)
        user, item = user_table(users), item_table(both)
        scores = (item @ user[..., None])[..., 0] + item_bias(both)[..., 0]
        squares = (user**2).sum(-1) + (item**2).sum((1, 2))
        return (softplus(scores[:, 1] - scores[:, 0]) + config["l2"] * squares).mean()

    return torch.nn.ModuleList([user_table, item_table, item_bias]), (users, items), loss


def windowed_mf(work, users, items):
    """Biased matrix factorisation over windows of one user's interactions, the whole catalogue as negatives."""
    config, sizes = work["config"], (work["num_users"], work["num_items"])
    user_table, item_table = tables(sizes, config["factors"], config)
    user_bias, item_bias = (torch.nn.Embedding(size, 1) for size in sizes)
    order = np.argsort(users, kind="stable")
    own = np.split(order, np.flatnonzero(np.diff(users[order])) + 1)  # one array of rows a user
    windows = [rows[n : n + config["window"]] for rows in own for n in range(0, len(rows), config["window"])]
    padded = np.full((len(windows), config["window"]), -1)
    for n, rows in enumerate(windows):
        padded[n, : len(rows)] = items[rows]

    def loss(users, targets):
        user, base = user_table(users), user_bias(users)
        present, targets = targets >= 0, targets.clamp(min=0)
        target = item_table(targets)
        positive = (target @ user[..., None])[..., 0] + item_bias(targets)[..., 0] + base
        everything = user @ item_table.weight.T + item_bias.weight[:, 0] + base
        losses = softplus(-positive) + config["negatives"] * softplus(everything).mean(1, keepdim=True)
        squares = (1 + config["negatives"]) * (user**2).sum(-1, keepdim=True) + (target**2).sum(-1)
        squares = squares + config["negatives"] * (item_table.weight**2).sum(-1).mean()
        return (losses + config["l2"] * squares)[present].mean()

    modules = torch.nn.ModuleList([user_table, item_table, user_bias, item_bias])
    return modules, (np.array([users[rows[0]] for rows in windows]), padded), loss


def tables(sizes, width, config):
    """Embedding tables of these numbers of rows, N(0, stddev^2)."""
    made = [torch.nn.Embedding(size, width) for size in sizes]
    for table in made:
        torch.nn.init.normal_(table.weight, std=config["stddev"])
    return made


def top_n(work, users, items):
    """A function that finds the best unseen items of the same users, by random factors of the same width."""
    user, item = (torch.randn(work[size], work["config"]["factors"]) for size in ("num_users", "num_items"))
    queries = np.resize(np.arange(work["num_users"]), work["queries"])
    seen = [items[users == query] for query in queries]
    rows = torch.tensor(np.repeat(np.arange(len(queries)), [len(row) for row in seen]))
    columns = torch.tensor(np.concatenate(seen).astype(np.int64))
    chosen = user[torch.tensor(queries)]

    @torch.inference_mode()
    def run():
        for _ in range(work["steps"] or CALLS):
            scores = chosen @ item.T
            scores[rows, columns] = -torch.inf
            torch.topk(scores, work["top_k"])

    return run


if __name__ == "__main__":
    serve(setup)
