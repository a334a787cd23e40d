"""What ``pra restore`` refuses before it looks at any repository, and what it says then."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from deployments.cli.moments import both
from deployments.cli.restore_options import Asked, check_way, read_tablespaces, target_of
from pra.engines.recovery import LATEST, RecoveryTarget
from pra.errors import UsageError
from pra.manifest import Tablespace
from pra.procedures.destination import Destination, place_tablespaces

DSN, DIRECTORY = "host=/nowhere dbname=x", "/var/tmp/nothing-like-it"


def asked(into: str = DIRECTORY, **changed: Any) -> Asked:
    given: dict[str, Any] = {
        "backup": "newest", "to": None, "repository": None, "tables": (), "tablespaces": {},
        "disaster_at": None, "proof": True, "accept_unverified": False,
    }  # fmt: skip
    return Asked(Destination.parse(into), **{**given, **changed})


def test_a_physical_backup_does_not_go_into_a_database() -> None:
    with pytest.raises(UsageError, match="whole server") as caught:
        check_way(asked(DSN), physical=True)
    assert "--table" in caught.value.hint
    check_way(asked(), physical=True)
    check_way(asked(DSN, tables=("payments",)), physical=True)


def test_tables_go_into_a_database_alone() -> None:
    for physical in (True, False):
        with pytest.raises(UsageError, match="--table needs a database"):
            check_way(asked(tables=("payments",)), physical=physical)
    with pytest.raises(UsageError, match="exclude each other"):
        check_way(asked(DSN, tables=("payments",), tablespaces={"/a": Path("/b")}), physical=True)


@pytest.mark.parametrize(
    ("option", "changed"),
    [
        ("--to", {"to": LATEST}),
        ("--tablespace", {"tablespaces": {"/a": Path("/b")}}),
        ("--no-proof", {"proof": False}),
        ("--disaster-at", {"disaster_at": datetime(2026, 11, 22, tzinfo=UTC)}),
    ],
)
def test_what_only_a_physical_backup_can_do_is_refused_by_name(option: str, changed: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"{option} needs a physical backup"):
        check_way(asked(**changed), physical=False)
    check_way(asked(**changed), physical=True)


def test_a_named_backup_needs_a_named_moment() -> None:
    """Its own state is not what the newest WAL leads to."""
    assert target_of(asked()) == LATEST
    to = RecoveryTarget("xid", "7")
    assert target_of(asked(backup="20261122T070955Z-full-3f9c", to=to)) == to
    with pytest.raises(UsageError) as caught:
        target_of(asked(backup="20261122T070955Z-full-3f9c"))
    assert "--to immediate" in caught.value.hint


def test_tablespaces_are_pairs_of_absolute_paths() -> None:
    assert read_tablespaces(["/old=/new", "/a\\=b=/c"]) == {"/old": Path("/new"), "/a=b": Path("/c")}
    for wrong in ("/old", "old=/new", "/old=new", "/a=/b=/c", "="):
        with pytest.raises(UsageError, match="is not OLD=NEW"):
            read_tablespaces([wrong])
    with pytest.raises(UsageError, match="again"):
        read_tablespaces(["/old=/new", "/other=/new"])


SPACES = (Tablespace(oid=16400, location="/mnt/fast"), Tablespace(oid=16401, location="/mnt/slow"))


def test_every_tablespace_needs_a_place_of_its_own(tmp_path: Path) -> None:
    wanted = {"/mnt/fast": tmp_path / "f", "/mnt/slow": tmp_path / "s"}
    assert place_tablespaces(SPACES, wanted, tmp_path / "data") == {
        16400: tmp_path / "f",
        16401: tmp_path / "s",
    }
    with pytest.raises(UsageError, match="1 tablespaces have no place: /mnt/slow") as caught:
        place_tablespaces(SPACES, {"/mnt/fast": tmp_path / "f"}, tmp_path / "data")
    assert "--tablespace /mnt/slow=" in caught.value.hint
    with pytest.raises(UsageError, match="has no tablespace at /mnt/none"):
        place_tablespaces(SPACES, {**wanted, "/mnt/none": tmp_path / "n"}, tmp_path / "data")


def test_a_tablespace_lies_neither_in_the_data_directory_nor_among_other_files(tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "file").touch()
    one = SPACES[:1]
    with pytest.raises(UsageError, match="lie within each other"):
        place_tablespaces(one, {"/mnt/fast": tmp_path / "data" / "ts"}, tmp_path / "data")
    with pytest.raises(UsageError, match="is not empty"):
        place_tablespaces(one, {"/mnt/fast": full}, tmp_path / "data")


def test_a_moment_is_said_in_utc_and_in_local_time() -> None:
    paris = ZoneInfo("Europe/Paris")
    summer = datetime(2026, 7, 1, 22, 30, 1, 250000, tzinfo=UTC)
    assert both(summer, paris) == "2026-07-01 22:30:01.25 UTC (2026-07-02 00:30:01 CEST)"
    assert both(datetime(2026, 11, 22, 9, tzinfo=UTC), paris) == "2026-11-22 09:00:00 UTC (10:00:00 CET)"
    assert both(datetime(2026, 11, 22, 9, tzinfo=UTC), ZoneInfo("UTC")) == "2026-11-22 09:00:00 UTC"
