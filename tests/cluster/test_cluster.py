"""The test servers themselves: what every other cluster test stands on."""

from __future__ import annotations

import psycopg
import pytest

from tests.fix_cluster import Cluster


def test_server_answers_by_socket_and_by_password_over_tcp(cluster: Cluster) -> None:
    """Both doors open, and the TCP one only with the password."""
    assert cluster.query("postgres", "SELECT current_setting('server_version_num')::int / 10000") == [
        (cluster.major,)
    ]
    psycopg.connect(cluster.dsn(tcp=True)).close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(cluster.dsn(tcp=True, password="wrong"))


def test_chinook_is_whole(pg18: Cluster, chinook: str) -> None:
    assert pg18.query(chinook, "SELECT count(*) FROM track") == [(3503,)]
    assert pg18.query(chinook, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(11,)]


def test_chinook_on_fifteen_is_whole(pg15: Cluster, chinook15: str) -> None:
    assert pg15.query(chinook15, "SELECT count(*) FROM playlist_track") == [(8715,)]
