"""Attention-based collaborative filtering (ABCF): multi-head self-attention over a user's interactions, order-free.

The history j_1..j_H is a set: every interaction attends to every other one, without positions and in both directions
(Vaswani et al., Attention Is All You Need, 2017), and the candidate item attends to what comes out (He et al., NAIS:
Neural Attentive Item Similarity Model, 2018):

    e = layers of MultiHead(r_j1..r_jH);  a_ih = softmax over h of <W_q q_i, W_k e_h> / sqrt(d), head by head
    s_ui = w . (q_i * sum over h of a_ih W_v e_h) + b_i + b

There is no user vector, so new users need no training. In ANCF's terms: order-free, at least one layer, no other path.
"""

from dataclasses import dataclass

from ancf_jax.config import field
from ancf_jax.models.ancf import ancf
from ancf_jax.nn.losses import PAIR_LOSSES
from ancf_jax.types import Data, Recommender


@dataclass(frozen=True)
class Config:
    """ABCF."""

    factors: int = field(64, "embedding width D of the element-wise path and the attention", low=1)
    history: int = field(100, "latest interactions attended to, H", low=1)
    layers: int = field(1, "self-attention layers over the history", low=1)
    heads: int = field(2, "attention heads", low=1)
    dropout: float = field(0.2, "dropout on embeddings and in the encoder", low=0, high=0.99)
    loss: str = field("bce", "loss of a positive against its negatives", PAIR_LOSSES)
    negatives: int = field(128, "sampled items that a window's positives share as negatives", low=1)
    targets: int = field(16, "positives drawn from a window, order-free", low=1)
    stddev: float = field(0.05, "standard deviation of the initial embeddings", low=0)

    def __post_init__(self) -> None:
        as_ancf(self)  # which checks that the settings go together


def as_ancf(config: Config) -> ancf.Config:
    """ABCF as ANCF: an order-free encoder, and the attended history as the only path."""
    return ancf.Config(ordered=False, user=False, tower=(), **vars(config))


def make(config: Config, data: Data) -> Recommender:
    """ABCF by gradient steps over windows of users' histories."""
    return ancf.make(as_ancf(config), data)
