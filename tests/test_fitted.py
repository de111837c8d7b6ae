"""What a trained model does in Python, by the data's own ids."""

import numpy as np
import pandas as pd
import pytest

import ancf_jax


@pytest.fixture(scope="module")
def log():
    rng = np.random.default_rng(1)
    rows = [(f"c{who}", int(what)) for who in range(12) for what in rng.permutation(20)[: rng.integers(4, 9)]]
    return pd.DataFrame(rows, columns=["user", "item"])


@pytest.fixture(scope="module")
def fitted(log):
    return ancf_jax.fit("itemknn", ancf_jax.load(log), neighbours=5, shrinkage=1.0)


def test_lists_leave_out_what_a_user_has_and_are_ranked_by_score(fitted, log):
    table = fitted.recommend(["c3", "c5"], top_k=4)
    assert list(table.columns) == ["user", "item", "title", "rank", "score"]
    for user, rows in table.groupby("user"):
        assert not set(rows["item"]) & set(log[log.user == user]["item"])
        assert list(rows["rank"]) == [1, 2, 3, 4] and (np.diff(rows["score"]) <= 0).all()
        np.testing.assert_allclose(fitted.score([(user, item) for item in rows["item"]]), rows["score"], rtol=1e-6)


def test_lists_among_some_items_and_without_others(fitted, log):
    free = [item for item in range(20) if item not in set(log[log.user == "c3"]["item"])]
    some = fitted.recommend(["c3"], items=free[:3], top_k=10)
    assert set(some["item"]) == set(free[:3])
    best = fitted.recommend(["c3"], top_k=3)["item"].tolist()
    assert best[0] not in fitted.recommend(["c3"], exclude=[best[0]], top_k=20)["item"].tolist()
    assert fitted.recommend(["c3"], items=free[:3], exclude=free[:2])["item"].tolist() == [free[2]]


def test_a_new_user_is_a_history(fitted):
    table = fitted.recommend(history=[3, 7], top_k=5)
    assert set(table["user"]) == {"new user"} and not {3, 7} & set(table["item"])
    assert not table["item"].equals(fitted.recommend(history=[1], top_k=5)["item"])


def test_more_users_than_a_block_holds(fitted, monkeypatch):
    from ancf_jax.serving import recommend

    users = [f"c{who}" for who in range(12)]
    whole = fitted.recommend(users, top_k=2)
    monkeypatch.setattr(recommend, "BLOCK", 5)
    pd.testing.assert_frame_equal(fitted.recommend(users, top_k=2), whole, check_exact=False, rtol=1e-5)
    assert list(dict.fromkeys(whole["user"])) == users


def test_reasons_are_past_items(fitted, log):
    reasons = fitted.explain(["c3"], top_k=3, reasons=2)
    assert list(reasons.columns) == ["user", "item", "title", "reason", "reason_title", "weight"]
    assert set(reasons["reason"]) <= set(log[log.user == "c3"]["item"]) and (reasons["weight"] > 0).all()
    assert "adds to the score" in reasons.attrs["method"]


def test_likeness_by_who_has_both(fitted, log):
    """Item neighbours have no vectors, so likeness is the cosine of the items' users, here by brute force."""
    users = {item: set(rows["user"]) for item, rows in log.groupby("item")}
    cosine = {other: len(users[3] & u) / np.sqrt(len(users[3]) * len(u)) for other, u in users.items() if other != 3}
    table = fitted.similar(3, top_k=4)
    np.testing.assert_allclose(table["score"], sorted(cosine.values(), reverse=True)[:4], rtol=1e-6)
    assert [cosine[item] for item in table["item"]] == pytest.approx(list(table["score"]))


def test_what_is_saved_opens_without_its_log(fitted, tmp_path):
    fitted.save(tmp_path / "shop")
    again = ancf_jax.open_run(tmp_path / "shop")
    assert again.evaluate() == fitted.evaluate() and again.result == fitted.result
    pd.testing.assert_frame_equal(again.recommend(["c3"]), fitted.recommend(["c3"]))
    fitted.save(tmp_path / "shop")  # again is no error
    other = ancf_jax.fit("itemknn", fitted.dataset, neighbours=2)
    with pytest.raises(ancf_jax.InputError, match="holds another run: neighbours is 5 there and 2 here"):
        other.save(tmp_path / "shop")


