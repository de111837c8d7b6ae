"""ANCF's settings, what a search tries of them, and what the data decides.

What is left to the data (`auto`) is whether the order is read: it is where the log has times and what is held out came
last. Then there are an encoder of one layer, whose latest state scores alone, one table of items and no user vector,
and EASE's scores of the whole history beside; else two heads over candidates and a user vector, whose cosine is learnt
with every interaction as the target of the others, and no encoder. And what the user did before counts where the log
says it again.
"""

from dataclasses import dataclass, replace
from typing import Any

from ancf_jax.config import AUTO, Auto, Range, Space, field
from ancf_jax.nn.losses import PAIR_LOSSES
from ancf_jax.types import Data, InputError

BESIDE = "is beside what is learnt apart from a closed form of the order (--ordered or --prior_next); legal here is 0"

SEARCH: Space = {
    "factors": (32, 64, 128),
    "encoder": ("attention", "gru"),
    "layers": (AUTO, 1, 2),
    "heads": (AUTO, 1, 2),
    "prior": (AUTO, 0.3, 1.0, 4.0, 16.0),
    "prior_l2": Range(30.0, 1000.0, log=True),
    "prior_exponent": Range(0.0, 1.0),
    "prior_activity": (AUTO, 0.0, 0.4, 0.8),
    "prior_power": (AUTO, 1.0, 1.2, 1.5),
    "prior_discount": (AUTO, 0.0, 0.15, 0.3),
    "prior_slope": Range(0.25, 1.25),
    "taste": (AUTO, 0.0, 1.0),
    "trend": (AUTO, 0.0, 1.0, 3.0),
    "dropout": Range(0.0, 0.6),
    "loss": ("sampled_softmax", "bpr_max"),
    "negatives": (128, 256, 512, 1024),
    "stddev": Range(0.01, 0.1, log=True),
    "batch_size": (8, 16, 32, 64),
}


