"""iALS against dense solutions of its normal equations, and its objective."""

from functools import cache

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancf_jax.data.interactions import build
from ancf_jax.models.factors import ials
from ancf_jax.models.factors.ials import Config, arrange, make
from ancf_jax.types import Data, Query

USERS, ITEMS = 12, 10  # of them the last one each is in no interaction
ROWS = [np.random.default_rng(user).permutation(ITEMS - 1)[: 1 + user % 7].tolist() for user in range(USERS - 1)]
DENSE = np.array([[float(item in row) for item in range(ITEMS)] for row in [*ROWS, []]])
CONFIG = Config(factors=5, unobserved=0.2, l2=0.05, exponent=0.7, stddev=1.0)
QUICK = {"xla_backend_optimization_level": 0}  # compiling takes longer than running


@pytest.fixture(scope="module", autouse=True)
def short_chunks():
    """So that a row takes several of them, and conjugate gradients gather some rows once and others in every step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ials, "CHUNK", 2)
        patch.setattr(ials, "LENGTHS", (2, 4))
        yield


@cache
def log():
    users = np.repeat(np.arange(USERS - 1), [len(row) for row in ROWS])
    train = build(users, np.concatenate(ROWS), np.ones(len(users)), np.arange(len(users)), USERS)
    return Data(USERS, ITEMS, train)


@cache
def compiled(**changed):
    model = make(Config(**(vars(CONFIG) | changed)), log())
    return model, jax.jit(model.learn.init), jax.jit(model.learn.sweep, compiler_options=QUICK)


def swept(sweeps=1, **changed):
    """The model and its parameters before and after each of its sweeps."""
    model, init, sweep = compiled(**changed)
    states = [init(jax.random.key(0), model.given)]
    for _ in range(sweeps):
        states.append(sweep(states[-1], model.given, jax.random.key(1)))
    return model, [jax.tree.map(np.asarray, state) for state in states]


def ridge(observed, config):
    """The penalty [rows] of each row of a 0/1 matrix [rows, others]."""
    return config.l2 * (observed.sum(1) + config.unobserved * observed.shape[1]) ** config.exponent


def solution(observed, fixed, config):
    """The minimum of the objective in each row, the other side held fixed: (H^T C H + ridge) w = H^T r, one by one."""
    fixed = fixed[: observed.shape[1]].astype(np.float64)
    rows = np.zeros((len(observed) + 1, fixed.shape[1]))
    for row, (seen, penalty) in enumerate(zip(observed, ridge(observed, config), strict=True)):
        weights = np.diag(seen + config.unobserved)
        rows[row] = np.linalg.solve(fixed.T @ weights @ fixed + penalty * np.eye(fixed.shape[1]), fixed.T @ seen)
    return rows


@pytest.mark.parametrize("changed", [{}, {"factors": 1}])  # rows of 1 to 7 have systems of their length and of D
def test_a_half_sweep_solves_the_normal_equations(changed):
    _, (before, after) = swept(**changed)
    config = Config(**(vars(CONFIG) | changed))
    users = solution(DENSE, before["tables"]["item"], config)
    np.testing.assert_allclose(after["tables"]["user"], users, rtol=1e-4, atol=1e-5)
    items = solution(DENSE.T, users, config)
    np.testing.assert_allclose(after["tables"]["item"], items, rtol=1e-4, atol=1e-5)


def test_padding_rows_and_rows_without_interactions_are_zero():
    _, (_, after) = swept()
    for rows in after["tables"].values():
        assert not rows[-2:].any() and rows[:-2].all()


def objective(params, config):
    user, item = (params["tables"][side][:-1].astype(np.float64) for side in ("user", "item"))
    scores = user @ item.T
    total = (DENSE * (1 - scores) ** 2).sum() + config.unobserved * (scores**2).sum()
    return total + sum(
        (ridge(seen, config) * (rows**2).sum(1)).sum() for seen, rows in ((DENSE, user), (DENSE.T, item))
    )


@pytest.mark.parametrize("changed", [{}, {"solver": "cg", "cg_steps": 2}])
def test_the_objective_falls_with_every_sweep(changed):
    _, states = swept(sweeps=8, **changed)
    values = [objective(state, CONFIG) for state in states]
    assert (np.diff(values) < 1e-5).all() and values[-1] < 0.8 * values[0]


def test_conjugate_gradients_arrive_at_the_solution():
    _, (_, exact) = swept()
    _, (_, steps) = swept(solver="cg", cg_steps=12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), exact, steps)


def test_initial_rows_have_the_expected_norm():
    model = make(Config(factors=50, stddev=0.3), log())
    tables = jax.jit(model.learn.init)(jax.random.key(0), model.given)["tables"]
    rows = np.concatenate([table[:-1] for table in tables.values()])
    np.testing.assert_allclose((rows**2).sum(1).mean(), 0.3**2, rtol=4 * np.sqrt(2 / rows.size))


def test_an_unknown_user_gets_the_row_of_a_half_sweep_and_a_known_one_keeps_its_own(ask):
    model, (before, after) = swept()
    assert model.history == max(map(len, ROWS))
    ready = jax.jit(model.prepare, compiler_options=QUICK)(before, model.given)
    embed = jax.jit(model.embed, compiler_options=QUICK)
    new, item = embed(ready, ask([USERS] * USERS, [*ROWS, []], model.history, ITEMS))
    np.testing.assert_allclose(new, after["tables"]["user"][:-1], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(item, before["tables"]["item"][:-1])
    own, _ = embed(ready, ask(range(USERS), [*ROWS, []], model.history, ITEMS))
    np.testing.assert_array_equal(own, before["tables"]["user"][:-1])
    users = [USERS if user % 3 else user for user in range(USERS)]
    both, _ = embed(ready, ask(users, [*ROWS, []], model.history, ITEMS))
    np.testing.assert_allclose(both, np.where(np.array(users)[:, None] == USERS, new, own), rtol=1e-6)


@given(
    st.lists(st.integers(0, 300), min_size=1, max_size=60),
    st.sets(st.integers(1, 40), max_size=3).map(sorted),
    st.sampled_from([1, 64, 2000]),
    st.booleans(),
)
def test_blocks_hold_every_row_with_interactions_once(counts, lengths, factors, systems):
    counts = np.array(counts)
    layout = arrange(counts, tuple(lengths), factors, systems=systems)
    held = np.concatenate([group.ravel() for group in layout.groups])
    rows = held[held < len(counts)]
    np.testing.assert_array_equal(np.sort(rows), np.flatnonzero(counts))
    for group, shortest, longest in zip(layout.groups, [0, *lengths], [*lengths, np.inf], strict=True):
        inside = group[group < len(counts)]
        assert ((counts[inside] > shortest) & (counts[inside] <= longest)).all()
        assert (np.diff(counts[inside]) <= 0).all() and group.size - len(inside) < max(len(group), 1)
    np.testing.assert_array_equal(held[layout.place[rows]], rows)
    empty = np.append(counts == 0, True)
    assert (layout.place[empty] == len(held)).all()


def test_contributions_are_the_terms_of_a_fold_in():
    model, (*_, params) = swept()
    history = np.array([[ITEMS, 3, 1, 7], [ITEMS, ITEMS, ITEMS, 2]])
    items, query = np.array([[0, 8], [5, 5]]), Query(np.array([USERS, USERS]), history, (history < ITEMS) * 1.0)
    found = jax.jit(model.contribute)(model.prepare(params, model.given), query, items)
    table = params["tables"]["item"][:ITEMS].astype(np.float64)
    for b, past in enumerate(([3, 1, 7], [2])):
        seen = np.isin(np.arange(ITEMS), past)[None] * 1.0
        system = table.T @ np.diag(seen[0] + CONFIG.unobserved) @ table + ridge(seen, CONFIG)[0] * np.eye(5)
        expected = table[items[b]] @ np.linalg.inv(system) @ table[past].T
        np.testing.assert_allclose(found[b, :, 4 - len(past) :], expected, rtol=1e-4, atol=1e-5)
        assert not found[b, :, : 4 - len(past)].any()
