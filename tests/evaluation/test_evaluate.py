"""The evaluation of models that are tables of fixed scores, against plain enumeration."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.data.interactions import build
from ancf_jax.evaluation import blocks, queries, ranks
from ancf_jax.evaluation.evaluate import make_evaluator, metric_names, protocol
from ancf_jax.types import ClosedForm, Data, Given, InputError, Interactions, Query, Recommender, as_they_are

NAN, INF = np.nan, np.inf
USERS, ITEMS = 11, 13


def log(pairs, num_users: int = USERS) -> Interactions:
    users, items = np.array(pairs, np.int32).reshape(-1, 2).T
    return build(users, items, np.ones(len(users), np.float32), np.arange(len(users), dtype=np.int32), num_users)


def score_table(table, query: Query, items=None):
    rows = table[query.users]  # [B, I + 1]
    return rows[:, :-1] if items is None else jnp.take_along_axis(rows, items, axis=1)


LEARN = ClosedForm(1, lambda key, given: None, lambda params, given, key: params)
NOTHING = Given(log([]))  # which a table of scores does not look at
TABLE = Recommender(LEARN, NOTHING, 0, as_they_are, score_table)  # params: scores [U + 1, I + 1]


@pytest.fixture(scope="module")
def example():
    """Scores with ties, repeated rows in both parts, items held out again, and users without held-out items."""
    rng = np.random.default_rng(0)
    table = rng.integers(0, 5, size=(USERS + 1, ITEMS + 1)).astype(np.float32)
    seen = [(user, item) for user in range(USERS) for item in rng.integers(0, ITEMS, size=rng.integers(1, 6))]
    held = [(user, item) for user in range(0, USERS, 2) for item in rng.integers(0, ITEMS, size=rng.integers(1, 5))]
    held += [held[0], (2, seen[[user for user, _ in seen].index(2)][1])]
    return table, seen, held


def evaluate_example(example, **options):
    table, seen, held = example
    data = Data(USERS, ITEMS, log(seen))
    return make_evaluator(TABLE, data, log(seen), log(held), ks=(1, 5), **options)(jnp.asarray(table))


def tie_orders(scores, visible, wanted):
    """For each of many random orders of the visible items that tie: the places of the wanted ones, by item."""
    rng, visible = np.random.default_rng(0), np.array(sorted(visible))
    for _ in range(2000):
        order = visible[np.lexsort((rng.random(len(visible)), -scores[visible]))]
        yield {item: int(np.flatnonzero(order == item)[0]) for item in wanted}


@pytest.mark.parametrize("given", [False, True])
def test_a_user_for_whom_every_score_is_nan_has_no_metrics(example, caplog, given):
    table, seen, held = example
    table = np.where(np.arange(USERS + 1)[:, None] == 2, NAN, table)
    held = [(0, 1), (2, 3)] if given else held
    candidates = np.array([[0, 5, 1], [4, 5, 3]]) if given else None
    evaluate = make_evaluator(TABLE, Data(USERS, ITEMS, log(seen)), log(seen), log(held), candidates=candidates)
    metrics, users, per_user = evaluate(jnp.asarray(table))
    for name, values in per_user.items():
        assert np.isnan(values[users == 2]).all() and not np.isnan(values[users == 0]).any(), name
    assert np.isnan(metrics["ndcg@10"]) and f"for 1 of {len(users)} users the model has no number" in caplog.text


@pytest.mark.parametrize(("some", "repeats"), [(False, False), (True, False), (False, True)])
def test_full_ranking_agrees_with_the_mean_over_random_orders(example, some, repeats):
    table, seen, held = example
    among = {item for _, item in held} | {3, 4} if some else set(range(ITEMS))
    found = evaluate_example(example, among=np.array([*among, *among]) if some else None, repeats=repeats)
    assert some == (len(among) < ITEMS)
    np.testing.assert_array_equal(found.users, range(0, USERS, 2))
    for place, user in enumerate(found.users):
        wanted = {item for owner, item in held if owner == user}
        visible = (among - {item for owner, item in seen if owner == user and not repeats}) | wanted
        ranks = np.array([sorted(places.values()) for places in tie_orders(table[user], visible, wanted)])  # [., P]
        count = len(wanted)
        wrong = (ranks - np.arange(count)).sum(axis=1) / max(count * (len(visible) - count), 1)
        expected = {
            "mrr": 1 / (ranks[:, 0] + 1),
            "hr@1": ranks[:, 0] < 1,
            "recall@5": (ranks < 5).mean(axis=1),
            "precision@1": (ranks < 1).sum(axis=1),
            "map@5": ((np.arange(count) + 1) / (ranks + 1) * (ranks < 5)).sum(axis=1) / min(5, count),
            "auc": 1 - wrong,
        }
        for name, values in expected.items():
            error = 5 * np.std(values) / len(values) ** 0.5 + 1e-6
            assert found.per_user[name][place] == pytest.approx(np.mean(values), abs=error), name
    assert found.metrics == pytest.approx({name: values.mean() for name, values in found.per_user.items()})


def test_graded_values_weigh_the_held_out_items(example):
    """Against the mean over random orders, whatever the order of the rows; values below 0 are worth 0."""
    table, seen, held = example
    pairs = np.array(sorted(set(held)))
    values = np.random.default_rng(1).integers(-1, 6, len(pairs)).astype(np.float32)
    values[pairs[:, 0] == 4] = -1  # a user with nothing of worth

    def evaluated(order):
        part = build(*pairs[order].T, values[order], np.arange(len(pairs)), USERS)
        evaluator = make_evaluator(TABLE, Data(USERS, ITEMS, log(seen)), log(seen), part, ks=(1, 3, 10))
        return evaluator(jnp.asarray(table))

    found, again = evaluated(np.arange(len(pairs))), evaluated(np.random.default_rng(2).permutation(len(pairs)))
    for name, expected in found.per_user.items():
        np.testing.assert_allclose(again.per_user[name], expected, atol=1e-6)
    for place, user in enumerate(found.users):
        worth = {
            item: max(value, 0) for (owner, item), value in zip(pairs.tolist(), values, strict=True) if owner == user
        }
        visible = set(range(ITEMS)) - {item for owner, item in seen if owner == user} | set(worth)
        orders = list(tie_orders(table[user], visible, worth))
        for k in (1, 3, 10):
            best = sum(gain / np.log2(n + 2) for n, gain in enumerate(sorted(worth.values(), reverse=True)[:k]))
            gained = [sum(worth[i] / np.log2(r + 2) for i, r in places.items() if r < k) for places in orders]
            error = 5 * np.std(gained) / len(gained) ** 0.5 / (best or 1) + 1e-6
            assert found.per_user[f"gndcg@{k}"][place] == pytest.approx(np.mean(gained) / (best or 1), abs=error)
    assert found.per_user["gndcg@3"][list(found.users).index(4)] == 0 < found.metrics["gndcg@3"]
    assert not any("gndcg" in name for name in evaluate_example(example).metrics)  # all values are 1


def test_the_names_of_metrics_are_known_beforehand(example):
    table, seen, held = example
    own = {"own": lambda ranks, count, visible: count}
    for values in (np.ones(len(held)), np.arange(len(held))):
        part = build(*np.array(held).T, values, np.arange(len(held)), USERS)
        model = TABLE._replace(rates=True)
        found = make_evaluator(model, Data(USERS, ITEMS, log(seen)), log(seen), part, ks=(2,), own=own)(table)
        assert set(metric_names(model, part, candidates=None, ks=(2,), own=own)) == set(found.metrics)
        np.testing.assert_array_equal(found.per_user["own"], [len({i for u, i in held if u == n}) for n in found.users])


def assert_same(found, expected):
    assert found.metrics == expected.metrics
    for name in expected.per_user:
        np.testing.assert_array_equal(found.per_user[name], expected.per_user[name])


@pytest.mark.parametrize("block", [1, 4, 6])
def test_the_block_size_changes_nothing(example, block):
    assert_same(evaluate_example(example, block=block), evaluate_example(example))


def test_the_blocks_of_items_change_nothing(example, monkeypatch):
    expected = evaluate_example(example)
    monkeypatch.setattr(ranks, "items_at_once", lambda floats: 5)  # three blocks of 13 items, two overlap
    assert_same(evaluate_example(example), expected)


def test_a_small_memory_budget_changes_nothing_but_the_block(example, monkeypatch):
    expected, sizes = evaluate_example(example), []
    monkeypatch.setattr(blocks, "users_that_fit", lambda _, most, *limits: sizes.append(most) or most)
    assert_same(evaluate_example(example, memory_budget=blocks.AT_ONCE * 4 * 6 * ITEMS / 2**30), expected)
    assert sizes == [4]


def test_a_budget_that_one_user_exceeds_is_refused(example):
    with pytest.raises(InputError, match=r"flag --memory_budget: 1e-08 GiB are too few; .* one user at a time takes"):
        evaluate_example(example, memory_budget=1e-8)


@pytest.mark.parametrize(("most", "least", "budget", "expected"), [(256, 1, 9, 8), (256, 1, 300, 256), (12, 3, 5, 3)])
def test_users_are_halved_until_they_fit(most, least, budget, expected):
    def compiled(users):  # a GiB each
        memory = SimpleNamespace(temp_size_in_bytes=(users - 0.5) * 2**30, output_size_in_bytes=2**29)
        return SimpleNamespace(memory_analysis=lambda: memory)

    assert blocks.users_that_fit(compiled, most, least, budget) == expected
    with pytest.raises(InputError, match=f"0.5 GiB are too few; .* takes {least}$"):
        blocks.users_that_fit(compiled, most, least, 0.5)


def test_other_users_change_nothing(example):
    table, seen, held = example
    expected = evaluate_example(example)
    alone = evaluate_example((table, seen, [(user, item) for user, item in held if user == 4]))
    assert alone.users == [4]
    for name in alone.per_user:
        assert alone.per_user[name] == expected.per_user[name][2]


def test_beyond_accuracy_measures_the_lists_of_unseen_items(example):
    table, seen, held = example
    table = np.argsort(np.argsort(table, axis=1), axis=1).astype(np.float32)  # without ties
    table[:, 3] = NAN  # an item without a score is not recommended
    found = evaluate_example((table, seen, held), beyond=True)
    having = np.array([len({user for user, item in seen if item == i}) for i in range(ITEMS)])
    exposure = np.zeros(ITEMS)
    for place, user in enumerate(found.users):
        hidden = {item for owner, item in seen if owner == user} - {item for owner, item in held if owner == user}
        best = [i for i in np.argsort(-table[user, :ITEMS]) if i not in hidden and i != 3][:10]
        exposure[best] += 1
        assert found.per_user["popularity@10"][place] == pytest.approx(having[best].mean())
        bits = -np.log2(np.maximum(having[best], 1) / USERS)
        assert found.per_user["novelty@10"][place] == pytest.approx(bits.mean(), rel=1e-5)
    assert found.metrics["coverage@10"] == pytest.approx((exposure > 0).mean())
    spread = np.abs(exposure[:, None] - exposure).mean() / (2 * exposure.mean())
    assert found.metrics["gini@10"] == pytest.approx(spread, abs=1e-6)
    assert "lists" not in found.per_user


def test_the_query_holds_the_latest_seen_items_and_marks_unknown_users():
    def score(table, query, items=None):
        # A known item scores its place in the history times its value; unknown users want item 5.
        known = jax.nn.one_hot(query.history, ITEMS) * query.values[..., None] * jnp.arange(1, 3)[:, None]
        return known.sum(axis=1) + 100 * (query.users == USERS)[:, None] * jax.nn.one_hot(5, ITEMS)

    train = log([(0, 9), (0, 8), (0, 7), (1, 6)])
    seen = log([(0, 9), (0, 8), (0, 7), (1, 6), (2, 4)])
    held = log([(0, 8), (0, 7), (0, 9), (1, 6), (2, 5)])
    model = Recommender(LEARN, NOTHING, 2, as_they_are, score)
    found = make_evaluator(model, Data(USERS, ITEMS, train), seen, held, ks=(1, 2))(None)
    np.testing.assert_array_equal(found.users, [0, 1, 2])
    np.testing.assert_array_equal(found.per_user["hr@1"], [1, 1, 1])
    np.testing.assert_allclose(found.per_user["recall@2"], [2 / 3, 1, 1])  # item 9 is too long ago


def test_histories_of_like_length_share_a_program_and_change_nothing(example, monkeypatch):
    """The score of an item is how often it is in what a query carries, whose width is a fourth, a half or all."""
    _, seen, held = example
    asked = []

    def score(table, query, items=None):
        asked.append(query.history.shape)
        return (
            jnp.zeros((len(query.users), ITEMS + 1))
            .at[jnp.arange(len(query.users))[:, None], query.history]
            .add(1.0)[:, :-1]
        )

    data, model = Data(USERS, ITEMS, log(seen)), TABLE._replace(score=score, history=4)
    expected = make_evaluator(model, data, log(seen), log(held), ks=(1, 5))(jnp.zeros(1))
    assert {width for _, width in asked} == {4}
    asked.clear()
    monkeypatch.setattr(queries, "SAVED", 1)
    found = make_evaluator(model._replace(narrow=4), data, log(seen), log(held), ks=(1, 5))(jnp.zeros(1))
    assert {width for _, width in asked} == {1, 2, 4}
    assert_same(found, expected)


def test_parameters_are_prepared_and_the_scores_compiled_once():
    traced = {"prepare": 0, "score": 0}

    def prepare(table, given):
        traced["prepare"] += 1
        return table

    def score(table, query, items=None):
        traced["score"] += 1
        return score_table(table, query)

    part = log([(user, 0) for user in range(USERS)])
    model = Recommender(LEARN, NOTHING, 0, prepare, score)
    evaluator = make_evaluator(model, Data(USERS, ITEMS, part), part, part, block=4)
    low, high = (evaluator(jnp.zeros((USERS + 1, ITEMS + 1)).at[:, 0].set(value)) for value in (-1.0, 1.0))
    assert traced == {"prepare": 1, "score": 1}
    assert (low.metrics["hr@10"], high.metrics["hr@10"]) == (0, 1)


def evaluate_candidates(table, candidates):
    """Users 0, 1, ... each with one row of candidates."""
    candidates = np.asarray(candidates)
    part = log(list(enumerate(candidates[:, -1])))
    data = Data(USERS, ITEMS, part)
    return make_evaluator(TABLE, data, part, part, candidates=candidates, ks=(1, 3))(jnp.asarray(table, jnp.float32))


def test_candidates_are_ranked_as_published():
    table = np.zeros((USERS + 1, ITEMS + 1))
    table[:, :6] = [5, 4, 3, 3, 1, 0]
    rows = [
        [1, 2, 4, 5, 0],  # the best
        [0, 1, 2, 5, 3],  # two better, one tie lost
        [0, 4, 5, 3, 3],  # its own item among the others does not count
        [0, 0, 0, 4, 1],  # an item given three times counts once
    ]
    found = evaluate_candidates(table, rows)
    ranks = np.array([0, 3, 1, 1])
    np.testing.assert_allclose(found.per_user["mrr"], 1 / (ranks + 1), rtol=1e-6)
    np.testing.assert_allclose(found.per_user["hr@3"], ranks < 3)
    np.testing.assert_allclose(
        found.per_user["ndcg@3"], np.where(ranks < 3, np.log(2) / np.log(ranks + 2), 0), rtol=1e-6
    )
    np.testing.assert_allclose(found.per_user["auc"], [1, 1 / 4, 2 / 3, 1 / 2], rtol=1e-6)


def test_a_constant_model_hits_nothing_among_candidates():
    candidates = np.tile(np.arange(ITEMS), (USERS, 1))
    found = evaluate_candidates(np.zeros((USERS + 1, ITEMS + 1)), candidates)
    assert found.metrics["hr@3"] == 0
    np.testing.assert_array_equal(found.users, range(USERS))


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ([[1, 2, 3]], "one row for each of 2"),
        ([[1, 2, 3], [1, 2, 4]], "row 1: .* held-out item last"),
        ([[1, 99, 3], [1, 2, 3]], "row 0: .* ids in 0..12"),
    ],
)
def test_candidates_that_do_not_fit_are_named(candidates, message):
    part = log([(0, 3), (1, 3)])
    with pytest.raises(InputError, match=message):
        make_evaluator(TABLE, Data(USERS, ITEMS, part), part, part, candidates=np.array(candidates))


def test_what_cannot_be_evaluated_is_refused():
    part = log([(0, 3)])
    data = Data(USERS, ITEMS, part)
    with pytest.raises(InputError, match="nothing is held out"):
        make_evaluator(TABLE, data, part, log([]))
    with pytest.raises(InputError, match="full ranking"):
        make_evaluator(TABLE, data, part, part, candidates=np.array([[1, 3]]), beyond=True)


def test_nothing_seen_leaves_all_items(example):
    found = evaluate_example((example[0], [], [(0, 3)]))
    scores = example[0][USERS, :ITEMS]  # without training rows every user is unknown
    better, tied = (scores > scores[3]).sum(), (scores == scores[3]).sum()
    assert found.metrics["mrr"] == pytest.approx(np.mean(1 / (better + np.arange(tied) + 1)))


def test_a_constant_model_hits_as_chance_does():
    part = log([(user, user) for user in range(USERS)])
    found = make_evaluator(TABLE, Data(USERS, ITEMS, part), log([]), part, ks=(5, 10))(np.zeros((USERS + 1, ITEMS + 1)))
    assert (found.metrics["hr@5"], found.metrics["hr@10"]) == pytest.approx((5 / ITEMS, 10 / ITEMS))


def test_protocols_in_words():
    assert protocol(None).endswith("; ties: expectation over random orders")
    assert "99 given candidates" in protocol(np.zeros((5, 100)))
    assert "those the user has too" in protocol(None, repeats=True)
    assert "the 2 new items" in protocol(None, np.array([4, 7]))
