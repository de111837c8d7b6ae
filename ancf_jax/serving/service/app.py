"""The service: its routes, what runs beside them, and errors as one sentence each."""

import asyncio
import base64
import hashlib
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import FastAPI, Query, Request, Response
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from starlette.exceptions import HTTPException

from ancf_jax.config import as_arguments
from ancf_jax.serving.lookup import UnknownId
from ancf_jax.serving.service import answers, bodies, feedback
from ancf_jax.serving.service.batching import WAITING, BusyError, answer, ask
from ancf_jax.serving.service.guard import App, guarded
from ancf_jax.serving.service.kept import Kept
from ancf_jax.serving.service.live import Live
from ancf_jax.serving.service.programs import SIZES
from ancf_jax.types import InputError

LISTING = 2  # threads that make lists, so that one does not wait for another
PAGE = Path(__file__).with_name("page.html")
Newer = Callable[[Live], Live]
Search = Annotated[str, Query(max_length=100, pattern=r"^[^\x00]*$")]
Limit = Annotated[int, Query(ge=1, le=100)]


def make_app(
    live: Live,
    *,
    store: sa.Engine | None = None,
    token: str = "",
    rate: float = 0.0,
    reload_every: float = 0.0,
    look: Newer = lambda live: live,
) -> App:
    """The service of a model, as an ASGI application.

    Args:
        live: what `open_live` opened.
        store: where feedback is kept; without it none is.
        token: what requests have to bear; none if empty.
        rate: requests a second of one address at most; 0 any number.
        reload_every: seconds between looks for a newer model; 0 never.
        look: the model that is to answer -> the newest there is.
    """
    current, kept, registry = [live], Kept(), CollectorRegistry()
    reloads = Counter("ancf_reloads", "newer checkpoints taken", registry=registry)
    taken = Gauge("ancf_model_taken_seconds", "when the model that answers was taken, since 1970", registry=registry)
    taken.set_to_current_time()
    again = Gauge("ancf_lists_kept", "lists that were answered as they had been computed before", registry=registry)
    again.set_function(lambda: kept.taken)
    # What takes long waits for its like alone.
    lists, reasons, others = (asyncio.Queue[Any](WAITING) for _ in range(3))

    async def watch() -> None:
        """Take newer checkpoints, in a thread of its own."""
        while True:
            await asyncio.sleep(reload_every)
            try:
                found = await asyncio.to_thread(look, current[0])
            except Exception as error:  # a run that is being written, say; what answers goes on answering
                logging.warning("the checkpoint is not taken: %s", error)
                continue
            if found is not current[0]:
                current[0] = found
                reloads.inc()
                taken.set_to_current_time()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with ExitStack() as threads:
            tasks = []
            best: Any = (lists, partial(answers.recommend, store=store, kept=kept), SIZES)
            for queue, work, sizes in (*[best] * LISTING, (reasons, _each, (1,)), (others, _each, (1,))):
                thread = threads.enter_context(ThreadPoolExecutor(1))
                tasks.append(asyncio.create_task(answer(queue, work, sizes, thread)))
            if reload_every:
                tasks.append(asyncio.create_task(watch()))
            yield
            for task in tasks:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks)

    app = FastAPI(title="ancf_jax", lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False)
    add_errors(app)
    page, policy = _page()

    @app.post("/recommend", response_model=bodies.RecommendAnswer, responses=bodies.problems(400, 404, 422, 503))
    async def recommend(body: bodies.RecommendBody) -> Response:
        job = partial(_alone, (current[0], body), store, kept)
        return _json(await (ask(reasons, job) if body.explain else ask(lists, (current[0], body))))

    @app.post("/similar", response_model=bodies.SimilarAnswer, responses=bodies.problems(400, 404, 422, 503))
    async def similar(body: bodies.SimilarBody) -> Response:
        return _json(await ask(others, partial(answers.similar, current[0], body)))

    @app.post("/explain", response_model=bodies.ExplainAnswer, responses=bodies.problems(400, 404, 422, 503))
    async def explain(body: bodies.ExplainBody) -> Response:
        return _json(await ask(reasons, partial(answers.explain, current[0], body, store)))

    @app.post("/score", response_model=bodies.ScoreAnswer, responses=bodies.problems(400, 404, 422, 503))
    async def score(body: bodies.ScoreBody) -> Response:
        return _json(await ask(others, partial(answers.score, current[0], body, store)))

    @app.post(
        "/feedback",
        status_code=201,
        response_model=bodies.FeedbackAnswer,
        responses=bodies.problems(400, 404, 422, 503),
    )
    async def give_feedback(body: bodies.FeedbackBody) -> Response:
        if store is None:
            raise HTTPException(503, "this service keeps no feedback; --feedback=FILE makes it keep some")
        answers.title(current[0], str(body.item))
        row = body.model_dump() | {"time": time.time() if body.time is None else float(body.time)}
        await asyncio.to_thread(feedback.add, store, str(body.user), str(body.item), float(body.value), row["time"])
        return _json(row, 201)

    @app.get("/users", response_model=bodies.UsersAnswer, responses=bodies.problems(422))
    async def users(search: Search = "", limit: Limit = 20) -> Response:
        return _json(answers.found_users(current[0], search, limit))

    @app.get("/users/{id:path}", response_model=bodies.UserAnswer, responses=bodies.problems(404, 422, 503))
    async def user(id: Annotated[str, InPath(min_length=1, max_length=500, pattern=r"^[^\x00]*$")]) -> Response:
        return _json(await ask(others, partial(answers.user, current[0], id, store)))

    @app.get("/items", response_model=bodies.ItemsAnswer, responses=bodies.problems(422, 503))
    async def items(search: Search = "", limit: Limit = 20) -> Response:
        return _json(await ask(others, partial(answers.found_items, current[0], search, limit)))

    @app.get("/health/live", response_model=bodies.Health, responses=bodies.problems())
    async def alive() -> Response:
        return _json({"status": "live"})

    @app.get("/health/ready", response_model=bodies.Health, responses=bodies.problems(503))
    async def ready() -> Response:
        if store is not None:
            try:
                await asyncio.to_thread(feedback.rows_of, store, [""])
            except sa.exc.SQLAlchemyError:
                raise HTTPException(503, "the database of feedback does not answer") from None
        return _json({"status": "ready"})

    @app.get("/metrics", response_class=Response, responses=bodies.problems())
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")

    @app.get("/", include_in_schema=False)
    async def show() -> Response:
        headers = {"content-security-policy": policy, "cache-control": "no-cache", "referrer-policy": "no-referrer"}
        return Response(page, media_type="text/html", headers=headers)

    return guarded(app, registry, token, rate)


