"""A log of a shop that is not: python -m experiments.load.synthetic --users=100000 --items=50000 --output=log.parquet

Items are drawn with Zipf's weights, 1 / (rank + 10), by each user independently; every item occurs. Columns user, item
and time, in seconds, which carries no meaning. Users have `each` rows, or with a `tail` s of another, e^(s z - s^2 / 2)
times as many, z ~ N(0, 1): --users=138493 --items=26744 --each=173 --tail=1.1 is about as large as MovieLens-20M.
"""

from typing import Any

from absl import flags

from experiments import console


def define() -> None:
    """How large."""
    flags.DEFINE_integer("users", 100_000, "users", lower_bound=1, allow_override=True)
    flags.DEFINE_integer("items", 50_000, "items", lower_bound=1, allow_override=True)
    flags.DEFINE_integer("each", 20, "rows of a user", lower_bound=1, allow_override=True)
    flags.DEFINE_float("tail", 0.0, "how much users differ in that (0: not at all)", lower_bound=0, allow_override=True)
    flags.DEFINE_string("output", "log.parquet", "a .parquet file", allow_override=True)


def main() -> dict[str, Any]:
    """Write it."""
    import numpy as np
    import pandas as pd

    options, rng = flags.FLAGS, np.random.default_rng(0)
    weights, counts = 1 / (np.arange(options.items) + 10), np.full(options.users, options.each)
    if options.tail:
        scale = np.exp(options.tail * rng.standard_normal(options.users) - options.tail**2 / 2)
        counts = np.maximum(options.each * scale, 1).astype(int)
    users = np.repeat(np.arange(options.users), counts)
    items = rng.choice(options.items, len(users), p=weights / weights.sum())
    items[: options.items] = rng.permutation(options.items)[: len(items)]
    log = pd.DataFrame({"user": users, "item": items}).drop_duplicates()
    log["time"] = 1_500_000_000 + rng.integers(0, 31_536_000, len(log))
    log.to_parquet(options.output, index=False)
    return {"rows": len(log), "output": options.output}


if __name__ == "__main__":
    console.run(define, main)
