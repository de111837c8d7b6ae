"""Recommendations by the data's own ids: lists, reasons, new users, and ids that nobody knows."""

import json
import shutil

import pandas as pd
import pytest

from ancf_jax.serving import recommend as serving
from experiments import evaluate, recommend, train

pytestmark = pytest.mark.xdist_group("shop")  # whose runs one worker trains, once


def purchases(shop, customer):
    """The titles of what a customer bought."""
    bought = [line.split(",")[1] for line in (shop / "log.csv").read_text().splitlines() if line.startswith(customer)]
    titles = dict(line.split(",") for line in (shop / "products.csv").read_text().splitlines())
    return {titles.get(item, item) for item in bought}


def test_known_users(script, trained, shop):
    status, out, err = script(recommend, "--workdir", trained("ancf"), "--user=c03", "--user=c07", "--top_k=4")
    result = json.loads(out.splitlines()[-1])
    assert status == 0 and err == "" and result["model"] == "ancf" and list(result["users"]) == ["c03", "c07"]
    unit = "log-probability of an item, up to a constant"
    assert result["score"] == unit and f"score: {unit}\n" in out
    for customer, rows in result["users"].items():
        scores = [row["score"] for row in rows]
        assert len(rows) == 4 and scores == sorted(scores, reverse=True)
        assert not {row["title"] for row in rows} & purchases(shop, customer)
        assert all(row["item"].startswith("p") and row["reasons"] == [] for row in rows)
        assert f"ancf for user {customer}" in out and rows[0]["title"] in out


def test_lists_end_where_nothing_is_left(script, trained, shop):
    _, out, _ = script(recommend, "--workdir", trained("ancf"), "--user=c03", "--top_k=100")
    rows = json.loads(out.splitlines()[-1])["users"]["c03"]
    assert len(rows) == 9 and "Infinity" not in out


def test_approximate_lists(script, trained):
    _, exact, _ = script(recommend, "--workdir", trained("mf"), "--user=c03")
    status, out, _ = script(recommend, "--workdir", trained("mf"), "--user=c03", "--approximate")
    result = json.loads(out.splitlines()[-1])
    assert status == 0 and result["users"] == json.loads(exact.splitlines()[-1])["users"]
    assert result["recall_of_approximate"] == 1 and "100.0% of the items of exact ones, over 12 users" in out


@pytest.mark.parametrize(("model", "lead"), [("ancf", "because of"), ("itemknn", "because of"), ("mf", "similar to")])
def test_reasons(script, trained, shop, model, lead):
    status, out, _ = script(recommend, "--workdir", trained(model), "--user=c03", "--explain", "--reasons=2")
    result = json.loads(out.splitlines()[-1])
    rows = result["users"]["c03"]
    reasons = [reason for row in rows for reason in row["reasons"]]
    assert status == 0 and lead in out and f"reasons: {result['method']}\n" in out and reasons
    assert {reason["title"] for reason in reasons} <= purchases(shop, "c03")
    assert max(len(row["reasons"]) for row in rows) == 2 and min(reason["weight"] for reason in reasons) > 0
    assert f"{reasons[0]['title']} ({reasons[0]['weight']:.3g})" in out


def test_a_new_user(script, trained):
    status, out, err = script(recommend, "--workdir", trained("itemknn"), "--history=p01, p02", "--explain")
    rows = json.loads(out.splitlines()[-1])["users"]["new user"]
    assert status == 0 and err == ""
    assert not {row["item"] for row in rows} & {"p01", "p02"}
    assert {reason["item"] for row in rows for reason in row["reasons"]} <= {"p01", "p02"}


def test_a_new_user_of_a_model_without_histories(script, trained):
    status, out, err = script(recommend, "--workdir", trained("mf"), "--history=p01")
    assert status == 0 and len(json.loads(out.splitlines()[-1])["users"]["new user"]) == 10
    assert "mf has learnt nothing from histories" in err and err.count("\n") == 1


def test_words(script, trained):
    status, out, err = script(recommend, "--workdir", trained("content"), "--query=the 7th product, 7 or 12?")
    rows = json.loads(out.splitlines()[-1])["users"]["the 7th product, 7 or 12?"]
    assert status == 0 and err == "" and rows[0]["item"] == "p12" and rows[0]["score"] > rows[1]["score"]
    assert len(rows) == 10 and "content for the 7th product" in out


