"""A shop's model, and services of it that listen on a free port of this machine."""

import contextlib
import socket
import threading
import time

import numpy as np
import pandas as pd
import pytest

import ancf_jax

pytest.importorskip("fastapi")
httpx, uvicorn = pytest.importorskip("httpx"), pytest.importorskip("uvicorn")

TINY = {"epochs": 1, "factors": 4, "heads": 2, "history": 5, "prior": 0, "tower": (), "negatives": 4, "targets": 2}


@pytest.fixture(scope="session")
def workdir(tmp_path_factory):
    """The folder of an ANCF of 12 customers c00, ... who bought 6 of 15 products, mugs and teas."""
    folder, rng = tmp_path_factory.mktemp("service"), np.random.default_rng(0)
    log = pd.DataFrame([(f"c{who:02}", f"p{what:02}") for who in range(12) for what in rng.permutation(15)[:6]])
    titles = [
        f"p{n:02},{'Red' if n % 2 else 'Blue'} {'mug' if n < 8 else 'tea'} {n},{'mug' if n < 8 else 'tea'}"
        for n in range(15)
    ]
    (folder / "items.csv").write_text("item,title,kind\n" + "\n".join(titles) + "\n")
    log.columns = ["user", "item"]
    dataset = ancf_jax.load(log, items_path=str(folder / "items.csv"), item_categories=("kind",))
    ancf_jax.fit("ancf", dataset, workdir=folder / "run", **TINY)
    return folder / "run"


@pytest.fixture(scope="session")
def live(workdir):
    from ancf_jax.serving.service.live import open_live

    return open_live(workdir)


@pytest.fixture(scope="session")
def serve():
    """A context that serves an application: a client of it."""

    @contextlib.contextmanager
    def served(app):
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
        listening = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=60) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()

    return served


@pytest.fixture(scope="module")
def client(live, serve, tmp_path_factory):
    """A client of a service that keeps feedback."""
    from ancf_jax.serving.service.app import make_app
    from ancf_jax.serving.service.feedback import open_feedback

    with serve(make_app(live, store=open_feedback(str(tmp_path_factory.mktemp("kept") / "feedback.db")))) as client:
        yield client