def _each(jobs: Sequence[Callable[[], Any]]) -> list[Any]:
    return [job() for job in jobs]


def _alone(job: tuple[Live, bodies.RecommendBody], store: sa.Engine | None, kept: Kept) -> answers.Answer:
    (found,) = answers.recommend([job], store, kept)
    if isinstance(found, Exception):
        raise found
    return found


def _json(content: Any, status: int = 200) -> Response:
    return Response(json.dumps(content, allow_nan=False), status, media_type="application/json")


def add_errors(app: FastAPI) -> None:
    """Every error as {"error": one sentence}."""

    def said(status: int, text: str, headers: Any = None) -> Response:
        text = " ".join(text.split()).encode("utf-8", "replace").decode()
        return Response(json.dumps({"error": text}), status, headers, "application/json")

    @app.exception_handler(UnknownId)
    async def unknown(request: Request, error: UnknownId) -> Response:
        return said(404, as_arguments(str(error)))

    @app.exception_handler(InputError)
    async def bad(request: Request, error: InputError) -> Response:
        return said(422, as_arguments(str(error)))

    @app.exception_handler(BusyError)
    async def busy(request: Request, error: BusyError) -> Response:
        return said(503, str(error), {"retry-after": "1"})

    @app.exception_handler(sa.exc.SQLAlchemyError)
    async def no_database(request: Request, error: Exception) -> Response:
        return said(503, "the database of feedback does not answer", {"retry-after": "1"})

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        # An id is a text or a number: of what is wrong with it as each, what is not that it is the other.
        first = min(error.errors(), key=lambda each: each["type"].endswith("_type"))
        if first["type"] == "json_invalid":
            return said(422, f"the body is no JSON: {first['ctx']['error']} at letter {first['loc'][-1]}")
        where = ".".join(str(part) for part in first["loc"][1:] if re.fullmatch(r"[a-z_]+|\d+", str(part)))
        return said(422, f"{where or 'the request'}: {first['msg'].removeprefix('Value error, ')}")

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return said(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        logging.exception("%s %s failed", request.method, request.url.path, exc_info=error)
        return said(500, "the service failed to answer; its log says why")


def _page() -> tuple[str, str]:
    """The page, and the policy by which a browser runs its own script and style and no other, and asks here alone."""
    text = PAGE.read_text("utf-8")
    hashes = {
        kind: base64.b64encode(
            hashlib.sha256(re.findall(f"<{kind}>(.*?)</{kind}>", text, re.DOTALL)[0].encode()).digest()
        )
        for kind in ("script", "style")
    }
    own = "; ".join(f"{kind}-src 'sha256-{found.decode()}'" for kind, found in hashes.items())
    return text, f"default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; {own}"
