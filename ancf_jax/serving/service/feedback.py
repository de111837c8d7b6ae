"""What people did since the log was written, in a database: SQLite in a file, or any server that SQLAlchemy speaks to.

A row is on the disk before `add` returns. In a file, readers and the writer do not wait for each other (WAL).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import sqlalchemy as sa

from ancf_jax.files import at_home
from ancf_jax.types import InputError

BLOCK = 50_000  # rows that are exported at once
TABLE = sa.Table(
    "feedback",
    sa.MetaData(),
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("user", sa.Text, nullable=False, index=True),
    sa.Column("item", sa.Text, nullable=False),
    sa.Column("value", sa.Float, nullable=False),
    sa.Column("time", sa.Float, nullable=False),  # seconds since 1970
)


FOUND = (
    sa.select(TABLE.c.user, TABLE.c.item, TABLE.c.value)
    .where(TABLE.c.user.in_(sa.bindparam("users", expanding=True)))
    .order_by(TABLE.c.time, TABLE.c.id)
)


def open_feedback(target: str) -> sa.Engine:
    """The database in a file, or at a URL such as postgresql://user:password@host/name; its table is made if need be.

    Raises InputError if it cannot be opened.
    """
    url = target if "://" in target else f"sqlite:///{at_home(target).resolve()}"
    try:
        engine = sa.create_engine(
            url.replace("postgresql://", "postgresql+psycopg://", 1), pool_pre_ping="://" in target
        )
        if engine.dialect.name == "sqlite":
            sa.event.listen(engine, "connect", _durable)
        TABLE.metadata.create_all(engine)
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        shown = sa.engine.make_url(url).render_as_string() if "://" in target else target  # without the password
        raise InputError(f"flag --feedback: {shown} cannot be opened: {str(error).splitlines()[0]}") from error
    return engine


def _durable(connection: Any, record: Any) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000"):
        connection.execute(f"PRAGMA {pragma}")


def add(engine: sa.Engine, user: str, item: str, value: float, time: float) -> None:
    """Keep a row, durably."""
    with engine.begin() as connection:
        connection.execute(TABLE.insert().values(user=user, item=item, value=value, time=time))


def rows_of(engine: sa.Engine, users: Sequence[str]) -> dict[str, list[tuple[str, float]]]:
    """The items and values of each user who has any, oldest first."""
    found: dict[str, list[tuple[str, float]]] = {}
    with engine.connect() as connection:
        for user, item, value in connection.execute(FOUND, {"users": [*users]}):
            found.setdefault(user, []).append((item, value))
    return found


def all_rows(engine: sa.Engine) -> Iterator[pd.DataFrame]:
    """Everything as a log of user, item, value and time, oldest first, in blocks."""
    columns = TABLE.c
    wanted = sa.select(columns.user, columns.item, columns.value, columns.time).order_by(columns.time, columns.id)
    with engine.connect().execution_options(yield_per=BLOCK) as connection:
        nothing = pd.DataFrame({"user": "", "item": "", "value": 0.0, "time": 0.0}, index=[0])[:0]
        yield nothing
        for part in connection.execute(wanted).partitions(BLOCK):
            yield pd.DataFrame(part, columns=nothing.columns)
