"""The registry: every recommender by name, with its configuration and its factory."""

from collections.abc import Callable
from typing import Any, NamedTuple

from ancf_jax.models.ancf import abcf, ancf, ancf_ratings, hybrid
from ancf_jax.models.autoencoders import autorec, multvae, recvae
from ancf_jax.models.baselines import content, means, popularity
from ancf_jax.models.factors import attention_matrix, biased_mf, bpr, ials, mf, ncf
from ancf_jax.models.graph import lightgcn, ngcf
from ancf_jax.models.linear import ease_slim as linear
from ancf_jax.models.linear import puresvd
from ancf_jax.models.neighbours import itemknn as neighbours
from ancf_jax.models.neighbours import ratingknn, userknn, userknn_ratings
from ancf_jax.models.sequential import bert4rec, caser, gru4rec, sasrec
from ancf_jax.models.sequential import reinforce as policy
from ancf_jax.types import Data, Recommender


class Entry(NamedTuple):
    """A frozen dataclass of hyperparameters, and make(config, data) -> Recommender.

    `features` says whether the model so configured reads Data.features, which are not made for those that do not.
    """

    config: type
    make: Callable[[Any, Data], Recommender]
    features: Callable[[Any], bool] = lambda config: False


MODELS = {
    "popularity": Entry(popularity.Config, popularity.make),
    "recent": Entry(popularity.Recent, popularity.make_recent),
    "random": Entry(popularity.Random, popularity.make_random),
    "global_mean": Entry(means.GlobalMean, means.make_global_mean),
    "item_mean": Entry(means.ItemMean, means.make_item_mean),
    "itemknn": Entry(neighbours.Config, neighbours.make),
    "userknn": Entry(userknn.Config, userknn.make),
    "content": Entry(content.Config, content.make, features=lambda config: True),
    "ease": Entry(linear.EASE, linear.make_ease),
    "slim": Entry(linear.SLIM, linear.make_slim),
    "puresvd": Entry(puresvd.Config, puresvd.make),
    "mf": Entry(mf.Config, mf.make),
    "biased_mf": Entry(biased_mf.Config, biased_mf.make),
    "ratingknn": Entry(ratingknn.Config, ratingknn.make),
    "userknn_ratings": Entry(userknn_ratings.Config, userknn_ratings.make),
    "bpr": Entry(bpr.Config, bpr.make),
    "ials": Entry(ials.Config, ials.make),
    "gmf": Entry(ncf.GMF, ncf.make_gmf),
    "mlp": Entry(ncf.MLP, ncf.make_mlp),
    "neumf": Entry(ncf.NeuMF, ncf.make),
    "ngcf": Entry(ngcf.Config, ngcf.make),
    "lightgcn": Entry(lightgcn.Config, lightgcn.make),
    "attention_matrix": Entry(attention_matrix.Config, attention_matrix.make),
    "abcf": Entry(abcf.Config, abcf.make),
    "ancf": Entry(ancf.Config, ancf.make),
    "ancf_ratings": Entry(ancf_ratings.Config, ancf_ratings.make),
    "hybrid": Entry(hybrid.Config, hybrid.make, features=lambda config: True),
    "gru4rec": Entry(gru4rec.Config, gru4rec.make),
    "reinforce": Entry(policy.Config, policy.make),
    "caser": Entry(caser.Config, caser.make),
    "sasrec": Entry(sasrec.Config, sasrec.make),
    "bert4rec": Entry(bert4rec.Config, bert4rec.make),
    "autorec": Entry(autorec.Config, autorec.make),
    "multvae": Entry(multvae.Config, multvae.make),
    "recvae": Entry(recvae.Config, recvae.make),
}
