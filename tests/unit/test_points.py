"""Where a restore point may be, and from which backup it is reached: from names and positions alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pra.engines.points import where_to_look
from pra.engines.recovery import RecoveryPlan, RecoveryTarget, plan
from pra.errors import UsageError
from pra.manifest import Manifest, PhysicalFacts, WalSegment
from pra.postgres.wal import Switch, format_lsn, segment_name
from pra.wal.archive import Archive, ArchivedHistory, ArchivedPartial, ArchivedSegment
from tests.fix_record import make_manifest

SIZE = 16 << 20
AT = datetime(2026, 11, 22, 10, tzinfo=UTC)
POINT = RecoveryTarget("name", "before-release")
SYSTEM = make_manifest().server.system_identifier


def seg(timeline: int, number: int) -> str:
    return segment_name(timeline, number * SIZE, SIZE)


def backup(number: int) -> Manifest:
    """Taken in that segment, from byte 100 to 200; an hour later for each."""
    start, stop = (format_lsn(number * SIZE + offset) for offset in (100, 200))
    name = seg(1, number)
    physical = PhysicalFacts(
        timeline=1, start_lsn=start, stop_lsn=stop, wal_segment_bytes=SIZE, lineage="lineage.zst",
        wal=(WalSegment(name=name, sha256=sha(name)),),
    )  # fmt: skip
    return make_manifest(
        backup_id=backup_id(number), taken_at=AT + timedelta(hours=number), engine="physical",
        physical=physical,
    )  # fmt: skip


def backup_id(number: int) -> str:
    return f"{AT + timedelta(hours=number):%Y%m%dT%H%M%SZ}-full-0000"


def sha(name: str) -> str:
    return name.ljust(64, "0").lower()


def archive(*names: str, partial: tuple[str, int] | None = None, newest: int = 1) -> Archive:
    histories = {n: (ArchivedHistory("", n, "", 1, AT),) for n in range(2, newest + 1)}
    partials = {} if partial is None else {partial[0]: ArchivedPartial("", *partial, False, 1, AT)}
    segments = {name: (ArchivedSegment("", name, sha(name), False, 1, AT),) for name in names}
    return Archive("near", "db", SYSTEM, segments, histories, partials)


WHOLE = archive(*(seg(1, number) for number in range(2, 9)), partial=(seg(1, 9), 9 * SIZE + 50))


def look(archive: Archive, *numbers: int, of: int | None = None) -> list[tuple[int, int, list[int]]]:
    """By backup, newest first: from which byte to which, in which segments."""
    named = None if of is None else backup_id(of)
    backups = [backup(number) for number in numbers]
    search = where_to_look(backups, archive, {}, POINT, repository="near", backup_id=named)
    return [(b.begin, b.end, [int(name[16:], 16) for name in b.names]) for b in search.behind]


def test_the_wal_behind_the_newest_backup_comes_first_and_none_is_read_twice() -> None:
    assert look(WHOLE, 2, 4, 7) == [
        (7 * SIZE + 200, 9 * SIZE + 50, [7, 8, 9]),
        (4 * SIZE + 200, 7 * SIZE + 200, [4, 5, 6, 7]),
        (2 * SIZE + 200, 4 * SIZE + 200, [2, 3, 4]),
    ]


def test_behind_a_named_backup_all_is_looked_through() -> None:
    assert look(WHOLE, 2, 4, 7, of=4) == [(4 * SIZE + 200, 9 * SIZE + 50, [4, 5, 6, 7, 8, 9])]


def test_behind_a_hole_an_older_backup_does_not_lead() -> None:
    holed = archive(*(seg(1, number) for number in (2, 3, 5, 6)))
    assert look(holed, 2, 5) == [(5 * SIZE + 200, 7 * SIZE, [5, 6]), (2 * SIZE + 200, 4 * SIZE, [2, 3])]


def test_a_promotion_is_followed_and_a_parent_read_up_to_it_only() -> None:
    switch = 4 * SIZE + 5000
    found = archive(seg(1, 2), seg(1, 3), seg(1, 4), seg(1, 5), newest=2)
    search = where_to_look([backup(2)], found, {2: (Switch(1, switch),)}, POINT, repository="near")
    assert search.timeline == 2
    assert [(b.end, b.names[-1]) for b in search.behind] == [(switch, seg(1, 4))]
    assert search.archive.segments[seg(1, 4)][0].until == switch


def planned(point: int, named: int | None = None) -> RecoveryPlan:
    name = None if named is None else backup_id(named)
    backups = [backup(number) for number in (2, 4, 7)]
    return plan(backups, WHOLE, {}, POINT, repository="near", backup_id=name, point=point)


@pytest.mark.parametrize(
    ("point", "number", "segments"),
    [
        pytest.param(8 * SIZE, 7, 2, id="behind the newest"),
        pytest.param(7 * SIZE + 200, 7, 1, id="right behind the newest"),
        pytest.param(7 * SIZE + 199, 4, 4, id="while the newest was taken"),
        pytest.param(4 * SIZE + 300, 4, 1, id="in the segment in which one ends"),
        pytest.param(3 * SIZE, 2, 2, id="behind the oldest"),
    ],
)
def test_the_newest_backup_before_the_point_leads_there(point: int, number: int, segments: int) -> None:
    found = planned(point)
    assert found.manifest.backup_id == backup_id(number)
    assert found.wal_expected == segments


def test_a_point_before_every_backup_or_the_named_one_names_the_range() -> None:
    for named in (None, 7):
        with pytest.raises(UsageError, match="restore point before-release lies before the end") as caught:
            planned(2 * SIZE + 150 if named is None else 3 * SIZE, named)
        assert "near can recover from 2026-11-22 1" in caught.value.hint
