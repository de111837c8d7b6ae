"""The service over HTTP: answers are those of the lists in Python, and whatever is wrong is one clear sentence."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

import ancf_jax

pytestmark = pytest.mark.xdist_group("service")  # whose model one worker trains, once


@pytest.fixture(scope="module")
def fitted(workdir):
    return ancf_jax.open_run(workdir)


def items(answer):
    return [row["item"] for row in answer.json()["items"]]


def test_lists_are_those_in_python(client, fitted):
    answer = client.post("/recommend", json={"user": "c03", "top_k": 4, "explain": True}).json()
    table = fitted.recommend(["c03"], top_k=4)
    assert answer["model"] == "ancf" and answer["user"] == "c03"
    assert [row["item"] for row in answer["items"]] == table["item"].tolist()
    assert [row["title"] for row in answer["items"]] == table["title"].tolist()
    assert [row["score"] for row in answer["items"]] == pytest.approx(table["score"].tolist(), rel=1e-4)
    why = fitted.explain(["c03"], top_k=1, reasons=5)
    assert [reason["item"] for reason in answer["items"][0]["reasons"]] == why["reason"].tolist()
    new = client.post("/recommend", json={"history": ["p01", "p02"]})
    assert new.json()["user"] is None and items(new) == fitted.recommend(history=["p01", "p02"])["item"].tolist()


def test_what_may_be_recommended(client, fitted):
    ask = lambda **body: items(client.post("/recommend", json={"user": "c03", "top_k": 15} | body))  # noqa: E731
    every, had = ask(), {row["item"] for row in client.get("/users/c03").json()["history"]}
    assert len(every) == 9 and len(had) == 6 and not had & set(every)
    assert set(ask(items=[every[2], every[5], min(had)])) == {every[2], every[5]} and ask(items=[]) == []
    assert ask(exclude=every[:2]) == every[2:]
    assert ask(categories=["tea"]) == [item for item in every if item >= "p08"]
    assert set(ask(repeats=True)) == had | set(every)


def test_many_at_once_are_answered_each_as_alone(client):
    users = [f"c{n % 12:02}" for n in range(40)] + ["nobody"]
    alone = {user: client.post("/recommend", json={"user": user}) for user in set(users)}
    with ThreadPoolExecutor(20) as pool:
        together = list(pool.map(lambda user: client.post("/recommend", json={"user": user}), users))
    for user, answer in zip(users, together, strict=True):
        assert answer.status_code == alone[user].status_code == (404 if user == "nobody" else 200)
        if user != "nobody":
            assert items(answer) == items(alone[user])


def test_likeness_scores_and_reasons(client, fitted):
    similar = client.post("/similar", json={"item": "p03", "top_k": 3}).json()
    assert [row["item"] for row in similar["items"]] == fitted.similar("p03", 3)["item"].tolist()
    wanted = [f"p{n:02}" for n in range(15)] * 5  # more than are scored at once
    scored = client.post("/score", json={"user": "c01", "items": wanted}).json()["items"]
    assert [row["item"] for row in scored] == wanted
    expected = fitted.score([("c01", item) for item in wanted[:15]])
    assert [row["score"] for row in scored[-15:]] == pytest.approx(expected, rel=1e-4)
    why = client.post("/explain", json={"user": "c01", "items": wanted[:12], "reasons": 2}).json()
    assert len(why["items"]) == 12 and why["method"] == fitted.explain(["c01"], top_k=1).attrs["method"]
    assert all(reason["heads"] for row in why["items"] for reason in row["reasons"])
    assert max(len(row["reasons"]) for row in why["items"]) == 2


def test_search(client):
    find = lambda text: [row["title"] for row in client.get("/items", params={"search": text}).json()["items"]]  # noqa: E731
    assert find("tea BLUE") == ["Blue tea 8", "Blue tea 10", "Blue tea 12", "Blue tea 14"] and find("zebra") == []
    assert find("p03") == ["Red mug 3"]
    assert client.get("/users", params={"search": "c1"}).json() == {"users": ["c10", "c11"]}
    assert len(client.get("/users", params={"limit": 3}).json()["users"]) == 3


def test_feedback_changes_the_next_answer_and_makes_users_known(client):
    best = items(client.post("/recommend", json={"user": "c05"}))[0]
    given = client.post("/feedback", json={"user": "c05", "item": best, "value": 2, "time": 5})
    assert given.status_code == 201 and given.json() == {"user": "c05", "item": best, "value": 2, "time": 5.0}
    assert best not in items(client.post("/recommend", json={"user": "c05"}))
    assert client.get("/users/c05").json()["history"][-1]["item"] == best
    assert client.get("/users/new one").status_code == 404
    assert client.post("/feedback", json={"user": "new one", "item": "p01"}).status_code == 201
    assert client.get("/users/new one").json() == {
        "user": "new one",
        "trained": False,
        "history": [{"item": "p01", "title": "Red mug 1"}],
    }
    assert items(client.post("/recommend", json={"user": "new one"})) == items(
        client.post("/recommend", json={"history": ["p01"]})
    )


def test_health_metrics_and_the_schema(client):
    assert client.get("/health/live").json() == {"status": "live"}
    assert client.get("/health/ready").json() == {"status": "ready"}
    assert 'ancf_requests_total{path="/recommend",status="200"}' in client.get("/metrics").text
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/recommend", "/similar", "/explain", "/score", "/feedback", "/users/{id}", "/items"} <= set(paths)


HOSTILE = [
    ("/recommend", "{", 422, "the body is no JSON"),
    ("/recommend", "[]", 422, ""),
    ("/recommend", "[" * 100_000, 400, ""),
    ("/recommend", '{"user": ' + "9" * 5000 + "}", 400, ""),
    ("/recommend", '{"user": 9223372036854775808}', 422, "Input should be less than 9223372036854775808"),
    ("/recommend", '{"user": true}', 422, "user"),
    ("/recommend", '{"user": "c03", "top_k": NaN}', 422, "top_k"),
    ("/recommend", '{"user": "c03", "top_k": 101}', 422, "top_k: Input should be less than or equal to 100"),
    ("/recommend", '{"user": "c03", "topk": 3}', 422, "topk: Extra inputs are not permitted"),
    ("/recommend", '{"user": "c03", "history": []}', 422, "give either a user or a history"),
    ("/recommend", "{}", 422, "give either a user or a history"),
    ("/recommend", '{"user": "c\\u0000"}', 422, "user"),
    ("/recommend", '{"user": "\\ud800"}', 422, "user"),
    ("/recommend", '{"user": "../../../etc/passwd"}', 404, "unknown user '../../../etc/passwd'"),
    ("/recommend", '{"user": "' + "é" * 501 + '"}', 422, "user"),
    ("/recommend", '{"user": "c3"}', 404, "unknown user 'c3'; the nearest ids are c03"),
    ("/recommend", '{"history": ["p99"]}', 404, "unknown item 'p99'; the nearest ids are p09"),
    ("/recommend", '{"user": "c03", "categories": ["mgu"]}', 404, "'mgu' is unknown; the nearest are mug"),
    ("/recommend", json.dumps({"history": ["p01"] * 10_001}), 422, "history"),
    ("/recommend", '{"history": ["' + "x" * (1 << 20) + '"]}', 413, "1048576 bytes at most"),
    ("/similar", '{"item": "<script>"}', 404, "unknown item"),
    ("/score", '{"user": "c03", "items": []}', 422, "items"),
    ("/explain", '{"user": "c03", "items": ["p01"], "reasons": 0}', 422, "reasons"),
    ("/feedback", '{"user": "c03", "item": "p99"}', 404, "unknown item"),
    ("/feedback", '{"user": "c03", "item": "p01", "value": Infinity}', 422, "value"),
    ("/feedback", '{"user": "c03", "item": "p01", "time": -1}', 422, "time"),
    ("/feedback", '{"user": "x\'; DROP TABLE feedback; --", "item": "p01"}', 201, ""),
]


@pytest.mark.parametrize(("path", "body", "status", "said"), HOSTILE, ids=[f"{p} {b[:40]}" for p, b, *_ in HOSTILE])
def test_what_is_wrong_is_one_sentence(client, path, body, status, said):
    answer = client.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    if status != 201:
        assert list(answer.json()) == ["error"] and said in answer.json()["error"]
        assert len(answer.text) < 700 and "\n" not in answer.json()["error"] and "Traceback" not in answer.text


@pytest.mark.parametrize("path", ["/..%2f..%2fetc/passwd", "/users/..%2f..%2fetc%2fpasswd", "/page.html", "/docs"])
def test_no_path_is_opened(client, path):
    answer = client.get(path)
    assert answer.status_code == 404 and "root:" not in answer.text and list(answer.json()) == ["error"]


@pytest.mark.parametrize(("path", "status"), [("/users/", 422), ("/items/", 404), ("/users/%00", 422)])
def test_addresses_that_end_early(client, path, status):
    answer = client.get(path, follow_redirects=False)
    assert answer.status_code == status and list(answer.json()) == ["error"]


def test_requests_that_the_schema_describes_and_others(client):
    """Whatever is asked, the answer is one that the schema has, and no error of the server's own."""
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, given, seed, settings

    schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    schema.config.update(base_url=str(client.base_url))
    checks = [schemathesis.checks.not_a_server_error]
    from schemathesis.specs.openapi import checks as of_schema

    checks += [
        of_schema.status_code_conformance,
        of_schema.content_type_conformance,
        of_schema.response_schema_conformance,
        of_schema.negative_data_rejection,
    ]
    asked = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        for mode in schemathesis.GenerationMode:
            if mode.value == "negative" and operation.method != "post":
                continue  # there is little that can be wrong with the others

            @seed(0)
            @settings(
                max_examples=3,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def check(case):
                nonlocal asked
                case.call_and_validate(checks=checks)
                asked += 1

            check()
    assert asked > 30
