"""The catalog: no manifest without whole objects, nothing unreadable passed over, nothing live collected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from pra import manifest as manifests
from pra.catalog import BackupEntry, Catalog, manifest_key, object_key, retention_facts
from pra.errors import BusyError, IntegrityError, NotFoundError, SignatureError, StorageError
from pra.keys import Keyring, Signer
from pra.leases import hold
from pra.manifest import Manifest
from pra.model import BACKUP_ID as ID_PATTERN
from pra.storage.base import ObjectStat
from pra.storage.local import LocalStorage
from pra.timing import utc_now
from tests.fix_record import BACKUP_ID, TAKEN, age_by, make_manifest, snapshot_of, stored, write

PARTS = {"dump-0000.tar.zst.age": b"first part" * 100, "dump-0001.tar.zst.age": b"other part" * 100}
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


class Desk:
    """Writes backups the way the backup procedure does."""

    def __init__(self, tmp_path: Path, signer: Signer, keyring: Keyring) -> None:
        self.tmp_path, self.signer, self.keyring = tmp_path, signer, keyring
        self.staging = tmp_path / "staging"
        self.staging.mkdir()

    def catalog(self, storage: LocalStorage, target: str = "akig") -> Catalog:
        return Catalog(storage, target, self.keyring)

    def upload(self, catalog: Catalog, backup_id: str = BACKUP_ID) -> None:
        for name, data in PARTS.items():
            # A file of its own for each repository: a local repository may link to it.
            path = write(self.tmp_path / "spool" / catalog.storage.name / backup_id / name, data)
            catalog.publish_object(backup_id, stored(name, data), path)

    def manifest(self, backup_id: str = BACKUP_ID, parents: tuple[str, ...] = ()) -> Manifest:
        assert ID_PATTERN.fullmatch(backup_id)
        return make_manifest(
            backup_id=backup_id,
            kind="incremental" if parents else "full",
            parents=parents,
            objects=tuple(stored(name, data) for name, data in PARTS.items()),
        )

    def commit(self, catalog: Catalog, manifest: Manifest | None = None) -> bytes:
        manifest = manifest or self.manifest()
        data = manifests.sign(manifest, self.signer)
        catalog.commit(data, manifest)
        return data

    def back_up(
        self, catalog: Catalog, backup_id: str = BACKUP_ID, parents: tuple[str, ...] = ()
    ) -> Manifest:
        self.upload(catalog, backup_id)
        manifest = self.manifest(backup_id, parents)
        self.commit(catalog, manifest)
        return manifest


@pytest.fixture
def desk(tmp_path: Path, signer: Signer, keyring: Keyring) -> Desk:
    return Desk(tmp_path, signer, keyring)


def path_of(storage: LocalStorage, name: str, backup_id: str = BACKUP_ID) -> Path:
    return storage.root / object_key("akig", backup_id, name)


def rewrite(path: Path, data: bytes) -> None:
    """Change a file in place of its name only: the spool may be linked to the same bytes."""
    path.unlink()
    path.write_bytes(data)


# -- commit --------------------------------------------------------------------------------------


def test_committed_backup_is_listed_and_read(desk: Desk, local: LocalStorage) -> None:
    catalog = desk.catalog(local)
    desk.upload(catalog)
    assert catalog.backups() == []
    desk.commit(catalog)
    [entry] = catalog.backups()
    assert (entry.backup_id, entry.error, entry.taken_at) == (BACKUP_ID, None, TAKEN)
    assert catalog.load(BACKUP_ID) == entry.manifest
    with catalog.open_object(BACKUP_ID, "dump-0001.tar.zst.age") as source:
        assert source.read() == PARTS["dump-0001.tar.zst.age"]


def test_keys_are_those_of_the_design(desk: Desk, local: LocalStorage) -> None:
    desk.back_up(desk.catalog(local))
    assert sorted(snapshot_of(local)) == [
        f"akig/backups/{BACKUP_ID}/manifest.json",
        f"akig/backups/{BACKUP_ID}/objects/dump-0000.tar.zst.age",
        f"akig/backups/{BACKUP_ID}/objects/dump-0001.tar.zst.age",
    ]


def test_committing_twice_is_harmless(desk: Desk, local: LocalStorage) -> None:
    catalog = desk.catalog(local)
    desk.back_up(catalog)
    before = snapshot_of(local)
    desk.commit(catalog)
    assert snapshot_of(local) == before


DAMAGE: dict[str, tuple[Callable[[LocalStorage], object], str]] = {
    "an object missing": (
        lambda local: path_of(local, "dump-0001.tar.zst.age").unlink(),
        "dump-0001.tar.zst.age is missing in local",
    ),
    "an object truncated": (
        lambda local: rewrite(path_of(local, "dump-0001.tar.zst.age"), b"other part" * 99),
        "dump-0001.tar.zst.age",
    ),
    "a bit flipped": (
        lambda local: rewrite(path_of(local, "dump-0001.tar.zst.age"), b"nther part" + b"other part" * 99),
        "dump-0001.tar.zst.age",
    ),
    "swapped with the other": (
        lambda local: rewrite(path_of(local, "dump-0000.tar.zst.age"), PARTS["dump-0001.tar.zst.age"]),
        "dump-0000.tar.zst.age",
    ),
    "another manifest under the id": (
        lambda local: local.create(manifest_key("akig", BACKUP_ID), b"{}"),
        "holds another manifest",
    ),
}


@pytest.mark.parametrize(("damage", "complaint"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_backup_is_never_committed(
    desk: Desk, local: LocalStorage, damage: Callable[[LocalStorage], object], complaint: str
) -> None:
    catalog = desk.catalog(local)
    desk.upload(catalog)
    damage(local)
    before = snapshot_of(local)
    with pytest.raises(IntegrityError, match=complaint):
        desk.commit(catalog)
    assert snapshot_of(local) == before


def test_manifest_nobody_could_verify_is_never_committed(desk: Desk, local: LocalStorage) -> None:
    catalog, manifest = desk.catalog(local), desk.manifest()
    desk.upload(catalog)
    with pytest.raises(SignatureError, match="unknown key"):
        catalog.commit(manifests.sign(manifest, Signer.generate()), manifest)
    assert catalog.committed() == set()


def test_manifest_of_another_target_is_never_committed(desk: Desk, local: LocalStorage) -> None:
    catalog = desk.catalog(local, "other")
    desk.upload(catalog)
    with pytest.raises(IntegrityError, match="belongs to target akig"):
        desk.commit(catalog)


def test_signed_bytes_and_model_must_be_one(desk: Desk, local: LocalStorage) -> None:
    catalog, manifest = desk.catalog(local), desk.manifest()
    desk.upload(catalog)
    fewer = manifest.model_copy(update={"objects": manifest.objects[:1]})
    with pytest.raises(IntegrityError, match="not the one given"):
        catalog.commit(manifests.sign(fewer, desk.signer), manifest)


def test_incremental_needs_its_parent_in_the_same_repository(desk: Desk, local: LocalStorage) -> None:
    catalog, child = desk.catalog(local), "20261122T080000Z-incremental-0001"
    with pytest.raises(IntegrityError, match=f"needs {BACKUP_ID}, not in local"):
        desk.back_up(catalog, child, (BACKUP_ID,))
    desk.back_up(catalog)
    desk.back_up(catalog, child, (BACKUP_ID,))
    assert [entry.backup_id for entry in catalog.backups()] == [child, BACKUP_ID]


def test_listing_that_disagrees_stops_the_commit(desk: Desk, local: LocalStorage) -> None:
    class Blind(LocalStorage):
        """Serves reads and leaves one object out of its listing."""

        def list(self, prefix: str) -> Iterator[ObjectStat]:
            return (stat for stat in super().list(prefix) if "dump-0001" not in stat.key)

    catalog = desk.catalog(Blind("local", local.root))
    desk.upload(catalog)
    with pytest.raises(IntegrityError, match=r"dump-0001.tar.zst.age .* is not listed in local"):
        desk.commit(catalog)


# -- listing -------------------------------------------------------------------------------------


def test_unreadable_newest_is_listed_with_its_error(desk: Desk, local: LocalStorage) -> None:
    catalog, newer = desk.catalog(local), "20261122T080000Z-full-0001"
    desk.back_up(catalog)
    local.create(manifest_key("akig", newer), b"{}")
    entries = catalog.backups()
    assert [(e.backup_id, e.manifest is None) for e in entries] == [(newer, True), (BACKUP_ID, False)]
    assert isinstance(entries[0].error, IntegrityError)
    assert entries[0].taken_at.hour == 8


def test_manifest_moved_under_another_id_is_refused(desk: Desk, local: LocalStorage) -> None:
    catalog, newer = desk.catalog(local), "20261122T080000Z-full-0001"
    desk.back_up(catalog)
    local.create(manifest_key("akig", newer), catalog.manifest_bytes(BACKUP_ID))
    with pytest.raises(IntegrityError, match=f"of backup {newer} belongs to backup {BACKUP_ID}"):
        catalog.load(newer)


@pytest.mark.parametrize("name", ["junk", "20269999T999999Z-full-0001"])
def test_manifest_under_a_strange_name_is_not_passed_over(desk: Desk, local: LocalStorage, name: str) -> None:
    local.create(f"akig/backups/{name}/manifest.json", b"{}")
    [entry] = desk.catalog(local).backups()
    assert entry.error is not None
    assert entry.taken_at.year == 1


def test_backup_that_expires_while_we_list_is_no_error(desk: Desk, local: LocalStorage) -> None:
    class Vanishing(LocalStorage):
        """Somebody else expires the backup right after the listing."""

        def list(self, prefix: str) -> Iterator[ObjectStat]:
            found = list(super().list(prefix))
            self.delete(manifest_key("akig", BACKUP_ID))
            return iter(found)

    desk.back_up(desk.catalog(local))
    assert desk.catalog(Vanishing("local", local.root)).backups() == []


def test_unknown_backup_names_the_command(desk: Desk, local: LocalStorage) -> None:
    with pytest.raises(
        NotFoundError, match="no backup 20261122T070955Z-full-3f9c of akig in local"
    ) as caught:
        desk.catalog(local).load(BACKUP_ID)
    assert "pra backups akig" in caught.value.hint


@pytest.mark.parametrize("name", ["../../../etc/passwd", "", ".x", "a/b"])
def test_object_name_cannot_leave_the_backup(desk: Desk, local: LocalStorage, name: str) -> None:
    with (
        pytest.raises(IntegrityError, match="not an object's name"),
        desk.catalog(local).open_object(BACKUP_ID, name),
    ):
        pytest.fail("opened")


def test_error_of_the_reader_is_not_taken_for_a_missing_object(desk: Desk, local: LocalStorage) -> None:
    catalog = desk.catalog(local)
    desk.back_up(catalog)
    with (
        pytest.raises(StorageError, match="elsewhere"),
        catalog.open_object(BACKUP_ID, "dump-0000.tar.zst.age"),
    ):
        raise StorageError("elsewhere")


# -- copying -------------------------------------------------------------------------------------


def test_catch_up_copies_the_same_bytes_parents_first(
    desk: Desk, local: LocalStorage, offsite: LocalStorage
) -> None:
    source, destination = desk.catalog(local), desk.catalog(offsite)
    child = "20261122T080000Z-incremental-0001"
    desk.back_up(source)
    desk.back_up(source, child, (BACKUP_ID,))
    assert destination.copy_from(source, child, desk.staging) == (BACKUP_ID, child)
    assert snapshot_of(offsite) == snapshot_of(local)
    assert destination.copy_from(source, child, desk.staging) == ()
    assert list(desk.staging.iterdir()) == []


def test_catch_up_from_a_damaged_copy_commits_nothing(
    desk: Desk, local: LocalStorage, offsite: LocalStorage
) -> None:
    source, destination = desk.catalog(local), desk.catalog(offsite)
    desk.back_up(source)
    rewrite(path_of(local, "dump-0001.tar.zst.age"), b"x" * 1000)
    with pytest.raises(IntegrityError, match=r"dump-0001\S+ is not what was signed"):
        destination.copy_from(source, BACKUP_ID, desk.staging)
    assert destination.committed() == set()
    assert list(desk.staging.iterdir()) == []


def test_catch_up_goes_on_where_it_was_interrupted(
    desk: Desk, local: LocalStorage, offsite: LocalStorage
) -> None:
    source, destination = desk.catalog(local), desk.catalog(offsite)
    desk.back_up(source)
    desk.upload(destination)
    whole, damaged = (path_of(offsite, name) for name in PARTS)
    rewrite(damaged, b"half")
    before = whole.stat().st_mtime_ns, whole.stat().st_ino
    (desk.staging / f"copy-{BACKUP_ID}-{damaged.name}").write_bytes(b"left by a run that died")
    assert destination.copy_from(source, BACKUP_ID, desk.staging) == (BACKUP_ID,)
    assert (whole.stat().st_mtime_ns, whole.stat().st_ino) == before
    assert snapshot_of(offsite) == snapshot_of(local)


def test_catch_up_holds_a_lease_over_what_it_builds(
    desk: Desk, local: LocalStorage, offsite: LocalStorage
) -> None:
    class Curious(LocalStorage):
        """Collects garbage in the middle of every upload, as another host might."""

        reports: list[object] = []  # noqa: RUF012  one instance, one test

        def put(self, key: str, source: Path, *, sha256: str, retain_until: datetime | None = None) -> None:
            super().put(key, source, sha256=sha256, retain_until=retain_until)
            age_by(self, 10 * 86400)
            self.reports.append(Catalog(self, "akig", desk.keyring).gc(utc_now(), DAY))

    source = desk.catalog(local)
    desk.back_up(source)
    destination = Catalog(Curious("offsite", offsite.root), "akig", desk.keyring)
    destination.copy_from(source, BACKUP_ID, desk.staging)
    assert destination.load(BACKUP_ID)
    assert len(Curious.reports) == 2


# -- deleting ------------------------------------------------------------------------------------


def test_deleted_backup_is_gone_and_deleting_again_is_harmless(desk: Desk, local: LocalStorage) -> None:
    catalog = desk.catalog(local)
    desk.back_up(catalog)
    catalog.delete_backup(BACKUP_ID)
    catalog.delete_backup(BACKUP_ID)
    assert snapshot_of(local) == {}


def test_interrupted_deletion_leaves_no_backup_and_gc_finishes_it(desk: Desk, local: LocalStorage) -> None:
    class Stubborn(LocalStorage):
        """Refuses to delete objects, as under an object lock."""

        def delete(self, key: str) -> None:
            if "/objects/" in key:
                raise StorageError("retained until later", op="delete", transient=False)
            super().delete(key)

    desk.back_up(desk.catalog(local))
    catalog = desk.catalog(Stubborn("local", local.root))
    with pytest.raises(StorageError, match="retained"):
        catalog.delete_backup(BACKUP_ID)
    assert catalog.backups() == []
    age_by(local, 2 * 86400)
    report = catalog.gc(utc_now(), DAY)
    assert report.removed == ()
    assert report.failed == (
        (object_key("akig", BACKUP_ID, "dump-0000.tar.zst.age"), "retained until later"),
    )
    assert len(desk.catalog(local).gc(utc_now(), DAY).removed) == 2
    assert snapshot_of(local) == {}


def test_backup_in_use_is_not_deleted(desk: Desk, local: LocalStorage) -> None:
    catalog = desk.catalog(local)
    desk.back_up(catalog)
    with (
        hold(local, "akig", "restore", covers=[BACKUP_ID]),
        pytest.raises(BusyError, match="is in use in local"),
    ):
        catalog.delete_backup(BACKUP_ID)
    assert catalog.load(BACKUP_ID)


# -- garbage -------------------------------------------------------------------------------------


def test_gc_removes_what_a_dead_run_left_and_nothing_else(desk: Desk, local: LocalStorage) -> None:
    catalog, dead = desk.catalog(local), "20261122T080000Z-full-dead"
    desk.back_up(catalog)
    local.create("akig/evidence/0000000001.json", b"{}")
    local.create("akig/wal/1/1/segment.zst.age", b"wal")
    local.create("other/backups/20261122T080000Z-full-0001/objects/a", b"of another target")
    keep = snapshot_of(local)
    desk.upload(catalog, dead)
    write(local.root / f"akig/backups/{dead}/objects/.tmp-0a0b0c0d-dump-0002.tar.zst.age", b"half")
    age_by(local, 2 * 86400)
    assert [orphan.backup_id for orphan in catalog.orphans(utc_now(), DAY)] == [dead]
    report = catalog.gc(utc_now(), DAY)
    assert report.removed == tuple(object_key("akig", dead, name) for name in PARTS)
    assert report.aborted == (object_key("akig", dead, "dump-0002.tar.zst.age"),)
    assert (report.bytes, report.kept, report.failed) == (2000, (), ())
    assert snapshot_of(local) == keep


def test_dry_run_plans_the_same_and_removes_nothing(desk: Desk, local: LocalStorage) -> None:
    catalog = desk.catalog(local)
    desk.upload(catalog)
    age_by(local, 2 * 86400)
    before = snapshot_of(local)
    planned = catalog.gc(utc_now(), DAY, dry_run=True)
    assert snapshot_of(local) == before
    assert planned.dry_run
    assert replace(planned, dry_run=False) == catalog.gc(utc_now(), DAY)
    assert snapshot_of(local) == {}


def test_unfinished_upload_is_aborted_only_when_old(desk: Desk, local: LocalStorage) -> None:
    catalog = desk.catalog(local)
    half = write(local.root / f"akig/backups/{BACKUP_ID}/objects/.tmp-0a0b0c0d-a.tar.zst", b"half")
    assert catalog.gc(utc_now(), DAY).aborted == ()
    age_by(local, 2 * 86400)
    with hold(local, "akig", "backup", covers=[BACKUP_ID]):
        assert catalog.gc(utc_now(), DAY).aborted == ()
    expected = (object_key("akig", BACKUP_ID, "a.tar.zst"),)
    assert catalog.gc(utc_now(), DAY, dry_run=True).aborted == expected
    assert half.exists()
    assert catalog.gc(utc_now(), DAY).aborted == expected
    assert not half.exists()


def test_backup_under_way_is_left_alone_while_one_object_is_young(desk: Desk, local: LocalStorage) -> None:
    catalog = desk.catalog(local)
    desk.upload(catalog)
    age_by(local, 2 * 86400)
    local.create(object_key("akig", BACKUP_ID, "globals.sql.zst.age"), b"just written")
    report = catalog.gc(utc_now(), DAY)
    assert report.removed == ()
    assert report.kept == ((BACKUP_ID, "younger than the longest backup"),)


def test_clock_a_year_ahead_sees_no_garbage(desk: Desk, local: LocalStorage) -> None:
    catalog = desk.catalog(local)
    desk.upload(catalog)
    before = snapshot_of(local)
    ahead = utc_now() + 365 * DAY
    assert Catalog(local, "akig", desk.keyring, clock=lambda: ahead).gc(ahead, DAY).removed == ()
    assert snapshot_of(local) == before


def test_covered_backup_is_left_alone_whatever_its_age(desk: Desk, local: LocalStorage) -> None:
    catalog = desk.catalog(local)
    desk.upload(catalog)
    age_by(local, 90 * 86400)
    with hold(local, "akig", "backup", covers=[BACKUP_ID]) as lease:
        assert catalog.gc(utc_now(), DAY).kept == ((BACKUP_ID, f"covered by {lease.key}"),)
    with hold(local, "akig", "backup", covers=["another"]):
        assert len(catalog.gc(utc_now(), DAY).removed) == 2


def test_unreadable_lease_stops_all_removal(desk: Desk, local: LocalStorage) -> None:
    catalog = desk.catalog(local)
    desk.upload(catalog)
    local.create("akig/leases/odd", b"?")
    age_by(local, 90 * 86400)
    report = catalog.gc(utc_now(), DAY)
    assert report.kept == ((BACKUP_ID, "covered by akig/leases/odd"),)


def test_lease_of_a_holder_long_dead_is_swept_out(desk: Desk, local: LocalStorage) -> None:
    with hold(local, "akig", "backup", covers=["b"]) as lease:
        left_behind = local.read(lease.key)
    local.create("akig/leases/left", left_behind)
    age_by(local, 90 * 86400)
    later = utc_now() + HOUR
    report = Catalog(local, "akig", desk.keyring).gc(later, timedelta(0))
    assert report.removed == ()  # by its own words it has lived until minutes ago
    text = left_behind.replace(str(utc_now().year).encode(), b"2001")
    local.replace("akig/leases/left", text, previous=left_behind)
    age_by(local, 90 * 86400)
    assert Catalog(local, "akig", desk.keyring).gc(utc_now(), DAY).removed == ("akig/leases/left",)


def test_two_collections_at_once_are_one_too_many(desk: Desk, local: LocalStorage) -> None:
    with hold(local, "akig", "gc", exclusive=True), pytest.raises(BusyError, match="for gc"):
        desk.catalog(local).gc(utc_now(), DAY)


def test_manifest_that_arrives_late_saves_the_backup(desk: Desk, local: LocalStorage) -> None:
    class Late(LocalStorage):
        """The manifest lands after the listing, before the deletion."""

        def list(self, prefix: str) -> Iterator[ObjectStat]:
            found = list(super().list(prefix))
            if prefix.endswith("/backups/") and self.stat(manifest_key("akig", BACKUP_ID)) is None:
                desk.commit(desk.catalog(local))
            return iter(found)

    desk.upload(desk.catalog(local))
    age_by(local, 90 * 86400)
    report = desk.catalog(Late("local", local.root)).gc(utc_now(), DAY)
    assert report.kept == ((BACKUP_ID, "committed meanwhile"),)
    assert desk.catalog(local).load(BACKUP_ID)


# -- what retention sees -------------------------------------------------------------------------


def test_facts_for_retention(desk: Desk) -> None:
    full, child = make_manifest(), "20261122T080000Z-incremental-0001"
    later = "20261122T090000Z-incremental-0002"
    incremental = make_manifest(backup_id=child, kind="incremental", parents=(BACKUP_ID,))
    broken = IntegrityError("broken")
    facts = retention_facts(
        [BackupEntry(BACKUP_ID, full), BackupEntry(later, None, broken), BackupEntry(child, incremental)],
        proven={child},
    )
    assert [(f.backup_id, f.parents, f.proven, f.readable) for f in facts] == [
        (later, (child, BACKUP_ID), False, False),
        (child, (BACKUP_ID,), True, True),
        (BACKUP_ID, (), False, True),
    ]