def test_what_was_saved_for_use_is_not_trained_on(fitted, tmp_path):
    model = ancf_jax.fit("mf", fitted.dataset, epochs=1, factors=2, knows="train")
    model.save(tmp_path / "mf")
    with pytest.raises(ancf_jax.InputError, match="was saved for use"):
        ancf_jax.fit("mf", fitted.dataset, epochs=1, factors=2, knows="train", workdir=tmp_path / "mf")


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda fitted: fitted.recommend(), "give either users or a history"),
        (lambda fitted: fitted.recommend(["c1"], history=[3]), "give either users or a history"),
        (lambda fitted: fitted.recommend(["c99"]), "unknown user 'c99'; the nearest ids are"),
        (lambda fitted: fitted.recommend(history=[77]), "unknown item '77'; ids are whole numbers from 0 to 19"),
        (lambda fitted: fitted.similar("x"), "unknown item 'x'"),
        (lambda fitted: fitted.score([("c1", 55)]), "unknown item '55'"),
    ],
)
def test_unknown_ids_are_named_with_the_nearest(fitted, call, message):
    with pytest.raises(ancf_jax.InputError, match=message):
        call(fitted)


@pytest.mark.parametrize("model", ["popularity", "bpr"])
def test_a_model_trained_again_is_judged_by_no_row_that_it_learnt(log, tmp_path, model):
    """It is saved, opened and evaluated as what it is: trained on the validation part too."""
    fitted = ancf_jax.fit(model, ancf_jax.load(log), epochs=2)
    assert fitted.result["trained_again"] and not fitted.run.train.validation
    with pytest.raises(ancf_jax.InputError, match="argument part: the model was trained on the validation part too"):
        fitted.evaluate("valid")
    fitted.save(tmp_path)
    opened = ancf_jax.open_run(tmp_path)
    assert opened.evaluate() == fitted.evaluate() and opened.result == fitted.result
    pd.testing.assert_frame_equal(opened.recommend(["c3"]), fitted.recommend(["c3"]))


def test_a_model_that_knows_the_training_part_alone_is_evaluated_so(log):
    dataset = ancf_jax.load(log)
    found = {knows: ancf_jax.fit("itemknn", dataset, knows=knows) for knows in ("train", "valid")}
    ranks = {knows: fitted.evaluate()["mrr"] for knows, fitted in found.items()}
    assert ranks == {knows: fitted.result["mrr"] for knows, fitted in found.items()} and len(set(ranks.values())) == 2


def test_new_rows_are_histories(fitted, log):
    rows = pd.DataFrame({"user": ["c3", "c77", "c77"], "item": [fitted.recommend(["c3"])["item"][0], 2, 99]})
    later, added = fitted.fold_in(rows)
    assert added == (2, 2, 1, 1) and rows["item"][0] not in later.recommend(["c3"])["item"].tolist()
    known = later.recommend(["c77"])["item"].tolist()
    assert known == fitted.recommend(history=[2])["item"].tolist()
    again, _ = later.fold_in(pd.DataFrame({"user": ["c77"], "item": [5]}))
    assert again.recommend(["c77"])["item"].tolist() == fitted.recommend(history=[2, 5])["item"].tolist()
    with pytest.raises(ancf_jax.InputError, match="unknown user 'c77'"):
        fitted.recommend(["c77"])


def test_lists_of_what_a_user_has_and_of_what_is_unlike(fitted, log):
    every = fitted.recommend(["c3"], top_k=20, repeats=True)
    assert len(every) == 20 and set(log[log.user == "c3"]["item"]) <= set(every["item"])
    best, spread = (fitted.recommend(["c3"], top_k=4, diversity=d)["item"].tolist() for d in (0, 1))
    assert best[0] == spread[0] and len(set(spread)) == 4
    with pytest.raises(ancf_jax.InputError, match="argument diversity: 2 is out of range"):
        fitted.recommend(["c3"], diversity=2)
    with pytest.raises(ancf_jax.InputError, match="argument categories: the items of DataFrame have none"):
        fitted.recommend(["c3"], categories=["mug"])


def test_vectors_make_the_score(fitted, log):
    with pytest.raises(ancf_jax.InputError, match="argument vectors: the score of itemknn is no inner product"):
        fitted.vectors()
    model = ancf_jax.fit("mf", fitted.dataset, epochs=1, factors=2, knows="train")
    table = model.vectors().set_index(["kind", "id"])["vector"]
    assert len(table) == 12 + 20
    assert table["user", "c3"] @ table["item", "7"] == pytest.approx(model.score([("c3", 7)])[0], rel=1e-4)
