"""``pra scrub``: one flipped byte in an old object or a WAL segment is found, and its cost is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from pra.layout import scrub_key
from pra.model import Verdict
from pra.postgres.wal import parse_lsn
from pra.procedures import scrub
from pra.procedures.scrub import RepositoryScrub, ScrubReport
from pra.scrub.plan import Amount
from tests.fix_archive import archive_wal
from tests.fix_stream import pra
from tests.fix_world import World, later

ALL = Amount(everything=True)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


def run(world: World, amount: Amount = ALL, **changed: object) -> ScrubReport:
    with world.context(**changed) as context:
        return scrub.run(context, amount)


def of(report: ScrubReport, repository: str) -> RepositoryScrub:
    return next(item for item in report.items if item.repository == repository)


def test_a_flipped_byte_in_an_old_object_is_found_and_remembered(tiny: World) -> None:
    """Untouched it passes; then the backup is lost here, and the other repository's copy is named. The next
    day's share asks for it again, until it is whole."""
    old = tiny.backup().backup_id
    tiny.backup()
    intact = run(tiny)
    assert (intact.verdict, intact.exit_code) == (Verdict.PASS, 0)
    assert of(intact, "near").objects == of(intact, "near").held > 0

    victim = next(path for path in tiny.objects("near", old) if path.name.startswith("dump-"))
    whole = victim.read_bytes()
    flip(victim)
    found = run(tiny)
    assert (found.verdict, found.exit_code) == (Verdict.FAIL, 1)
    (damage,) = of(found, "near").damage
    assert damage.backup_id == old
    assert f"stored bytes of {victim.name} are not those that were sealed" in damage.message
    assert of(found, "near").cost.backups == (old,)
    (moment,) = of(found, "near").cost.moments
    assert moment.from_time == moment.to_time
    assert found.elsewhere == {old: ("far",)}
    assert of(found, "far").damage == ()

    assert of(run(tiny, Amount(sample=1)), "near").damage, "known damage is read again each time"
    victim.write_bytes(whole)
    assert run(tiny, Amount(sample=1)).verdict is Verdict.PASS


def test_a_missing_object_and_an_altered_manifest_are_found_by_listing(tiny: World) -> None:
    first, second = tiny.backup().backup_id, tiny.backup().backup_id
    tiny.objects("near", first)[0].unlink()
    flip(tiny.folder("far") / "backups" / second / "manifest.json")
    found = run(tiny, Amount(sample=1))
    assert [d.message.endswith("is missing") for d in of(found, "near").damage] == [True]
    assert of(found, "near").cost.backups == (first,)
    assert of(found, "far").cost.backups == (second,)


def test_a_repository_that_does_not_answer_is_partial(tiny: World) -> None:
    tiny.backup()
    (tiny.home / "far").rename(tiny.home / "away")
    found = run(tiny)
    assert (found.verdict, found.exit_code) == (Verdict.PARTIAL, 2)
    assert of(found, "far").unread
    assert of(found, "near").objects


def test_a_day_reads_its_share_the_oldest_check_first(tiny: World) -> None:
    """What was published counts as read then; a month later everything was read once more."""
    tiny.backup()
    tiny.backup()
    keys: set[str] = set()
    for day in range(1, 31):
        done = run(tiny, Amount(), clock=later(24 * day))
        assert done.verdict is Verdict.PASS
        oldest = of(done, "near").oldest
        assert oldest is not None
        assert later(24 * day)() - oldest <= timedelta(days=30)
        keys.add(oldest.isoformat())
    assert of(done, "near").bytes < of(done, "near").held_bytes
    assert len(keys) > 5


