"""Weights, contributions and mixtures against loops that follow the module's equation."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.nn import attention
from ancf_jax.nn.attention import (
    candidate_cosines,
    candidate_mixtures,
    candidate_sums,
    candidate_weights,
    causal_contributions,
    causal_mixtures,
    recency_after,
)

B, HEADS, N, H, D = 3, 2, 4, 5, 3
MASK = np.array([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], bool)  # padded on the left, full, empty


@pytest.fixture(scope="module")
def example():
    rng = np.random.default_rng(0)
    return {
        "logits": rng.normal(0, 2, (B, HEADS, N, H)).astype(np.float32),
        "own": rng.normal(0, 2, (B, HEADS, H, H)).astype(np.float32),  # candidate t is column t's own
        "along": rng.normal(0, 1, (B, HEADS, N, H)).astype(np.float32),
        "values": rng.normal(0, 1, (B, H, HEADS, D)).astype(np.float32),
        "recency": rng.normal(0, 1, (HEADS, H)).astype(np.float32),
    }


def attended(logits, mask, smoothing):
    """Weights [H] of one candidate from its logits [H], in float64."""
    weights = [np.exp(np.float64(f)) if seen else 0.0 for f, seen in zip(logits, mask, strict=True)]
    total = sum(weights)
    return np.array([w / total**smoothing if total else 0.0 for w in weights])


def after_column(logits, recency, mask, t, smoothing):
    """Weights [H] of one candidate when the history ends with column t."""
    with_recency = [np.float64(f) + recency[max(t - h, 0)] for h, f in enumerate(logits)]
    return attended(with_recency, [seen and h <= t for h, seen in enumerate(mask)], smoothing)


@pytest.mark.parametrize("smoothing", [1.0, 0.5, 0.0])
def test_candidate_weights(example, smoothing):
    found = candidate_weights(example["logits"], MASK[:, None, None], smoothing)
    for place in np.ndindex(B, HEADS, N):
        expected = attended(example["logits"][place], MASK[place[0]], smoothing)
        np.testing.assert_allclose(found[place], expected, rtol=1e-4, atol=1e-7)


def test_candidate_weights_survive_large_logits():
    """exp(100) overflows float32; shifting the logits changes nothing for a softmax, and by a known factor below it."""
    logits, mask = np.array([[100.0, 99.0, 98.0, 500.0]], np.float32), np.array([[True, True, True, False]])
    expected = np.exp([0.0, -1.0, -2.0])
    np.testing.assert_allclose(candidate_weights(logits, mask, 1.0)[0, :3], expected / expected.sum(), rtol=1e-5)
    np.testing.assert_allclose(
        candidate_weights(logits, mask, 0.5)[0, :3], np.exp(50.0) * expected / expected.sum() ** 0.5, rtol=1e-4
    )


@pytest.mark.parametrize("smoothing", [1.0, 0.5, 0.0])
def test_sums_and_mixtures_of_candidates_that_all_histories_share(example, smoothing):
    """Whatever padding holds below the largest logit that is there counts for nothing."""
    rng = np.random.default_rng(1)
    values, logits = example["values"], example["logits"].copy()
    lowest = np.where(MASK[:, None, None], logits, np.inf).min(-1, keepdims=True)
    logits = np.where(MASK[:, None, None], logits, np.where(np.isfinite(lowest), lowest, 0.0))
    by_place = jnp.transpose(logits, (1, 0, 3, 2))  # [heads, B, H, N], as one product writes them
    along = rng.normal(0, 1, by_place.shape).astype(np.float32)
    sums = candidate_sums(by_place, along, MASK[..., None], smoothing)
    mixed = candidate_mixtures(by_place, values, MASK[..., None], smoothing)
    for b, head, n in np.ndindex(B, HEADS, N):
        weights = attended(logits[b, head, n], MASK[b], smoothing)
        np.testing.assert_allclose(sums[head, b, n], weights @ along[head, b, :, n], rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(mixed[head, b, :, n], weights @ values[b, :, head], rtol=1e-3, atol=1e-5)


def test_cosines_of_candidates_and_what_was_attended_to():
    rng = np.random.default_rng(2)
    mixed, item, own = (
        rng.normal(size=(HEADS, B, D, N)),
        rng.normal(size=(N, HEADS * D)),
        rng.normal(size=(B, 1, HEADS * D)),
    )
    mixed[:, 1], own[1], item[2] = 0.0, 0.0, 0.0  # of user 1 nothing is known, and nothing of item 2
    found = candidate_cosines(*(x.astype(np.float32) for x in (mixed, item, own)))
    for b, n in np.ndindex(B, N):
        whole = mixed[:, b, :, n].reshape(-1) + own[b, 0]
        lengths = np.linalg.norm(whole) * np.linalg.norm(item[n])
        np.testing.assert_allclose(found[b, n], whole @ item[n] / lengths if lengths else 0.0, rtol=1e-4, atol=1e-6)


def test_recency_after_holds_the_steps_back(example):
    found = recency_after(example["recency"])
    for n, t, h in np.ndindex(HEADS, H, H):
        expected = example["recency"][n, t - h] if h <= t else -np.inf
        np.testing.assert_allclose(found[n, t, h], expected, rtol=1e-6)


@pytest.mark.parametrize("smoothing", [1.0, 0.7])
def test_causal_contributions(example, smoothing):
    found = all_three(example, smoothing)["contributions"]
    assert found.shape == (B, H, N)
    for b, t, n in np.ndindex(B, H, N):
        expected = 0.0
        for head in range(HEADS):
            weights = after_column(example["logits"][b, head, n], example["recency"][head], MASK[b], t, smoothing)
            expected += sum(weights[h] * example["along"][b, head, n, h] for h in range(H))
        np.testing.assert_allclose(found[b, t, n], expected, rtol=1e-4, atol=1e-5)


def mixture(example, logits, b, t, smoothing):
    """c [heads * D] of one candidate with logits [heads, H] after column t."""
    heads = []
    for head in range(HEADS):
        weights = after_column(logits[head], example["recency"][head], MASK[b], t, smoothing)
        heads.append(sum(weights[h] * example["values"][b, h, head] for h in range(H)))
    return np.concatenate(heads)


@pytest.mark.parametrize("smoothing", [1.0, 0.7])
def test_causal_mixtures_of_every_candidate_after_every_column(example, smoothing):
    found = all_three(example, smoothing)["mixtures"]
    assert found.shape == (B, H, N, HEADS * D)
    for b, t, n in np.ndindex(B, H, N):
        expected = mixture(example, example["logits"][b, :, n], b, t, smoothing)
        np.testing.assert_allclose(found[b, t, n], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("smoothing", [1.0, 0.7])
def test_causal_mixtures_of_each_columns_own_candidate(example, smoothing):
    found = all_three(example, smoothing)["own"]
    assert found.shape == (B, H, HEADS * D)
    for b, t in np.ndindex(B, H):
        expected = mixture(example, example["own"][b, :, t], b, t, smoothing)
        np.testing.assert_allclose(found[b, t], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("smoothing", [1.0, 0.7])
def test_nothing_to_attend_to_gives_zero_and_finite_gradients(example, smoothing):
    nothing = np.zeros((B, H), bool)

    def parts(logits, own, along, values, recency):
        return [
            candidate_weights(logits, nothing[:, None, None], smoothing),
            causal_contributions(logits, along, recency, nothing, smoothing),
            causal_mixtures(logits, values, recency, nothing, smoothing, own_column=False),
            causal_mixtures(own, values, recency, nothing, smoothing, own_column=True),
        ]

    inputs = [jnp.asarray(example[name]) for name in ("logits", "own", "along", "values", "recency")]
    for part in parts(*inputs):
        np.testing.assert_array_equal(part, np.zeros(part.shape))
    gradients = jax.jit(jax.grad(lambda inputs: sum(part.sum() for part in parts(*inputs))))(inputs)
    for gradient in gradients:
        np.testing.assert_array_equal(gradient, np.zeros(gradient.shape))


@pytest.mark.parametrize("smoothing", [1.0, 0.7])
def test_gradients_agree_with_finite_differences_where_columns_are_masked(example, smoothing):
    """Directional derivative of all three, over partly, fully and not masked histories."""
    names = ("logits", "own", "along", "values", "recency")
    rng = np.random.default_rng(1)
    inputs = [jnp.asarray(example[name] / 2) for name in names]
    direction = [jnp.asarray(rng.normal(0, 1, x.shape), jnp.float32) for x in inputs]

    @jax.jit
    @jax.value_and_grad
    def total(step):
        logits, own, along, values, recency = (x + step * d for x, d in zip(inputs, direction, strict=True))
        contributions = causal_contributions(logits, along, recency, MASK, smoothing)
        mixtures = causal_mixtures(logits, values, recency, MASK, smoothing, own_column=False)
        diagonal = causal_mixtures(own, values, recency, MASK, smoothing, own_column=True)
        return sum(jnp.mean(jnp.sin(part)) for part in (contributions, mixtures, diagonal))

    (before, _), (_, derivative), (after, _) = total(-1e-2), total(0.0), total(1e-2)
    np.testing.assert_allclose(derivative, (after - before) / 2e-2, rtol=1e-2, atol=1e-4)


def far_apart(example, apart):
    """Logits of column 0..H-1 that rise by `apart` from the first that is seen to the last, some up to that too high.

    So early columns lie far below the window's largest exponent, and every column far from zero.
    """
    rng = np.random.default_rng(2)
    rise = apart * (np.linspace(-0.5, 0.5, H) + rng.uniform(-0.1, 0.1, (B, HEADS, N, H)))
    rise[..., -1], rise[..., 0] = apart / 2, -apart / 2
    own = apart * rng.uniform(-0.5, 0.5, (B, HEADS, H, H))
    own[..., -1], own[..., 0] = apart / 2, -apart / 2
    return example | {"logits": rise.astype(np.float32), "own": own.astype(np.float32)}


@partial(jax.jit, static_argnames="smoothing")
def all_three(inputs, smoothing):
    logits, own, along, values, recency = (inputs[name] for name in ("logits", "own", "along", "values", "recency"))
    return {
        "contributions": causal_contributions(logits, along, recency, MASK, smoothing),
        "mixtures": causal_mixtures(logits, values, recency, MASK, smoothing, own_column=False),
        "own": causal_mixtures(own, values, recency, MASK, smoothing, own_column=True),
    }


@partial(jax.jit, static_argnames=("name", "smoothing"))
def slope_of(name, inputs, weigh, smoothing):
    """The gradient of a weighed sum of one of `all_three` over the window without padding."""
    return jax.grad(lambda inputs: jnp.sum(weigh * all_three(inputs, smoothing)[name][1]))(inputs)


def weights_step_by_step(logits, recency, smoothing):
    """a [B, heads, K, T, H] in float64 of logits [B, heads, K, H]."""
    steps = np.arange(H)[:, None] - np.arange(H)
    exponents = logits.astype(np.float64)[..., None, :] + recency.astype(np.float64)[:, None, np.maximum(steps, 0)]
    weights = np.where((steps >= 0) & MASK[:, None, None, None], np.exp(exponents), 0.0)
    total = weights.sum(-1, keepdims=True)
    return weights / np.where(total > 0, total, 1.0) ** smoothing


def step_by_step(inputs, smoothing):
    """What `all_three` gives, in float64, without any shift of exponents."""
    cross, own = (weights_step_by_step(inputs[name], inputs["recency"], smoothing) for name in ("logits", "own"))
    every = np.einsum("bnkth,bhnd->btknd", cross, inputs["values"])
    diagonal = np.einsum("bntth,bhnd->btnd", own, inputs["values"])
    return {
        "contributions": np.einsum("bnkth,bnkh->btk", cross, inputs["along"]),
        "mixtures": every.reshape(B, H, N, -1),
        "own": diagonal.reshape(B, H, -1),
    }


APART = [10.0, 30.0, 38.0, 45.0, 60.0, 120.0]  # all at one scale, nearly not, and by far not


@pytest.mark.parametrize("smoothing", [1.0, 0.5])
@pytest.mark.parametrize("apart", APART)
def test_columns_far_below_later_ones_are_exact(example, apart, smoothing):
    """Of logits from -60 to 60, the first columns' denominators are e^-120 of the last ones'."""
    inputs = far_apart(example, apart)
    found, expected = jax.device_get(all_three(inputs, smoothing)), step_by_step(inputs, smoothing)
    for name in found:
        size = np.abs(expected[name]).max(axis=-1, keepdims=True)  # of each column: its terms may cancel
        assert (np.abs(found[name] - expected[name]) <= 3e-5 * size + 1e-30).all(), name
        assert (size[1] > 1e-15).all()


@pytest.mark.parametrize("smoothing", [1.0, 0.5])
@pytest.mark.parametrize("slope", [-15.0, 15.0])
def test_columns_far_apart_in_recency_are_exact(example, slope, smoothing):
    """What is latest may count e^60 times less than what is oldest, or more; logits of 2 are nothing against it."""
    inputs = example | {"recency": (slope * np.arange(H) + np.zeros((HEADS, 1))).astype(np.float32)}
    found, expected = jax.device_get(all_three(inputs, smoothing)), step_by_step(inputs, smoothing)
    for name in found:
        size = np.abs(expected[name]).max(axis=-1, keepdims=True)
        assert (np.abs(found[name] - expected[name]) <= 3e-5 * size).all(), name


@pytest.mark.parametrize("smoothing", [1.0, 0.5])
@pytest.mark.parametrize("apart", [38.0, 45.0, 120.0])
def test_gradients_of_columns_far_below_later_ones_are_exact(example, apart, smoothing):
    """The derivative along one direction, of a sum in which each column counts by its own size, in float64."""
    inputs, rng = far_apart(example, apart), np.random.default_rng(1)
    names = ("logits", "own", "along", "values", "recency")
    direction = {name: rng.normal(0, 1, inputs[name].shape) for name in names}
    whole = {name: x[1] for name, x in step_by_step(inputs, smoothing).items()}  # the window without padding
    counts = {name: rng.uniform(0.5, 1, x.shape) / np.abs(x).max(-1, keepdims=True) for name, x in whole.items()}

    def moved(step):
        return {name: inputs[name].astype(np.float64) + step * direction[name] for name in names}

    step = 1e-5
    before, after = step_by_step(moved(-step), smoothing), step_by_step(moved(step), smoothing)
    expected = {name: np.sum(counts[name] * (after[name] - before[name])[1]) / (2 * step) for name in counts}
    given = {name: inputs[name] for name in names}
    for name in counts:
        slope = slope_of(name, given, np.float32(counts[name]), smoothing=smoothing)
        found = sum(np.sum(np.asarray(slope[part], np.float64) * direction[part]) for part in names)
        np.testing.assert_allclose(found, expected[name], rtol=1e-3, err_msg=name)


@pytest.mark.parametrize(("apart", "by_columns"), [(35.0, False), (50.0, True)])
def test_only_what_is_far_apart_is_taken_column_by_column(example, monkeypatch, apart, by_columns):
    """One window that is far apart is enough; the range of what is masked and of an empty window does not count."""
    monkeypatch.setattr(attention, "candidate_weights", lambda logits, *_: jnp.full_like(logits, jnp.nan))
    inputs = example | {"logits": np.zeros((B, HEADS, N, H), np.float32), "recency": np.zeros((HEADS, H), np.float32)}
    inputs["logits"][0, :, :, :2], inputs["logits"][2, 0, 0, 0] = 1000.0, 1000.0
    inputs["logits"][1, 1, 2, 3] = apart
    for x in (inputs["along"], inputs["values"]):
        function = causal_contributions if x is inputs["along"] else partial(causal_mixtures, own_column=False)
        found = function(inputs["logits"], x, inputs["recency"], MASK, 1.0)
        assert np.isnan(found).all() if by_columns else np.isfinite(found).all()
