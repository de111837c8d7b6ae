"""Serve: python -m experiments.serve --workdir=checkpoints/ancf --feedback=checkpoints/feedback.db

A trained model as a service: POST /recommend, /similar, /explain, /score and /feedback, GET /users, /users/{id},
/items, /health/live, /health/ready, /metrics and /openapi.json, and a page at / to try them. It listens on 127.0.0.1
unless told otherwise, takes a newer checkpoint of the run while it answers, and on SIGTERM answers what has come
before it ends. --export=FILE writes what --feedback kept as a log for training, and serves nothing.
"""

import os
import signal
import socket
import sys
from functools import partial
from pathlib import Path
from typing import Any

from absl import flags

from ancf_jax.types import InputError
from experiments import console
from experiments.options import define_cache, keep_programs


def define() -> None:
    """Which model, where, and what is let in."""
    flags.DEFINE_string("workdir", "", "the folder of a trained run", allow_override=True)
    flags.DEFINE_string("data_dir", "", "where originals are looked for, if the run kept none", allow_override=True)
    flags.DEFINE_string("host", "127.0.0.1", "the address that is listened on", allow_override=True)
    port = "the port that is listened on; 0 is any that is free"
    flags.DEFINE_integer("port", 8000, port, lower_bound=0, upper_bound=65535, allow_override=True)
    kept = "a file, or a URL such as postgresql://..., that keeps feedback (empty: none is kept)"
    flags.DEFINE_string("feedback", "", kept, allow_override=True)
    token = "what requests have to bear in Authorization: Bearer TOKEN ($ANCF_TOKEN)"
    flags.DEFINE_string("token", "", token, allow_override=True)
    rate = "requests a second that one address may send (0: any number)"
    flags.DEFINE_float("rate", 500.0, rate, lower_bound=0, allow_override=True)
    newer = "seconds between looks for a newer checkpoint (0: never)"
    flags.DEFINE_float("reload_every", 10.0, newer, lower_bound=0, allow_override=True)
    flags.DEFINE_string("export", "", "a .csv or .parquet file for all that --feedback kept", allow_override=True)
    define_cache()


if __name__ == "__main__":
    console.run_help(define)  # before what follows, which takes seconds to import

import pyarrow

PATIENCE = 30  # seconds for what has come before a signal to stop


def main() -> dict[str, Any]:
    """Serve until a signal stops it."""
    options = flags.FLAGS
    try:
        import uvicorn

        from ancf_jax.serving.service.app import make_app
        from ancf_jax.serving.service.feedback import open_feedback
        from ancf_jax.serving.service.live import newer, open_live
    except ModuleNotFoundError as error:
        raise InputError(f"serving needs {error.name}, which pip install '.[serve]' brings") from error
    if options.export:
        return export(options.feedback, options.export)
    if not options.workdir:
        raise InputError("--workdir is missing: the folder of a trained run")
    token, workdir = options.token or os.environ.get("ANCF_TOKEN", ""), Path(options.workdir)
    if not token.isascii() or any(letter.isspace() for letter in token):
        raise InputError("flag --token: legal are letters, digits and signs of ASCII, without spaces")
    keep_programs()
    console.status(f"reading {workdir} and its data ...")
    store = open_feedback(options.feedback) if options.feedback else None
    listening = listen(options.host, options.port)
    live = open_live(workdir, options.data_dir)
    look = partial(newer, workdir=workdir, data_dir=options.data_dir)
    app: Any = make_app(live, store=store, token=token, rate=options.rate, reload_every=options.reload_every, look=look)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=PATIENCE, server_header=False
    )
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    console.say(f"{live.run.model} answers at http://{shown}:{port}/")
    if not token and not options.host.startswith("127.") and options.host not in ("localhost", "::1"):
        print(f"note: whoever reaches {options.host} is answered; --token=TOKEN asks for one", file=sys.stderr)
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: stopped.append(number))  # uvicorn raises it again at its end
    uvicorn.Server(config).run([listening])
    if signal.SIGINT in stopped:
        raise KeyboardInterrupt
    return {"model": live.run.model, "host": host, "port": port, "stopped": True}


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises InputError where the address is none, or taken."""
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
        )
    except OSError as error:
        raise InputError(f"flags --host, --port: {host}:{port}: {error.strerror or error}") from error


def export(kept: str, path: str) -> dict[str, Any]:
    """Write feedback as a log: user, item, value, and time in seconds since 1970."""
    from ancf_jax.serving.service.feedback import all_rows, open_feedback
    from ancf_jax.serving.tables import check_output, writing

    if not kept:
        raise InputError("flag --export: --feedback says what is exported")
    to, rows = check_output(path, "export"), 0
    with writing(to) as write:
        for part in all_rows(open_feedback(kept)):
            write(pyarrow.Table.from_pandas(part, preserve_index=False))
            rows += len(part)
    console.say(f"wrote {to}: {rows:,} rows, columns user, item, value, time")
    return {"output": str(to), "rows": rows}


if __name__ == "__main__":
    console.run(define, main)