def test_the_record_is_signed_and_the_command_says_what_is_lost(tiny: World) -> None:
    backup_id = tiny.backup().backup_id
    flip(tiny.objects("far", backup_id)[0])
    done = pra(tiny, "scrub", "--all", "--json", code=1)
    document = json.loads(done.stdout)
    assert document["schema"] == "pra/scrub/1"
    assert document["verdict"] == "FAIL"
    assert [item["lost_backups"] for item in document["items"]] == [[], [backup_id]]
    with tiny.context() as context:
        head = context.evidence.head()
        assert head is not None
        assert (head.kind, head.body["verdict"]) == ("scrub", "FAIL")
        assert head.head.as_json() == document["evidence"]
    shown = pra(tiny, "scrub", "--sample", "1", code=1).stdout
    assert f"{backup_id} cannot be restored from far any more; another copy: near" in " ".join(shown.split())
    status = pra(tiny, "status", "--json", code=1)
    (finding,) = [item for item in json.loads(status.stdout)["items"] if item["name"] == "scrub"]
    assert (finding["level"], finding["message"].endswith(": FAIL")) == ("critical", True)


def test_a_flipped_byte_in_a_wal_segment_costs_the_moments_behind_it(physical_world: World) -> None:
    """The window ends before the segment and begins again with the next backup; LSN and time are named."""
    world = physical_world
    first = world.backup().backup_id
    for number in range(2):
        world.execute(
            f"INSERT INTO numbered SELECT {10_000 * (number + 1)} + n FROM generate_series(1, 50) n"
        )
        archive_wal(world)
    second = world.backup(full=True).backup_id
    archive_wal(world)
    with world.context() as context:
        stop = context.catalog("near").load(first).physical
        begin = context.catalog("near").load(second).physical
    assert stop is not None
    assert begin is not None
    assert run(world).verdict is Verdict.PASS

    between = [
        path
        for path in sorted((world.folder("near") / "wal").rglob("*.zst.age"))
        if path.name[:24] > stop.wal[-1].name and path.name[:24] < begin.wal[0].name
    ]
    flip(between[0])
    found = run(world)
    near = of(found, "near")
    assert (found.exit_code, near.cost.backups) == (1, ())
    (damage,) = near.damage
    assert damage.segment == between[0].name[:24]
    (lost,) = near.cost.moments
    assert (lost.timeline, lost.to_lsn) == (1, parse_lsn(begin.stop_lsn))
    assert stop.stop <= (lost.from_lsn or 0) < begin.start
    assert lost.from_time <= lost.to_time
    assert of(found, "far").damage == ()


def test_wal_that_a_backup_needs_costs_the_backup_and_its_children(physical_world: World) -> None:
    world = physical_world
    full = world.backup().backup_id
    world.execute("INSERT INTO numbered SELECT 10000 + n FROM generate_series(1, 50) n")
    child = world.backup().backup_id
    assert "incremental" in child
    with world.context() as context:
        facts = context.catalog("near").load(full).physical
    assert facts is not None
    (victim,) = (world.folder("near") / "wal").rglob(f"{facts.wal[0].name}-*")
    flip(victim)
    assert of(run(world), "near").cost.backups == (full, child)


def test_without_the_identity_a_change_shows_against_the_hash_of_the_first_time(
    physical_world: World,
) -> None:
    """And the report says that no more was compared."""
    world = physical_world
    world.backup()
    identity = world.settings.state_dir / "keys" / "identity.txt"
    identity.rename(identity.with_suffix(".away"))
    done = run(world)
    near = of(done, "near")
    assert done.verdict is Verdict.PASS
    assert near.by_hash == near.first_hash == near.segments > 0
    flip(next((world.folder("near") / "wal").rglob("*.zst.age")))
    again = of(run(world), "near")
    assert (again.first_hash, len(again.damage)) == (0, 1)
    assert "has changed since it was first read" in again.damage[0].message


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda _: b"", lambda _: b"nonsense"]
)
def test_a_state_that_cannot_be_read_is_made_anew(tiny: World, damage: Callable[[bytes], bytes]) -> None:
    tiny.backup()
    run(tiny)
    path = tiny.home / "near" / scrub_key("db")
    path.chmod(0o600)
    path.write_bytes(damage(path.read_bytes()))
    assert run(tiny).verdict is Verdict.PASS
    assert run(tiny, Amount(sample=1)).verdict is Verdict.PASS
