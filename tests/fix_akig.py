"""AKIG's database on a real server, what was recorded of it, and copies to damage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from deployments.demo.akig import DEFAULT_UNTIL, create
from pra.manifest import FingerprintRef, Manifest, ServerFacts, TableCount
from pra.model import StoredObject
from pra.postgres import fingerprint as fp
from pra.postgres.connect import Server
from pra.postgres.tools import Tools
from pra.proc import Scope
from pra.restored import RestoredDatabase
from pra.settings import Target
from tests.fix_cluster import Cluster

MEGABYTES = 20


def target(**more: Any) -> Target:
    return Target(name="akig", dsn="host=/nowhere dbname=akig", repositories=["local"], **more)


def manifest(fingerprint: fp.Fingerprint, **more: Any) -> Manifest:
    """A manifest as the backup of this fingerprint would have it."""
    moment = datetime(2026, 11, 22, 7, 10, tzinfo=UTC)
    facts = ServerFacts(
        version_num=fingerprint.server_version_num, version="", system_identifier="", encoding="UTF8",
        collate="C.UTF-8", ctype="C.UTF-8", locale_provider="libc", bootstrap_role="postgres",
        data_checksums=True, database_bytes=0,
    )  # fmt: skip
    tables = tuple(TableCount(name=t.identity, rows=t.rows, bytes=t.bytes) for t in fingerprint.tables)
    known: dict[str, Any] = {
        "target": "akig", "backup_id": "20261122T070955Z-full-3f9c", "engine": "logical", "kind": "full",
        "database": "akig", "started_at": moment, "taken_at": DEFAULT_UNTIL, "read_finished_at": moment,
        "finished_at": moment, "server": facts, "snapshot": "1:1:", "tables": tables, "encryption": "none",
        "objects": (StoredObject("dump", 1, "0" * 64, 1, "0" * 64),), "tools": "18",
        "fingerprint": FingerprintRef(
            depth=fingerprint.depth, sha256="0" * 64, tables=len(tables), rows=fingerprint.rows
        ),
    }  # fmt: skip
    return Manifest(**(known | more))


@dataclass(frozen=True)
class Akig:
    """The generated database, kept as a template: ``restored`` hands out copies of it."""

    cluster: Cluster
    template: str
    fingerprint: fp.Fingerprint

    @contextmanager
    def restored(self, *damage: str, **more: Any) -> Iterator[RestoredDatabase]:
        """A copy, damaged by these statements, as a check sees a restored database.

        Args:
            more: ``target``, ``manifest`` or ``fingerprint``, or any other field of `RestoredDatabase`.
        """
        name = self.cluster.createdb(template=self.template, options="STRATEGY FILE_COPY")
        try:
            if damage:
                self.cluster.execute(name, *damage)
            with Scope() as scope:
                yield self.describe(name, scope, **more)
        finally:
            self.cluster.dropdb(name)

    def describe(self, name: str, scope: Scope, **more: Any) -> RestoredDatabase:
        fingerprint = more.pop("fingerprint", self.fingerprint)
        known: dict[str, Any] = {
            "server": Server.parse(self.cluster.dsn(name)),
            "target": target(),
            "manifest": manifest(fingerprint),
            "fingerprint": fingerprint,
            "tools": Tools(self.cluster.bindir, self.cluster.major, str(self.cluster.major)),
            "sandboxed": True,
            "network": False,
            "scope": scope,
        }
        return RestoredDatabase(**(known | more))


@pytest.fixture(scope="session")
def make_akig() -> Callable[[Cluster], Akig]:
    """Generates once per server; copies are quick."""
    made: dict[int, Akig] = {}

    def make(cluster: Cluster) -> Akig:
        if id(cluster) not in made:
            name = cluster.createdb("akig_template")
            with cluster.connect(name) as conn:
                create(conn, megabytes=MEGABYTES)
            fingerprint = fp.take(lambda: cluster.connect(name), jobs=2)
            made[id(cluster)] = Akig(cluster, name, fingerprint)
        return made[id(cluster)]

    return make


@pytest.fixture(scope="session")
def akig(pg18: Cluster, make_akig: Callable[[Cluster], Akig]) -> Akig:
    """AKIG's database on PostgreSQL 18."""
    return make_akig(pg18)


def earlier(fingerprint: fp.Fingerprint, *changes: Sequence[TableCount]) -> tuple[Manifest, ...]:
    """Manifests of earlier backups with these tables, newest first."""
    return tuple(manifest(replace(fingerprint), tables=tuple(tables)) for tables in changes)