@dataclass(frozen=True)
class Config:
    """ANCF: what is read of the history, how it is attended to, and which paths fuse it."""

    factors: int = field(64, "embedding width D of the element-wise path and the attention", low=1)
    history: int = field(50, "interactions attended to, H: the latest, or order-free a sample (0: none)", low=0)
    ordered: bool | Auto = field(AUTO, "order-aware: positions, causal encoder, recency (not given: by the data)")
    layers: int | Auto = field(AUTO, "layers of the encoder over the history (auto: 1 if order-aware, else 0)", low=0)
    latest: bool = field(False, "order-free, the sample is the latest H, as a set", absent=True)
    encoder: str = field("attention", "what its layers are; gru is for order-aware models", ("attention", "gru"))
    heads: int | Auto = field(
        AUTO, "heads of the attention over candidates, 0: none (auto: 0 if ordered, else 2)", low=0
    )
    state: bool = field(True, "if order-aware, the encoder's latest state scores too, as in SASRec", absent=False)
    scorer: int = field(0, "hidden width of NAIS's attention network (0: scaled dot product)", low=0)
    project: bool = field(True, "learned projections of queries, keys and values")
    temperature: float | Auto = field(
        AUTO,
        "order-free, cosines over it in place of products (0: products; auto: .1 apart from EASE)",
        low=0,
        absent=0.0,
    )
    smoothing: float = field(1.0, "exponent of the attention's denominator (1: softmax)", low=0, high=1)
    tied: bool | Auto = field(AUTO, "one table for candidates and for the history (not given: if order-aware)")
    user: bool | Auto = field(AUTO, "a vector per user, for product and tower (not given: if order-free)")
    tower: tuple[int, ...] = field((), "widths of the fully connected layers (empty: no tower)")
    tower_factors: int = field(32, "embedding width of users and items in the tower", low=1)
    prior: float | Auto = field(
        AUTO,
        "first weight of the closed form, SLIT if ordered, else EASE (0: none; auto: 1, apart from EASE 16)",
        low=0,
        absent=0.0,
    )
    prior_next: bool = field(
        False, "order-free, the closed form is SLIT of the history as a set: training reads the order", absent=False
    )
    prior_l2: float = field(200.0, "L2 penalty of the closed form", above=0)
    prior_filter: bool = field(False, "order-free, the closed form is the filter of chebycf, which knows all items")
    prior_flatness: float = field(1.5, "the filter's exponent phi", above=0)
    prior_factors: int = field(512, "the filter's singular vectors", low=1)
    prior_exponent: float = field(0.0, "of EASE, how far an item's frequency scales it", low=0)
    prior_activity: float | Auto = field(
        AUTO, "of EASE, exponent that discounts active users (auto: 0, apart from EASE .4)", low=0, absent=0.0
    )
    prior_power: float | Auto = field(
        AUTO,
        "exponent of its weights; above 1 the closest interactions count most (auto: 1, apart from EASE 1.3)",
        above=0,
        absent=1.0,
    )
    prior_discount: float | Auto = field(
        AUTO,
        "exponent of an item's frequency that discounts its score (auto: 0, apart from EASE .15)",
        low=0,
        absent=0.0,
    )
    prior_slope: float = field(0.75, "if order-aware, how steeply interactions lose weight in it with the steps", low=0)
    joint: bool | Auto = field(AUTO, "what is learnt is beside the closed form (auto: apart from it)", absent=True)
    prior_items: int = field(6000, "the most frequent items, which it knows; memory grows with their square", low=1)
    taste: float | Auto = field(
        AUTO, "weight of EASE of the whole history, apart and beside SLIT (auto: .5 there)", low=0, absent=0.0
    )
    trend: float | Auto = field(AUTO, "weight of an item's rise of late (auto: .3 if ordered)", low=0, absent=0.0)
    again: float | Auto = field(
        AUTO, "weight of how often the user did it (auto: 24 if a repeat is kept)", low=0, absent=0.0
    )
    dropout: float = field(0.3, "dropout on embeddings, in the encoder and in the tower", low=0, high=0.99)
    loss: str = field("sampled_softmax", "loss of a positive against its negatives", (*PAIR_LOSSES, "bpr_max"))
    negatives: int = field(256, "sampled items that a window's positives share as negatives", low=1)
    popular: float | Auto = field(
        AUTO, "share of negatives by popularity (auto: .5 of products in sampled_softmax)", low=0, high=1
    )
    ratio: float = field(4.0, "weight of the negatives per positive, for bce", low=0)
    score_l2: float = field(1.0, "weight of the squares of the negatives' scores, for bpr_max", low=0)
    targets: int | Auto = field(
        AUTO, "positives of a window, order-free (0: all, each after all others; auto: 16, apart from EASE 0)", low=0
    )
    l2: float = field(0.0, "L2 penalty on the element-wise embeddings of each positive", low=0)
    stddev: float = field(0.02, "standard deviation of the initial embeddings", low=0)

    def __post_init__(self) -> None:
        if self.popular not in (AUTO, 0) and self.loss != "sampled_softmax":
            raise InputError(f"flag --popular: needs --loss=sampled_softmax, which corrects for it; not {self.loss}")
        if self.ordered is True and not self.history:
            raise InputError("flag --ordered: needs a history; --history is 0")
        if self.ordered is False and self.trend not in (AUTO, 0):
            raise InputError("flag --trend: is for order-aware models of logs with times; legal here is 0")
        orderless = self.ordered is False and not self.prior_next
        if self.taste not in (AUTO, 0) and (orderless or self.joint is True or not self.prior):
            raise InputError(f"flag --taste: {BESIDE}")
        if self.ordered is False and self.encoder == "gru":
            raise InputError("flag --encoder: gru reads the order; legal with --noordered is attention")
        if not (self.joint or self.prior):
            raise InputError("flag --nojoint: is to learn apart from the closed form, and --prior is 0")
        for name in ("prior_filter", "prior_next"):
            if getattr(self, name) and not self.prior:
                raise InputError(f"flag --{name}: says which closed form there is, and --prior=0 leaves it away")
            if getattr(self, name) and self.joint is True:
                raise InputError(f"flag --{name}: knows the rows that are learnt from; give --nojoint, to learn apart")
        if self.sharpened and (self.joint is True or self.prior_filter):
            raise InputError("flag --prior_power, --prior_discount: need --nojoint, to learn apart, not --prior_filter")
        if self.prior_next and self.latest and not self.history:
            raise InputError("flag --latest: a set of the latest needs a history; --history is 0")
        if self.prior_filter and self.prior_next:
            raise InputError("flag --prior_next: is another closed form than --prior_filter; give one of them")
        if self.targets == 0 and (self.layers not in (0, AUTO) or (self.joint is True and self.prior)):
            raise InputError("flag --targets: 0 needs --nojoint or --prior=0, and --layers=0, to hide targets")
        if self.scorer and self.heads == 0:
            raise InputError("flag --scorer: is a network of the attention over candidates, and --heads is 0")
        if self.heads != AUTO and self.history and self.factors % max(self.heads, 1):
            raise InputError(f"flag --heads: {self.heads} does not divide --factors={self.factors}")

    @property
    def sharpened(self) -> bool:
        """Whether the closed form's weights are not those that were solved for."""
        return self.prior_power not in (AUTO, 1) or self.prior_discount not in (AUTO, 0)


