"""Attention-based collaborative filtering (ABCF): multi-head self-attention over a user's interactions, order-free.

The history j_1..j_H is a set: every interaction attends to every other one, without positions and in both directions
(Vaswani et al., Attention Is All You Need, 2017), and the candidate item attends to what comes out (He et al., NAIS:
Neural Attentive Item Similarity Model, 2018):

    e = layers of MultiHead(r_j1..r_jH);  a_ih = softmax over h of <W_q q_i, W_k e_h> / sqrt(d), head by head
    s_ui = w . (q_i * sum over h of a_ih W_v e_h) + b_i + b

There is no user vector, so new users need no training. In ANCF's terms: order-free, at least one layer, no other path.
"""

from dataclasses import dataclass

from ancf_jax.config import nested
from ancf_jax.models.ancf import ancf
from ancf_jax.models.ancf.ancf import Config as AncfConfig
from ancf_jax.types import Data, InputError, Recommender

FIXED = ("prior", "joint", "encoder", "taste", "trend", "loss")  # of what is tried of ANCF
SEARCH = {name: each for name, each in ancf.SEARCH.items() if not name.startswith(FIXED)} | {"layers": (1, 2)}


@dataclass(frozen=True)
class Config:
    """ABCF: ANCF's settings, of which some are fixed."""

    ancf: AncfConfig = nested(
        AncfConfig(
            history=100,
            ordered=False,
            layers=1,
            latest=True,
            tied=False,
            user=False,
            prior=0.0,
            again=0.0,
            dropout=0.2,
            loss="bce",
            negatives=128,
        )
    )

    def __post_init__(self) -> None:
        c = self.ancf
        if c.ordered is not False or c.user is not False or c.tower or not c.layers or not c.history:
            raise InputError(
                "flags --ordered, --user, --tower, --layers, --history: abcf is order-free self-attention over the "
                "history alone; legal are --noordered, --nouser and --tower=, and at least 1 of the last two"
            )


def make(config: Config, data: Data) -> Recommender:
    """ABCF by gradient steps over windows of users' histories."""
    return ancf.make(config.ancf, data)
