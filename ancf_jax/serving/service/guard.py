"""What stands before every request: its size, its rate, its token; and what is counted of it."""

import asyncio
import hmac
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

BODY = 1 << 20  # bytes of a request
HEAD = 1 << 15  # of its headers and its address
PATIENCE = 10.0  # seconds until a request's body has to be there
ADDRESSES = 10_000  # whose rates are remembered
OPEN = ("/", "/health/live", "/health/ready")  # need no token
LATENCIES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)  # seconds

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


def guarded(app: App, registry: CollectorRegistry, token: str = "", rate: float = 0.0) -> App:
    """The application behind a guard; `rate` requests a second of one address are let in, 0 any number.

    It answers 401 without the token, 408 where a body does not come, 413 for one that is too large, 431 for such
    headers and 429 above the rate, each with one sentence.
    """
    requests = Counter("ancf_requests", "requests answered", ["path", "status"], registry=registry)
    seconds = Histogram(
        "ancf_request_seconds", "from request to answer", ["path"], registry=registry, buckets=LATENCIES
    )
    allowed: dict[str, tuple[float, float]] = {}  # address -> requests that it may send, as of when

    def fits_rate(address: str) -> bool:
        now = time.monotonic()
        left, then = allowed.pop(address, (rate, now))
        left = min(left + (now - then) * rate, rate)
        allowed[address] = (max(left - 1, 0.0), now)  # at the end: the first has been silent longest
        if len(allowed) > ADDRESSES:
            del allowed[next(iter(allowed))]
        return left >= 1

    async def guard(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await app(scope, receive, send)
        started, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-content-type-options", b"nosniff")]
            await send(message)

        try:
            if rate and not fits_rate((scope.get("client") or ("",))[0]):
                return await refuse(noted, 429, f"more than {rate:g} requests a second; wait a second")
            if token and scope["path"] not in OPEN and not _has_token(scope, token):
                return await refuse(noted, 401, "this service wants the header Authorization: Bearer TOKEN")
            if _head(scope) > HEAD:
                return await refuse(noted, 431, f"headers and address of a request may have {HEAD} bytes at most")
            try:
                async with asyncio.timeout(PATIENCE):
                    body = await _body(scope, receive)
            except TimeoutError:
                return await refuse(noted, 408, f"the body of the request was not there after {PATIENCE:g} seconds")
            if body is None:
                return await refuse(noted, 413, f"the body of a request may have {BODY} bytes at most")
            await app(scope, _again(body, receive), noted)
        finally:
            path = getattr(scope.get("route"), "path", "none")
            requests.labels(path, status).inc()
            seconds.labels(path).observe(time.perf_counter() - started)

    return guard


def _has_token(scope: MutableMapping[str, Any], token: str) -> bool:
    given = dict(scope["headers"]).get(b"authorization", b"")
    return hmac.compare_digest(given, b"Bearer " + token.encode())


def _head(scope: MutableMapping[str, Any]) -> int:
    parts = [part for header in scope["headers"] for part in header]
    return sum(map(len, parts)) + len(scope["path"]) + len(scope.get("query_string", b""))


async def _body(scope: MutableMapping[str, Any], receive: Receive) -> bytes | None:
    """All of a request's body; None if it is too large."""
    length = dict(scope["headers"]).get(b"content-length", b"0")
    if length.isdigit() and int(length[:20]) > BODY:
        return None
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break  # who asked has gone
        parts.append(message.get("body", b""))
        size, more = size + len(parts[-1]), message.get("more_body", False)
        if size > BODY:
            return None
    return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """What gives the body that was read, and then what else comes."""
    given = False

    async def once() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return once


async def refuse(send: Send, status: int, why: str) -> None:
    """Answer with an error, as the application does."""
    body = json.dumps({"error": why}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status == 429:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
