"""A log of a shop that is not: python -m experiments.load.synthetic --users=100000 --items=50000 --output=log.parquet

Items are drawn with Zipf's weights, 1 / (rank + 10), by each user independently; every item occurs. Columns user, item.
"""

from typing import Any

from absl import flags

from experiments import console


def define() -> None:
    """How large."""
    flags.DEFINE_integer("users", 100_000, "users", lower_bound=1, allow_override=True)
    flags.DEFINE_integer("items", 50_000, "items", lower_bound=1, allow_override=True)
    flags.DEFINE_integer("each", 20, "rows of a user", lower_bound=1, allow_override=True)
    flags.DEFINE_string("output", "log.parquet", "a .parquet file", allow_override=True)


def main() -> dict[str, Any]:
    """Write it."""
    import numpy as np
    import pandas as pd

    options, rng = flags.FLAGS, np.random.default_rng(0)
    weights = 1 / (np.arange(options.items) + 10)
    items = rng.choice(options.items, options.users * options.each, p=weights / weights.sum())
    items[: options.items] = rng.permutation(options.items)
    log = pd.DataFrame({"user": np.repeat(np.arange(options.users), options.each), "item": items}).drop_duplicates()
    log.to_parquet(options.output, index=False)
    return {"rows": len(log), "output": options.output}


if __name__ == "__main__":
    console.run(define, main)
