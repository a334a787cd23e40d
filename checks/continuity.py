"""Was the truth itself right? A backup is compared with the ones before it, and with what its role could see.

None of this can FAIL a restore that brought back exactly what was saved. It makes the verdict PARTIAL:
a table emptied an hour before the backup must not be green, and a backup that could not see everything
must not claim to be whole. So what is found here is ``skipped``: the question "is this the database we
meant to keep?" stays open until a person answers it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from statistics import median_high

from checks.database import bounded, connect, number
from pra.manifest import TableCount
from pra.model import CheckResult, Status
from pra.restored import RestoredDatabase

CLIFF = 0.5  # a fall to less than this share of before
FEW_ROWS = 20  # a table that never had more may halve without a finding; not vanish, not become empty
FEW_BYTES = 8 << 20
ACCEPTED = "accepted: "
_NUMBERS = re.compile(r"\d+")

Tables = Sequence[TableCount]


def continuity(db: RestoredDatabase) -> CheckResult:
    """This backup's tables beside those of earlier backups."""
    found = findings(db.manifest.tables, [m.tables for m in db.earlier], partitions_of(db))
    backups = number(len(db.earlier), "earlier backup")
    expected = f"no table vanished, no cliff in rows or size since {backups}"
    if not found:
        return CheckResult("continuity", Status.PASSED, expected, f"{backups} compared, nothing unusual")
    return CheckResult(
        "continuity",
        Status.SKIPPED,
        expected,
        number(len(found), "finding"),
        f"the database may already have been damaged when it was backed up: {found[0]}",
        details=bounded(found),
    )


def findings(current: Tables, earlier: Sequence[Tables], partitions: Mapping[str, str]) -> list[str]:
    """What fell. Pure.

    Args:
        current: The tables of the backup in question.
        earlier: Those of the backups before, newest first.
        partitions: Leaf partition → its parent, for the partitions that there are now.

    Each table is compared with the (upper) median of its earlier counts, not with the last one alone: a
    queue that is often empty is no finding, and a table that was emptied stays one until half of the
    backups compared have it empty. Example: earlier 100, 100, 90 and now 40 → a cliff; earlier 0, 100, 100
    (emptied two backups ago) and now 0 → still a finding; earlier 0, 0, 100 → no more.

    A vanished partition whose siblings remain is rotation, so partitions count together as their parent.
    """
    if not earlier:
        return []
    now = _folded(current, partitions)
    before = [_folded(tables, partitions) for tables in earlier]
    lines = []
    for name in sorted({name for tables in before for name in tables}):
        seen = [tables[name] for tables in before if name in tables]
        if name not in now:
            if name in before[0] or len(seen) * 2 > len(before):
                lines.append(f"{name}: vanished, held {number(median_high(rows for rows, _ in seen), 'row')}")
            continue
        lines += _cliff(name, now[name], seen)
    return lines + _cliff_of_all(now, before)


def _cliff(name: str, now: tuple[int, int], seen: Sequence[tuple[int, int]]) -> list[str]:
    rows = median_high(rows for rows, _ in seen)
    size = median_high(size for _, size in seen)
    if rows and not now[0]:
        return [f"{name}: empty, held {number(rows, 'row')}"]
    if rows >= FEW_ROWS and now[0] < rows * CLIFF:
        return [f"{name}: {number(now[0], 'row')}, held {number(rows, 'row')}"]
    if size >= FEW_BYTES and now[1] < size * CLIFF:
        return [f"{name}: {number(now[1], 'byte')} on disk, was {number(size, 'byte')}"]
    return []


def _cliff_of_all(
    now: Mapping[str, tuple[int, int]], before: Sequence[Mapping[str, tuple[int, int]]]
) -> list[str]:
    """Many small falls that no table shows by itself."""
    rows = sum(rows for rows, _ in now.values())
    was = median_high(sum(rows for rows, _ in tables.values()) for tables in before)
    if was >= FEW_ROWS and rows < was * CLIFF:
        return [f"all tables: {number(rows, 'row')}, held {number(was, 'row')}"]
    return []


def _folded(tables: Tables, partitions: Mapping[str, str]) -> dict[str, tuple[int, int]]:
    """Rows and bytes by table, partitions added up under their parent.

    A partition that is gone is known by its name, which differs from a sibling's by numbers only.
    """
    stems = {_stem(leaf): parent for leaf, parent in partitions.items() if _stem(leaf) != leaf}
    folded: dict[str, tuple[int, int]] = {}
    for table in tables:
        name = partitions.get(table.name) or stems.get(_stem(table.name)) or table.name
        rows, size = folded.get(name, (0, 0))
        folded[name] = (rows + table.rows, size + table.bytes)
    return folded


def _stem(name: str) -> str:
    return _NUMBERS.sub("#", name)


def partitions_of(db: RestoredDatabase) -> dict[str, str]:
    """Leaf partition → topmost parent, in the restored database."""
    with connect(db) as connection:
        rows = connection.execute(
            "SELECT n.nspname || '.' || c.relname, rn.nspname || '.' || r.relname "
            "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
            "JOIN pg_catalog.pg_class r ON r.oid = pg_catalog.pg_partition_root(c.oid) "
            "JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace "
            "WHERE c.relispartition AND c.relkind <> 'p'"
        ).fetchall()
    return {leaf: f"{parent} (partitions)" for leaf, parent in rows}


def gaps(db: RestoredDatabase) -> CheckResult:
    """What the backup's role could not see, each named. What the operator accepted does not count."""
    known = list(dict.fromkeys((*db.manifest.gaps, *db.fingerprint.gaps)))
    open_gaps = [gap for gap in known if not gap.startswith(ACCEPTED)]
    expected = "the backup's role saw everything"
    if not open_gaps:
        return CheckResult("gaps", Status.PASSED, expected, expected)
    return CheckResult(
        "gaps",
        Status.SKIPPED,
        expected,
        number(len(open_gaps), "gap"),
        f"the backup is incomplete: {open_gaps[0]}",
        details=bounded(open_gaps),
    )


def accepted_gaps(db: RestoredDatabase) -> tuple[CheckResult, ...]:
    """One ``not_applicable`` for each gap that the operator accepted."""
    named = [gap.removeprefix(ACCEPTED) for gap in db.manifest.gaps if gap.startswith(ACCEPTED)]
    return tuple(
        CheckResult(f"gap:{i}", Status.NOT_APPLICABLE, reason=f"accepted by the operator: {gap}")
        for i, gap in enumerate(named, 1)
    )


def warnings(db: RestoredDatabase) -> CheckResult:
    """What the dump warned of: a tool that warns has left something out, or nearly."""
    known = db.manifest.warnings
    expected = "no warning while reading"
    if not known:
        return CheckResult("warnings", Status.PASSED, expected, expected)
    return CheckResult(
        "warnings", Status.SKIPPED, expected, number(len(known), "warning"), known[0], details=bounded(known)
    )
