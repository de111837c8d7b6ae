"""What stands before requests: tokens, sizes, rates, and what is counted."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from ancf_jax.serving.service import guard


async def echo(scope, receive, send):
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def ask(app, parts=(b"",), path="/recommend", headers=(), address="1.2.3.4"):
    """The status and the body that a request of these parts is answered with."""
    sent, left = [], list(parts)

    async def receive():
        if not left:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left) or parts[-1] == b"more"}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": path, "headers": list(headers), "client": (address, 1)}
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], sent[1]["body"]


def test_a_token_is_asked_for_but_not_by_health_and_the_page():
    app = guard.guarded(echo, CollectorRegistry(), token="secret")
    for headers in ([], [(b"authorization", b"Bearer secre")], [(b"authorization", b"secret")]):
        assert ask(app, headers=headers)[0] == 401
    assert ask(app, [b"hello"], headers=[(b"authorization", b"Bearer secret")]) == (200, b"hello")
    assert [ask(app, path=path)[0] for path in ("/", "/health/live", "/health/ready", "/metrics")] == [200] * 3 + [401]


def test_large_bodies_are_refused_however_they_come(monkeypatch):
    monkeypatch.setattr(guard, "BODY", 10)
    app = guard.guarded(echo, CollectorRegistry())
    assert ask(app, [b"12345", b"67890"]) == (200, b"1234567890")
    assert ask(app, [b"12345", b"678901"])[0] == 413
    assert ask(app, headers=[(b"content-length", b"11")])[0] == 413
    assert ask(app, headers=[(b"content-length", b"9" * 400)])[0] == 413
    monkeypatch.setattr(guard, "HEAD", 100)
    assert ask(app, headers=[(b"cookie", b"c" * 100)])[0] == 431


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(guard, "PATIENCE", 0.01)
    assert ask(guard.guarded(echo, CollectorRegistry()), [b"more"])[0] == 408


def test_a_rate_is_of_one_address(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(guard.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(guard, "ADDRESSES", 2)
    app = guard.guarded(echo, CollectorRegistry(), rate=3)
    assert [ask(app)[0] for _ in range(5)] == [200, 200, 200, 429, 429]
    assert ask(app, address="5.6.7.8")[0] == 200
    now[0] = 0.4
    assert [ask(app)[0] for _ in range(2)] == [200, 429]


def test_requests_are_counted_by_route_and_status():
    registry = CollectorRegistry()

    async def fails(scope, receive, send):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        ask(guard.guarded(fails, registry))
    assert b'ancf_requests_total{path="none",status="500"} 1.0' in generate_latest(registry)
