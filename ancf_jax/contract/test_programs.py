"""Programs hold no data: on a log of four times as many users and interactions, each is as large within 2%."""

import numpy as np

from ancf_jax.contract.board import SIZE, Case, board
from ancf_jax.contract.programs import program_sizes

COPIES = (17, 68)  # of each user: more users than items, and than are in a block, of which the last is not full


def test_programs_are_as_large_whatever_the_size_of_the_log(case: Case) -> None:
    query, items, features = case.ask(), np.zeros((SIZE, 3), np.int32), np.zeros((1, 2), np.float32)
    models = [case.entry.make(case.config, board(case.model.rates, copies)) for copies in COPIES]
    small, large = (program_sizes(model, query, items, features) for model in models)
    assert small.keys() == large.keys()
    grown = {name: (size, large[name]) for name, size in small.items() if abs(large[name] - size) > 0.02 * size}
    assert not grown, f"sizes at {COPIES[0] * SIZE} and {COPIES[1] * SIZE} users: {grown}"
