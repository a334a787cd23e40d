"""A condition that a person typed, asked of a server: one query with one boolean answer, which only reads."""

from __future__ import annotations

import re
from dataclasses import dataclass

import psycopg
from psycopg import errors

from pra.errors import ConnectError, PostgresError, UsageError
from pra.postgres.connect import Server, first_line, postgres_errors

_QUERY = re.compile(r"\s*(select|with|values|table)\b", re.IGNORECASE)
_BOOLEAN = 16
_OP = "ask the condition"
# What the condition is about did not exist yet, or no longer.
_ABSENT = (
    errors.UndefinedTable,
    errors.UndefinedColumn,
    errors.UndefinedFunction,
    errors.UndefinedObject,
    errors.InvalidSchemaName,
)


@dataclass(frozen=True)
class Answer:
    """``problem`` says why there was nothing to ask about, which is a no."""

    holds: bool
    problem: str = ""


def as_query(text: str) -> str:
    """A query as it is; an expression, such as ``exists (select …)``, behind ``SELECT``.

    Raises:
        UsageError: There is nothing in it.
    """
    stripped = text.strip().rstrip(";").rstrip()
    if not stripped:
        raise UsageError(
            "the condition is empty", op=_OP, hint="Write one, such as: select count(*) > 1000 from contracts"
        )
    return stripped if _QUERY.match(stripped) else f"SELECT ({stripped}\n)"


def ask(server: Server, text: str, *, seconds: int) -> Answer:
    """Ask once. NULL is no, as in a ``WHERE``.

    Raises:
        UsageError: It is not one boolean in one row, is not SQL, or would write.
        PostgresError: It took longer than ``seconds``, or the server was lost.
    """
    query = as_query(text)
    try:
        connection = server.connect(
            statement_seconds=seconds, options="-c default_transaction_read_only=on", application="pra locate"
        )
    except ConnectError as error:
        if error.message.endswith("does not exist"):
            return Answer(False, error.message)
        raise
    with connection, postgres_errors(_OP):
        try:
            # Prepared: a second statement behind a semicolon is refused.
            cursor = connection.execute(query.encode(), prepare=True)
            return Answer(_boolean(cursor))
        except _ABSENT as error:
            return Answer(False, first_line(error))
        except errors.QueryCanceled:
            raise PostgresError(
                f"the condition took longer than {seconds} s",
                op=_OP,
                hint="Make it cheaper, or give it more time with --timeout.",
            ) from None
        except errors.DataError as error:
            # Its words may quote a row's value.
            raise _refused(f"the condition failed: {type(error).__name__}") from None
        except (errors.ProgrammingError, errors.NotSupportedError, errors.InternalError) as error:
            raise _refused(first_line(error)) from None


def _boolean(cursor: psycopg.Cursor[tuple[object, ...]]) -> bool:
    columns = cursor.description or []
    if len(columns) != 1 or columns[0].type_code != _BOOLEAN:
        raise _refused("the condition does not answer with one boolean")
    rows = cursor.fetchmany(2)
    if len(rows) != 1:
        raise _refused("the condition answers with no row" if not rows else "the condition has several rows")
    return rows[0][0] is True


def _refused(message: str) -> UsageError:
    return UsageError(
        message, op=_OP, hint="Write one that only reads, such as: select count(*) > 1000 from contracts"
    )
