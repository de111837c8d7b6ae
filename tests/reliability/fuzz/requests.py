"""Requests to the service, which answers in this process: routes, bodies, addresses and headers."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ancf_jax.serving.service.app import make_app
from ancf_jax.serving.service.feedback import open_feedback
from ancf_jax.serving.service.live import open_live
from tests.reliability.fuzz.made import Kind

BODIES: dict[str, dict[str, Any]] = {
    "/recommend": {"user": 3, "top_k": 4, "explain": False, "exclude": [1], "categories": ["mug"], "repeats": None},
    "/similar": {"item": 3, "top_k": 5},
    "/explain": {"user": 3, "items": [1, 2], "reasons": 3},
    "/score": {"history": [1, 2, "3"], "items": [1, 2, 3]},
    "/feedback": {"user": "new", "item": 3, "value": 2.5, "time": 1.5},
}
PATHS = (b"/users?search=1&limit=3", b"/items?search=red%20mug&limit=2", b"/users/3", b"/health/ready", b"/metrics")
LEGAL = {200, 201, 400, 401, 404, 405, 408, 413, 422, 429, 431, 503}
WORDS = ('"user": ', '"history": [', '"items": [', '"top_k": ', "1e400", "NaN", "\\u0000", "\\ud800", "%00", "..%2f")


def kinds(root: Path) -> dict[str, Kind]:
    """What clients send: a body to a route, an address, or headers."""
    send = _service(root)

    def body(data: bytes) -> None:
        path = [*BODIES][(data[0] if data else 0) % len(BODIES)]
        send("POST", path.encode(), [(b"content-type", b"application/json")], data[1:])

    def address(data: bytes) -> None:
        send("GET", data, [], b"")

    def head(data: bytes) -> None:
        lines = [line.partition(b": ")[::2] for line in data.split(b"\n")]
        content = json.dumps(BODIES["/similar"]).encode()
        send("POST", b"/similar", [(name.strip().lower(), value) for name, value in lines if name.strip()], content)

    def ready(*seeds: bytes) -> list[bytes]:
        address(PATHS[0])  # opens the model, which takes longer than any request may
        return [*seeds]

    valid = [bytes([n]) + json.dumps(each).encode() for n, each in enumerate(BODIES.values())]
    heads = (b"content-type: application/json\ncontent-length: 9", b"authorization: Bearer x\naccept: */*")
    kinds = ("content-type: ", "application/json; charset=utf-16", "transfer-encoding: chunked", "multipart/form-data")
    return {
        "bodies": Kind(lambda: ready(*valid), body, 40, WORDS),
        "addresses": Kind(lambda: ready(*PATHS), address, 30, WORDS),
        "headers": Kind(lambda: ready(*heads), head, 15, kinds),
    }


def _service(root: Path) -> Callable[[str, bytes, list[tuple[bytes, bytes]], bytes], None]:
    """What sends a request to a service of this process, made with the first, and checks the answer."""
    made: list[Any] = []

    def send(method: str, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        if not made:
            store = open_feedback(str(root / "fuzz" / "feedback.db"))
            with store.connect() as connection:  # no fuzzed row has to be on a disk
                connection.exec_driver_sql("PRAGMA synchronous=OFF")
            app = make_app(open_live(root / "ancf"), store=store)
            loop = asyncio.new_event_loop()
            started = asyncio.Event()
            kept = loop.create_task(_lives(app, started))
            loop.run_until_complete(started.wait())
            made.extend((app, loop, kept))
        status, answer, kind = made[1].run_until_complete(_ask(made[0], method, target, headers, body))
        assert status in LEGAL, (status, answer[:300])
        if kind.startswith(b"application/json"):
            content = json.loads(answer, parse_constant=_no_constant)
            assert status < 400 or ([*content] == ["error"] and "\n" not in content["error"]), answer[:300]

    return send


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


async def _lives(app: Any, started: asyncio.Event) -> None:
    """The application's life, which goes on as long as the process."""

    async def receive() -> dict[str, Any]:
        if not started.is_set():
            return {"type": "lifespan.startup"}
        return await asyncio.Event().wait()  # type: ignore[return-value]

    async def send(message: Any) -> None:
        assert message["type"] == "lifespan.startup.complete", message
        started.set()

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)


async def _ask(app: Any, method: str, target: bytes, headers: Any, body: bytes) -> tuple[int, bytes, bytes]:
    from urllib.parse import unquote_to_bytes

    path, _, query = target.partition(b"?")
    parts: list[bytes] = []
    found: dict[str, Any] = {}
    sent = False

    async def receive() -> dict[str, Any]:
        nonlocal sent
        if sent:
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            found.update(status=message["status"], headers=dict(message["headers"]))
        else:
            parts.append(message.get("body", b""))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote_to_bytes(b"/" + path.lstrip(b"/")).decode("utf-8", "replace"),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    await app(scope, receive, send)
    return found["status"], b"".join(parts), found["headers"].get(b"content-type", b"")
