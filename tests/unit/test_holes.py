"""Why the WAL behind a backup ends before the archive does: by names alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from pra.engines.recovery import RecoveryPlan
from pra.postgres.wal import SEGMENT_BYTES, segment_name
from pra.procedures.holes import Hole, judge_hole
from pra.wal.archive import Archive


def seg(number: int) -> str:
    return segment_name(1, number * SEGMENT_BYTES)


def judge(there: str, brought: str, until: int, missing: int | None, kept_from: int | None) -> Hole:
    """Of a backup that brought segment 4; ``until`` is the first segment that its WAL does not reach."""
    facts = SimpleNamespace(timeline=1, wal=(SimpleNamespace(name=seg(4)),))
    plan = SimpleNamespace(
        missing="" if missing is None else seg(missing), segment_bytes=SEGMENT_BYTES,
        start=4 * SEGMENT_BYTES, until=until * SEGMENT_BYTES, manifest=SimpleNamespace(physical=facts),
    )  # fmt: skip
    archive = SimpleNamespace(segments={seg(int(n)): () for n in there.split()}, partials={})
    position = None if kept_from is None else kept_from * SEGMENT_BYTES
    names = {seg(int(n)) for n in brought.split()}
    return judge_hole(cast(RecoveryPlan, plan), cast(Archive, archive), names, position)


@pytest.mark.parametrize(
    ("there", "brought", "until", "missing", "kept_from", "expected"),
    [
        pytest.param("4 5", "4", 6, None, 0, Hole.NONE, id="none"),
        pytest.param("4 5 7", "4", 6, 6, 0, Hole.LOST, id="streamed on both sides"),
        pytest.param("3 4 7", "4", 5, 5, 0, Hole.LOST, id="streamed before the backup"),
        pytest.param("4 7", "4 7", 5, 5, 0, Hole.UNSTREAMED, id="all of it came with backups"),
        pytest.param("4 7", "4", 5, 5, 0, Hole.BEFORE_STREAMING, id="streaming began later"),
        pytest.param("4 7", "4", 5, 5, 7, Hole.EXPIRED, id="before the window"),
        pytest.param("4 7", "4", 5, 5, 6, Hole.EXPIRED, id="just before the window"),
        pytest.param("4 7", "4", 5, 5, 5, Hole.BEFORE_STREAMING, id="at its begin"),
        pytest.param("4 5 9", "4 5", 6, 6, 8, Hole.EXPIRED, id="another backup's own WAL comes next"),
        pytest.param("3 4 9", "4", 5, 5, 8, Hole.EXPIRED, id="not all of it is gone yet"),
        pytest.param("4 5 7", "4", 6, 6, 5, Hole.LOST, id="in the window"),
        pytest.param("4 7", "4 7", 5, 5, None, Hole.EXPIRED, id="no window at all"),
    ],
)
def test_what_a_missing_segment_means(
    there: str, brought: str, until: int, missing: int | None, kept_from: int | None, expected: Hole
) -> None:
    assert judge(there, brought, until, missing, kept_from) is expected