def resolved(config: Config, data: Data) -> Config:
    """The settings with what is left to the data decided."""
    from ancf_jax.data.interactions import has_repeats  # help of the default model does not wait for pandas

    ordered = (data.ordered and config.history > 0) if config.ordered == AUTO else config.ordered
    for name in ("temperature", "prior_filter", "prior_next"):
        if ordered and getattr(config, name) not in (AUTO, 0):
            raise InputError(f"flag --{name}: is for order-free models; give --noordered")
    if config.ordered is True and not data.ordered and config.trend not in (AUTO, 0):
        raise InputError("flag --trend: is for order-aware models of logs with times; legal here is 0")
    heads = 0 if ordered and config.state and not config.scorer else 1 if config.factors % 2 else 2
    left: dict[str, Any] = {"layers": int(ordered), "tied": ordered, "user": not ordered, "heads": heads}
    left |= {"again": 24.0 * has_repeats(data.train), "ordered": ordered, "trend": 0.3 * (ordered and data.ordered)}
    joint = not config.prior if config.joint == AUTO else config.joint
    alone = not (ordered or joint or config.prior_next)  # apart from EASE, or a filter, as the only closed form
    sharp = alone and not config.prior_filter
    softmax = config.loss == "sampled_softmax"
    temperature = 0.1 * (alone and softmax and not config.scorer)
    cosine = temperature if config.temperature == AUTO else config.temperature
    left |= {"temperature": temperature, "popular": 0.5 * (softmax and not cosine)}
    left |= {"prior": 16.0 if sharp else 1.0, "prior_activity": 0.4 * sharp}
    left |= {"prior_power": 1.3 if sharp else 1.0, "prior_discount": 0.15 * sharp}
    left |= {"targets": 0 if alone and config.history and config.layers in (AUTO, 0) else 16}
    beside = bool(ordered or config.prior_next)
    left |= {"joint": joint, "taste": 0.5 * (beside and not joint)}
    if config.taste not in (AUTO, 0) and not beside:
        raise InputError(f"flag --taste: {BESIDE}")
    found = {name: value for name, value in left.items() if getattr(config, name) == AUTO}
    for name, without in (("state", False), ("encoder", "attention"), ("trend", 0.0)):  # all of them read the order
        found |= {} if ordered else {name: without}
    return replace(config, **found)