@pytest.mark.parametrize(
    ("model", "given", "message"),
    [
        ("mf", [], "--query: the model does not score by features alone; legal are --user and --history"),
        ("content", ["--explain"], "flag --explain: reasons are past items"),
        ("content", ["--user=c03"], "--query=WORDS"),
        ("content", ["--query=red mug"], "none of the words of 'red mug' is in the text"),
    ],
)
def test_words_that_find_nothing(script, trained, model, given, message):
    status, out, err = script(recommend, "--workdir", trained(model), "--query=12", *given)
    assert status == 2 and out == "" and message in err and err.count("\n") == 1


def test_what_was_bought_may_come_again_where_repeats_are_kept(script, tmp_path):
    """Everyone buys milk in every basket, and something else beside it."""
    rows = [
        f"c{user},{item},b{basket}\n" for user in range(5) for basket in range(4) for item in ("milk", f"i{basket}")
    ]
    (tmp_path / "log.csv").write_text("user,item,basket\n" + "".join(rows))
    options = [f"--dataset={tmp_path}/log.csv", "--basket_column=basket", f"--workdir={tmp_path}/run"]
    status, out, err = script(train, *options, "--model=popularity", "--beside=")
    assert status == 0, err
    assert "repeats are kept" in out and "all items, those the user has too" in out
    result = json.loads(out.splitlines()[-1])
    assert result["split"] == "leave-last-basket-out" and result["mrr"] == 1 and result["users_tested"] == 5
    for part in ("valid", "test"):
        _, out, _ = script(evaluate, f"--workdir={tmp_path}/run", f"--part={part}")
        assert json.loads(out.splitlines()[-1])["mrr"] == 1
    _, out, _ = script(recommend, f"--workdir={tmp_path}/run", "--user=c1", "--top_k=2")
    assert json.loads(out.splitlines()[-1])["users"]["c1"][0]["item"] == "milk"


def last(out):
    return json.loads(out.splitlines()[-1])


def test_lists_of_all_users_in_a_file_without_the_log(script, trained, shop, tmp_path, monkeypatch):
    """They are those that each user is shown, whatever became of the log."""
    kept = tmp_path / "run"
    shutil.copytree(trained("mf"), kept)
    gone = json.loads((kept / "config.json").read_text())
    gone["data"]["dataset"] = str(tmp_path / "gone.csv")
    (kept / "config.json").write_text(json.dumps(gone))
    monkeypatch.setattr(serving, "BLOCK", 5)
    tables = {}
    for ending in ("csv", "parquet"):
        path = tmp_path / f"lists.{ending}"
        status, out, err = script(recommend, "--workdir", kept, "--users=all", f"--output={path}", "--top_k=3")
        assert status == 0 and err == "" and last(out)["users"] == 12 and last(out)["rows"] == 36
        tables[ending] = pd.read_csv(path) if ending == "csv" else pd.read_parquet(path)
    pd.testing.assert_frame_equal(tables["csv"], tables["parquet"], check_dtype=False, check_exact=False)
    assert list(tables["csv"].columns) == ["user", "item", "title", "rank", "score"]
    _, out, _ = script(recommend, "--workdir", trained("mf"), "--user=c07", "--top_k=3")
    of_one = tables["csv"][tables["csv"].user == "c07"]
    assert of_one["item"].tolist() == [row["item"] for row in last(out)["users"]["c07"]]
    assert of_one["rank"].tolist() == [1, 2, 3]


def test_lists_by_files_and_of_what_may_come_again(script, trained, tmp_path):
    (tmp_path / "users.txt").write_text("c07\nc03\n")
    (tmp_path / "items.txt").write_text("".join(f"p{n:02}\n" for n in range(15)))
    (tmp_path / "away.txt").write_text("p01\np02\n")
    options = [f"--users={tmp_path}/users.txt", f"--output={tmp_path}/lists.csv", "--repeats", "--top_k=15"]
    limits = [f"--items={tmp_path}/items.txt", f"--exclude_items={tmp_path}/away.txt"]
    status, out, err = script(recommend, "--workdir", trained("mf"), *options, *limits, "--explain")
    assert status == 0, err
    table = pd.read_csv(tmp_path / "lists.csv")
    assert table["user"].unique().tolist() == ["c07", "c03"] and len(table) == 26
    assert not table["item"].isin(["p01", "p02"]).any()
    assert all(set(reason) == {"item", "title", "weight"} for cell in table["reasons"] for reason in json.loads(cell))
    _, out, _ = script(recommend, "--workdir", trained("mf"), "--user=c03", "--top_k=2")
    best = [row["item"] for row in last(out)["users"]["c03"]]
    _, out, _ = script(recommend, "--workdir", trained("mf"), "--user=c03", "--top_k=2", "--diversity=1")
    spread = [row["item"] for row in last(out)["users"]["c03"]]
    assert spread[0] == best[0] and len(spread) == 2


