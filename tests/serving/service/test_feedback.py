"""Feedback in a database: in a file always, and on a PostgreSQL server where one can be started."""

import os
import shutil
import socket
import subprocess

import pandas as pd
import pytest

pytest.importorskip("sqlalchemy")

from ancf_jax.serving.service.feedback import add, all_rows, open_feedback, rows_of
from ancf_jax.types import InputError


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """The URL of a server with an empty database."""
    pytest.importorskip("psycopg")
    if not (shutil.which("initdb") and shutil.which("pg_ctl")):
        pytest.skip("no initdb and pg_ctl: no PostgreSQL server can be started")
    folder, user = tmp_path_factory.mktemp("postgres"), []
    if os.getuid() == 0:  # which a server refuses to run as
        user = ["runuser", "-u", "nobody", "--"]
        shutil.chown(folder, "nobody")
        for parent in list(folder.parents)[: len(folder.parents) - 2]:
            parent.chmod(parent.stat().st_mode | 0o011)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    control = [*user, "pg_ctl", "-D", f"{folder}/data", "-s", "-w"]
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    made = subprocess.run(
        [*user, "initdb", "-D", f"{folder}/data", "-A", "trust", "-U", "shop", "-N"], capture_output=True
    )
    started = made.returncode == 0 and subprocess.run([*control, "-o", options, "-l", f"{folder}/log", "start"])
    if not started or started.returncode:
        pytest.skip(f"no PostgreSQL server can be started here: {made.stderr.decode()[-200:]}")
    yield f"postgresql://shop@127.0.0.1:{port}/postgres"
    subprocess.run([*control, "-m", "immediate", "stop"], check=True)


@pytest.fixture(params=["file", "postgres"])
def target(request, tmp_path):
    return str(tmp_path / "feedback.db") if request.param == "file" else request.getfixturevalue("postgres")


def test_what_is_kept_is_there_for_others_in_the_order_of_time(target):
    first = open_feedback(target)
    for row in (("a", "x", 1.0, 20.0), ("b; DROP", "ü'\"", -2.5, 5.0), ("a", "y", 3.0, 10.0), ("a", "z", 0.0, 20.0)):
        add(first, *row)
    second = open_feedback(target)  # another replica
    assert rows_of(second, ["a", "nobody"]) == {"a": [("y", 3.0), ("x", 1.0), ("z", 0.0)]}
    assert rows_of(second, []) == {}
    log = pd.concat(all_rows(second), ignore_index=True)
    assert log.to_dict("list") == {
        "user": ["b; DROP", "a", "a", "a"],
        "item": ["ü'\"", "y", "x", "z"],
        "value": [-2.5, 3.0, 1.0, 0.0],
        "time": [5.0, 10.0, 20.0, 20.0],
    }
    for engine in (first, second):
        engine.dispose()


def test_two_services_with_one_database_answer_alike(target, live, serve):
    from ancf_jax.serving.service.app import make_app

    with (
        serve(make_app(live, store=open_feedback(target))) as one,
        serve(make_app(live, store=open_feedback(target))) as two,
    ):
        ask = {"user": "c07", "top_k": 3}
        before = two.post("/recommend", json=ask).json()["items"]
        given = one.post("/feedback", json={"user": "c07", "item": before[0]["item"]})
        after = [client.post("/recommend", json=ask).json() for client in (one, two)]
    assert given.status_code == 201 and after[0] == after[1]
    assert before[0]["item"] not in [row["item"] for row in after[1]["items"]]


def test_a_file_is_written_ahead_and_to_the_disk(tmp_path):
    engine = open_feedback(str(tmp_path / "feedback.db"))
    with engine.connect() as connection:
        told = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
    assert told == ["wal", 2]


def test_what_cannot_be_opened_is_named_without_its_password(tmp_path):
    with pytest.raises(InputError, match=r"flag --feedback: .*no/feedback\.db cannot be opened"):
        open_feedback(str(tmp_path / "no" / "feedback.db"))
    with pytest.raises(InputError, match=r"flag --feedback: postgresql://me:\*\*\*@") as error:
        open_feedback("postgresql://me:secret@127.0.0.1:1/none")
    assert "secret" not in str(error.value)
