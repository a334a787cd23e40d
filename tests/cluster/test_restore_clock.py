"""How long a service was lost counts from the disaster, where somebody says when that was."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from checks import Checks
from pra.procedures import physical_restore
from pra.procedures.destination import Destination
from pra.procedures.estimate import measured
from pra.procedures.judging import VerifyReport
from pra.procedures.physical_plan import Wishes
from pra.procedures.recovering import plan_recovery
from tests.fix_world import World, failed

HOUR = timedelta(hours=1)


def restored(world: World, folder: Path, *, ago: timedelta | None) -> VerifyReport:
    with world.context() as context:
        disaster = None if ago is None else context.clock() - ago
        into = Destination.parse(str(folder))
        planned = plan_recovery(context, "near")
        return physical_restore.run(context, Checks(), planned, into, Wishes(disaster_at=disaster)).report


def test_rto_counts_from_the_disaster(physical_world: World, place: Path) -> None:
    world = physical_world
    backup_id = world.backup().backup_id
    at_once = restored(world, place / "one", ago=None)
    assert failed(at_once) == {}
    late = restored(world, place / "two", ago=HOUR)
    assert at_once.rto_seconds is not None
    assert late.rto_seconds is not None
    assert at_once.rto_seconds < 300
    assert 3600 < late.rto_seconds < 3900
    assert list(failed(late)) == ["rto"]
    # What the next one is expected to take is the work alone.
    with world.context() as context:
        took = measured(context.evidence.records(), {backup_id: 1})
    assert [each.kind for each in took] == ["restore", "restore"]
    assert all(0 < each.seconds < 300 for each in took)