def test_rows_that_came_later(script, trained, shop, tmp_path):
    _, out, _ = script(recommend, "--workdir", trained("ancf"), "--user=c03", "--top_k=1")
    best = last(out)["users"]["c03"][0]["item"]
    (tmp_path / "rows.csv").write_text(f"customer,product\nc03,{best}\nc99,p01\nc99,unsold\n")
    options = [f"--new_rows={tmp_path}/rows.csv", "--user=c03", "--user=c99", "--top_k=20"]
    status, out, err = script(recommend, "--workdir", trained("ancf"), *options)
    assert status == 0, err
    found = last(out)
    assert found["new_rows"] == {"rows": 2, "users": 2, "new_users": 1, "left_out": 1}
    assert best not in {row["item"] for row in found["users"]["c03"]} and len(found["users"]["c99"]) == 14


def test_items_like_an_item(script, trained):
    for model, method in (("mf", "vectors"), ("itemknn", "users")):
        status, out, _ = script(recommend, "--workdir", trained(model), "--similar=p03", "--top_k=2")
        found = last(out)
        assert status == 0 and method in found["method"] and found["item"] == "p03" and len(found["similar"]) <= 2
        assert "like Product 3" in out and all(row["item"] != "p03" for row in found["similar"])


def test_pairs_and_vectors(script, trained, tmp_path):
    """The score of a pair is the inner product of the two vectors."""
    (tmp_path / "pairs.csv").write_text("product,customer\np03,c01\np14,c02\n")
    _, out, _ = script(recommend, "--workdir", trained("mf"), f"--pairs={tmp_path}/pairs.csv")
    pairs = last(out)["pairs"]
    output = [f"--pairs={tmp_path}/pairs.csv", f"--output={tmp_path}/scores.parquet"]
    assert script(recommend, "--workdir", trained("mf"), *output)[0] == 0
    assert pd.read_parquet(tmp_path / "scores.parquet")["score"].tolist() == [pair["score"] for pair in pairs]
    status, out, err = script(recommend, "--workdir", trained("mf"), f"--vectors={tmp_path}/vectors.parquet")
    assert status == 0 and last(out)["rows"] == 27, err
    vectors = pd.read_parquet(tmp_path / "vectors.parquet").set_index(["kind", "id"])["vector"]
    for pair in pairs:
        found = vectors["user", pair["user"]] @ vectors["item", pair["item"]]
        assert found == pytest.approx(pair["score"], rel=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "--user=ID"),
        (["--user=c03", "--history=p01"], "give one of --user=ID"),
        (["--user=c3"], "unknown user 'c3'; the nearest ids are c03"),
        (["--user=c03", "--user=zebra"], "unknown user 'zebra'; ids are written like c00 and c11; a new user"),
        (["--history=p01,p99"], "unknown item 'p99'; the nearest ids are p09"),
        (["--user=c03", "--top_k=0"], "top_k"),
        (["--users=all"], "--output=FILE.parquet"),
        (["--users=gone.txt", "--output=lists.csv"], "flag --users: gone.txt: No such file"),
        (["--users=all", "--output=lists.json"], "flag --output: lists.json is no .parquet or .csv file"),
        (["--similar=p01", "--output=lists.csv"], "flag --output: goes with"),
        (["--user=c03", "--items=gone.txt"], "flag --items: gone.txt: No such file"),
        (["--user=c03", "--categories=tea"], "flag --categories: the items of log.csv have none"),
        (["--user=c03", "--diversity=2"], "diversity"),
        (["--vectors=vectors.parquet"], "flag --vectors: the score of ancf is no inner product"),
    ],
)
def test_bad_input(script, trained, given, message):
    status, out, err = script(recommend, "--workdir", trained("ancf"), *given)
    assert status == 2 and out == ""
    assert err.startswith("error: ") and message in err and err.count("\n") == 1


@pytest.mark.parametrize(("workdir", "message"), [("", "--workdir is missing"), ("nowhere", "train a model there")])
def test_no_run(script, tmp_path, workdir, message):
    status, _, err = script(recommend, f"--workdir={workdir and tmp_path / workdir}", "--user=c03")
    assert status == 2 and err.startswith("error: ") and message in err and err.count("\n") == 1
