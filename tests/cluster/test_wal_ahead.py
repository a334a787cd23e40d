"""WAL fetched ahead: what keeps a segment from being served is said by name, with what to do."""

from __future__ import annotations

from pathlib import Path

from pra.errors import PraError, SpaceError
from pra.postgres.wal import SEGMENT_BYTES
from pra.proc import Scope
from pra.wal.ahead import WalAhead
from tests.fix_recovery import TARGET, Recoverable
from tests.fix_stream import wait_until


def test_a_full_disk_says_so(ten: Recoverable, small_disk: Path) -> None:
    folder = small_disk / "wal"
    failures: list[PraError] = []

    def failed() -> bool:
        try:
            ahead.check()
        except PraError as error:
            failures.append(error)
        return bool(failures)

    with (
        Scope() as scope,
        WalAhead(
            ten.storage, TARGET, ten.archive, ten.names, folder, scope=scope, identities=(),
            segment_bytes=SEGMENT_BYTES,
        ) as ahead,
    ):  # fmt: skip
        (folder / "asked").write_text(f"{ten.names[0]}\n")
        wait_until(failed, what="the disk is full")
        assert not (folder / "go").exists(), "the server would wait on"
    assert isinstance(failures[0], SpaceError)
    assert "Free space below" in failures[0].hint
