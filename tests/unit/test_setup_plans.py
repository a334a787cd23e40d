"""What setting up decides: cost, objectives, what is left unprotected, rules, SQL. No server."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from checks.observing import Column, Observed, Table, _pairs
from checks.proposing import critical_tables, floor_of
from pra.errors import UsageError
from pra.retention import Policy
from pra.setup.answers import Answers, RepositoryAnswer
from pra.setup.closing import Situation, lacks, protects
from pra.setup.engine import keeps_rpo
from pra.setup.estimate import Schedule, kept, retention_cost
from pra.setup.grants import role_sql

POLICY = Policy(24, 7, 5, 12, window=timedelta(days=7))
ANSWERS = Answers("en", "akig", "dbname=akig", "logical", (RepositoryAnswer("near", "file:///x"),))


@pytest.mark.parametrize(
    ("engine", "incremental", "count"),
    [("logical", False, (45, 0)), ("physical", False, (46, 0)), ("physical", True, (23, 23))],
)
def test_how_many_backups_are_kept_is_what_retention_says(
    engine: Any, incremental: bool, count: tuple[int, int]
) -> None:
    assert kept(POLICY, engine, incremental=incremental, schedule=Schedule()) == count


def test_the_cost_of_retention_adds_up() -> None:
    cost = retention_cost(POLICY, "logical", 1_000_000_000)
    assert (cost.full_bytes, cost.wal_bytes, cost.measured) == (200_000_000, 0, False)
    assert cost.total == 45 * 200_000_000
    measured = cost.with_backup(50_000_000)
    assert (measured.total, measured.measured) == (45 * 50_000_000, True)
    wal = retention_cost(POLICY, "physical", 10**9, wal_rate=1000.0, incremental=True)
    assert wal.wal_bytes == int(1000 * 8 * 86400 * 0.30)
    assert wal.total == 23 * wal.full_bytes + 23 * wal.increment_bytes + wal.wal_bytes
    assert retention_cost(POLICY, "physical", 10**9).wal_bytes is None, "unknown is not nothing"


@pytest.mark.parametrize(
    ("engine", "rpo", "keeps"),
    [
        ("logical", timedelta(hours=1), False),
        ("logical", timedelta(hours=4), True),
        ("physical", timedelta(seconds=30), True),
    ],
)
def test_an_hourly_dump_keeps_no_rpo_of_an_hour(engine: Any, rpo: timedelta, keeps: bool) -> None:
    assert keeps_rpo(engine, rpo) is keeps


# -- what is left unprotected --------------------------------------------------------------------

GOOD = Situation(
    answers=Answers("en", "akig", "dbname=akig", "physical", ANSWERS.repositories, recipients=("age1",)),
    proven="20261122T070955Z-full-3f9c",
    rto_seconds=12.0,
    others=(),
    places=2,
    offsite=True,
    locked=True,
    alerting=True,
    streaming=True,
    slot_limited=True,
    scheduled=True,
)
LOGICAL = {"answers": Answers("en", "akig", "dbname=akig", "logical", (), recipients=("age1",))}
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "no-proof": ({"proven": ""}, "proof"),
    "no-streamer": ({"streaming": False}, "streamer"),
    "slot-unlimited": ({"slot_limited": False}, "slot"),
    "dumps-alone": (LOGICAL, "rpo"),
    "other-databases": (LOGICAL | {"others": ("books",)}, "databases"),
    "one-place": ({"places": 1}, "offsite"),
    "nothing-offsite": ({"offsite": False}, "offsite"),
    "no-lock": ({"locked": False}, "lock"),
    "nobody-told": ({"alerting": False}, "alerts"),
    "no-schedule": ({"scheduled": False}, "schedule"),
    "sheet-of-before": ({"added": True}, "sheet"),
    "sheet-here": ({"sheet": "/root/sheet.txt"}, "sheet"),
}


def changed(**fields: Any) -> Situation:
    return Situation(**(vars(GOOD) | fields))


def test_even_at_its_best_files_outside_the_database_are_named() -> None:
    assert [line.key for line in lacks(GOOD, str)] == ["files"]
    assert [line.key for line in protects(GOOD, str)] == ["proof", "rto", "places", "lock", "encryption"]


@pytest.mark.parametrize(("fields", "key"), CASES.values(), ids=CASES)
def test_what_does_not_protect_yet_is_named_with_what_changes_it(fields: dict[str, Any], key: str) -> None:
    line = next(line for line in lacks(changed(**fields), str) if line.key == key)
    assert line.command


def test_a_sheet_is_removed_and_no_other_file(tmp_path: Path) -> None:
    sheet, other = tmp_path / "recovery sheet.txt", tmp_path / "recovery"
    for path in (sheet, other):
        path.write_text("x")
    (line,) = (line for line in lacks(changed(sheet=str(sheet)), str) if line.key == "sheet")
    subprocess.run(line.command, shell=True, cwd=tmp_path, check=True)  # noqa: S602 (as it is printed)
    assert (sheet.exists(), other.exists()) == (False, True)


@pytest.mark.parametrize(("proven", "seconds"), [("", 12.0), (GOOD.proven, 1801.0)])
def test_a_restore_that_proved_nothing_or_took_too_long_protects_nothing(proven: str, seconds: float) -> None:
    this = changed(proven=proven, rto_seconds=seconds)
    assert "rto" not in [line.key for line in protects(this, str)]
    assert ("rto" in [line.key for line in lacks(this, str)]) is (seconds > 1800)


def test_a_base_backup_holds_the_other_databases_too() -> None:
    assert "databases" not in [line.key for line in lacks(changed(others=("books",)), str)]


# -- rules ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "floor"), [(1, 1), (99, 1), (100, 10), (5775, 500), (999, 90), (12_000_000, 1_000_000)]
)
def test_the_floor_is_a_tenth_rounded_down(rows: int, floor: int) -> None:
    assert floor_of(rows) == floor


def test_a_beginning_is_paired_with_its_end() -> None:
    columns = [
        Column(name, kind, True, False)
        for name, kind in [
            ("starts_on", "date"), ("ends_on", "date"), ("opened_at", "timestamptz"), ("closed_at", "date"),
            ("date_debut", "date"), ("date_fin", "date"), ("start", "text"), ("end", "text"),
        ]
    ]  # fmt: skip
    assert [(a.name, b.name) for a, b in _pairs(columns)] == [
        ("starts_on", "ends_on"),
        ("date_debut", "date_fin"),
    ], "of one type, and moments alone"


def test_critical_tables_are_those_that_others_refer_to() -> None:
    def seen(name: str, rows: int, referred: int) -> Observed:
        return Observed(Table("public", name, rows, 0, referred, ()), rows, exact=True)

    tables = [seen(f"t{n}", 1000 + n, 0) for n in range(6)]
    tables += [seen("users", 5, 4), seen("empty", 0, 9)]
    assert critical_tables(tables) == ("t2", "t3", "t4", "t5", "users")


# -- SQL -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "database"), [("backup", "a\nDROP DATABASE b; --"), ("a\nb", "akig"), ("", "a")]
)
def test_a_name_that_no_line_could_hold_is_refused(role: str, database: str) -> None:
    with pytest.raises(UsageError) as raised:
        role_sql(role, database, "physical")
    assert raised.value.hint


def test_the_logical_role_cannot_replicate() -> None:
    assert "REPLICATION" not in role_sql("backup", "akig", "logical")
    assert 'ALTER ROLE "backup" REPLICATION;' in role_sql("backup", "akig", "physical")
