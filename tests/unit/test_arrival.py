"""Until when a repository is known to have everything: never because old WAL happened to land just now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pra.wal.arrival import Streaming, arrived_until

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
BACKUP, LANDED, VOUCHED = NOON - timedelta(hours=4), NOON, NOON - timedelta(seconds=7)


@pytest.mark.parametrize(
    ("streaming", "backup", "landed", "until"),
    [
        pytest.param(Streaming(VOUCHED, alive=True), BACKUP, LANDED, VOUCHED, id="the streamer's word"),
        pytest.param(Streaming(alive=True), BACKUP, LANDED, BACKUP, id="old WAL is landing"),
        pytest.param(Streaming(BACKUP), NOON, None, NOON, id="a dead streamer, and a newer backup"),
        pytest.param(Streaming(VOUCHED), BACKUP, LANDED, VOUCHED, id="a dead streamer's last word"),
        pytest.param(Streaming(), BACKUP, LANDED, LANDED, id="nobody streams"),
        pytest.param(Streaming(), None, None, None, id="nothing"),
        pytest.param(Streaming(alive=True), None, LANDED, None, id="a first backlog, and no backup"),
    ],
)
def test_arrival(
    streaming: Streaming, backup: datetime | None, landed: datetime | None, until: datetime | None
) -> None:
    assert arrived_until(streaming, newest_backup=backup, landed=landed) == until
