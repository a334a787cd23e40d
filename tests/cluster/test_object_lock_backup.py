"""A backup under Object Lock: whoever holds the keys can overwrite, hide and delete, and it restores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from pra.layout import backup_prefix
from pra.model import Verdict, backup_moment
from pra.procedures import expiry
from pra.retention import gfs_end
from pra.storage.s3 import S3Storage
from tests import fix_faults as after
from tests.fix_store import LIMITS, Server
from tests.fix_world import World, complaints

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

PREFIX = "pra"


@dataclass(frozen=True)
class Attacker:
    """Somebody with the repository's own keys."""

    client: S3Client
    bucket: str

    def keys(self, prefix: str) -> list[str]:
        listed = self.client.list_object_versions(Bucket=self.bucket, Prefix=f"{PREFIX}/{prefix}")
        return sorted({version["Key"] for version in listed["Versions"]})

    def overwrite(self, prefix: str) -> None:
        for key in self.keys(prefix):
            self.client.put_object(Bucket=self.bucket, Key=key, Body=b"pay us")

    def hide(self, prefix: str) -> None:
        for key in self.keys(prefix):
            self.client.delete_object(Bucket=self.bucket, Key=key)

    def destroy(self, prefix: str) -> None:
        """Every version for good: the server must refuse each."""
        listed = self.client.list_object_versions(Bucket=self.bucket, Prefix=f"{PREFIX}/{prefix}")
        for version in listed["Versions"]:
            with pytest.raises(ClientError):
                self.client.delete_object(
                    Bucket=self.bucket, Key=version["Key"], VersionId=version["VersionId"]
                )


@dataclass(frozen=True)
class Locked:
    world: World
    attacker: Attacker


@pytest.fixture
def locked(tiny: World, moto_server: Server) -> Locked:
    """The tiny world with an offsite repository under Object Lock."""
    bucket = moto_server.store(lock=True).name
    store = S3Storage(
        "far", f"s3://{bucket}/{PREFIX}", moto_server.account(), object_lock=True, limits=LIMITS
    )
    repositories = dict(tiny.settings.repositories)
    repositories["far"] = repositories["far"].model_copy(update={"object_lock": True})
    tiny.settings = tiny.settings.model_copy(update={"repositories": repositories})
    tiny.repositories = {"near": after.storage(tiny, "near"), "far": store}
    return Locked(tiny, Attacker(moto_server.client(), bucket))


ATTACKS: dict[str, Callable[[Attacker, str], None]] = {
    "overwritten": Attacker.overwrite,
    "hidden behind delete markers": Attacker.hide,
    "told to delete every version": Attacker.destroy,
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_an_attacked_backup_is_listed_and_proven_all_the_same(
    locked: Locked, attack: Callable[[Attacker, str], None]
) -> None:
    world = locked.world
    done = world.backup()
    assert done.ok, done.repositories
    attack(locked.attacker, backup_prefix("db", done.backup_id))
    assert after.committed(world, "far") == {done.backup_id}
    report = world.verify("far")
    assert report.verdict is Verdict.PASS, complaints(report)
    assert report.backup_id == done.backup_id
    assert world.backup().ok


def test_every_object_is_locked_until_the_schedule_lets_go(locked: Locked) -> None:
    done = locked.world.backup()
    client, bucket = locked.attacker.client, locked.attacker.bucket
    with locked.world.context() as context:
        end = gfs_end(backup_moment(done.backup_id), expiry.policy(context))
    published = locked.attacker.keys(backup_prefix("db", done.backup_id))
    assert len(published) == 4
    for key in published:
        found = client.head_object(Bucket=bucket, Key=key)
        assert found["ObjectLockMode"] == "COMPLIANCE"
        assert abs((found["ObjectLockRetainUntilDate"] - end).total_seconds()) < 2
    # Who is at work is nobody's record: under a lock a lease would stand for a year.
    leases = client.list_object_versions(Bucket=bucket, Prefix=f"{PREFIX}/db/leases/")
    assert leases.get("Versions", []) == []


def test_expiry_leaves_what_is_locked_and_says_so(locked: Locked) -> None:
    """Retention was shortened after a backup had been locked for longer."""
    world = locked.world
    repositories, world.repositories = world.repositories, {}
    old = after.make_old_backup(world, days=40)
    world.repositories = {name: repositories[name] for name in ("near", "far")}
    assert world.backup().caught_up == (old,)
    assert old in after.committed(world, "far")
    shorter = {"hourly": 1, "daily": 0, "weekly": 0, "monthly": 0}
    retention = world.settings.retention.model_copy(update=shorter)
    world.settings = world.settings.model_copy(update={"retention": retention})
    with world.context() as context:
        report = expiry.expire(context, "far")
    assert report.removed == ()
    assert report.retained == (old,)
    assert "retained" in report.reasons[0] or "lock" in report.reasons[0]
    again = world.backup()
    assert again.ok
    (said,) = [warning for warning in again.warnings if warning.startswith("expire in far")]
    assert old in said
    assert after.committed(world, "far") >= {old, again.backup_id}
    assert old not in after.committed(world, "near"), "the other repository has no lock"
    report_of_old = world.verify("far", old)
    assert report_of_old.verdict is Verdict.PASS, complaints(report_of_old)
