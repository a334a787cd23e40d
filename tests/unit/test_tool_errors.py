"""What a tool's last words mean, and whether a second try can help."""

from __future__ import annotations

import pytest

from pra.engines.tool_errors import explain
from pra.errors import PostgresError, ToolError
from pra.postgres.connect import Server

SERVER = Server("host=127.0.0.1 dbname=akig user=backup")


@pytest.mark.parametrize(
    "said",
    [
        "ERROR:  canceling statement due to lock timeout",
        # So pg_dump --lock-wait-timeout puts it: it waits under a limit to the statement.
        "pg_dump: error: query failed: ERROR:  canceling statement due to statement timeout\n"
        "pg_dump: detail: Query was: LOCK TABLE public.artist IN ACCESS SHARE MODE",
    ],
)
def test_a_lock_that_could_not_be_had_is_worth_a_second_try(said: str) -> None:
    error = explain(ToolError("pg_dump exited with 1", stderr=said, returncode=1, op="dump database"), SERVER)
    assert isinstance(error, PostgresError)
    assert error.transient
    assert "lock" in error.message


def test_a_dump_whose_worker_lost_the_server_is_worth_a_second_try() -> None:
    said = "pg_dump: error: a worker process died unexpectedly"
    error = explain(ToolError("pg_dump exited with 1", stderr=said, returncode=1, op="dump database"), SERVER)
    assert error.transient


def test_what_nobody_understands_stays_as_it_is() -> None:
    error = ToolError("pg_dump exited with 1", stderr="pg_dump: error: ?", returncode=1, op="dump database")
    assert explain(error, SERVER) is error
