"""A load test on a real database: what is in order passes; what came back slow is called by its name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from pra.drill.record import INTERRUPTED
from pra.evidence_record import EvidenceRecord
from pra.loadtest.record import LOAD_TEST, load_test_of
from pra.model import Status, Verdict
from pra.postgres.sandbox import sandbox_root
from pra.procedures import loadtest
from pra.settings import Api
from tests.cluster.test_service import APPLICATION
from tests.fix_cluster import free_port
from tests.fix_drill import keys_of
from tests.fix_loadtest import check_of, left_behind, load_test
from tests.fix_physical import MakePhysical
from tests.fix_world import MakeWorld, World

pytestmark = pytest.mark.timeout(300)
LINES = "invoice-lines-of-contract"
INDEX = "public.invoice_lines_invoice_id_idx"


def evidence(world: World) -> EvidenceRecord:
    with world.context() as context:
        head = context.evidence.head()
    assert head is not None
    return head


def served(world: World, tmp_path: Path) -> dict[str, Api]:
    """An application that really reads the restored database."""
    file, port = tmp_path / "application.py", free_port()
    file.write_text(APPLICATION)
    api = Api(
        endpoints=["/api/health", "/api/contracts?limit=1"],
        restore_url=f"http://127.0.0.1:{port}",
        start=f"{sys.executable} {file} {port} {{dsn}}",
        timeout=timedelta(seconds=20),
    )
    return {"api": api}


@pytest.mark.all
def test_what_is_in_order_passes_and_a_lost_index_is_named(load_world: World, tmp_path: Path) -> None:
    """One after the other: the second is compared with the figures that the first has recorded."""
    world, keys = load_world, keys_of(load_world)
    record = load_test(world, target=served(world, tmp_path))
    wrong = [c for c in record.checks if c.status in (Status.FAILED, Status.SKIPPED)]
    assert (record.verdict, wrong) == (Verdict.PASS, [])
    assert [each.kind for each in record.rounds] == ["backup", "restore-fast", "restore"]
    assert all(each.seconds > 0 and 0 < each.stored < each.raw for each in record.rounds)
    assert record.shipped
    assert record.beside == "copy"
    assert record.restored is not None
    assert record.original is not None
    assert len(record.restored.queries) == len(record.original.queries) == 10
    assert all(0 < q.median <= q.p95 <= q.p99 for q in record.restored.queries)
    assert record.api is not None
    assert (record.api.errors, [each.name for each in record.api.endpoints]) == (
        0,
        ["/api/health", "/api/contracts"],
    )
    assert tuple(step.name for step in record.steps) == loadtest.PHASES
    head = evidence(world)
    assert (head.kind, head.body["verdict"], head.body["slow"]) == (LOAD_TEST, "PASS", [])

    slow = load_test(world, backup=False, sabotage="drop-index")
    assert slow.verdict is Verdict.FAIL
    assert slow.beside == "record"
    assert [(each.name, each.reason, each.names) for each in slow.slow] == [(LINES, "index", (INDEX,))]
    assert LINES in check_of(slow, "slow-queries").observed
    assert INDEX in check_of(slow, "indexes").reason
    assert check_of(slow, "backup-interval").status is Status.NOT_APPLICABLE
    assert check_of(slow, "integrity").status is Status.PASSED

    assert keys_of(world) == keys, "the real repositories have gained evidence, and nothing else"
    assert left_behind(world) == []


@pytest.mark.all
def test_lost_statistics_are_the_reason_that_is_named(load_world: World) -> None:
    lost = load_test(load_world, sabotage="no-statistics")
    assert lost.verdict is Verdict.FAIL
    named = {each.name: each for each in lost.slow}
    assert named[LINES].reason == "statistics"
    assert set(named[LINES].names) >= {"public.invoice_lines", "public.invoices"}
    assert check_of(lost, "statistics").status is Status.FAILED


@pytest.mark.all
def test_the_copy_of_the_original_shows_a_dropped_index_too(load_world: World) -> None:
    record = load_test(load_world, sabotage="drop-index")
    assert record.beside == "copy"
    assert [(each.name, each.reason) for each in record.slow] == [(LINES, "index")]


@pytest.mark.all
def test_without_the_source_nothing_is_compared_and_the_verdict_says_so(
    load_world: World, world_maker: MakeWorld
) -> None:
    """Not to be read, it is ruled out beforehand; and the next load test then has figures to go by."""
    world = world_maker(load_world.cluster, load_world.database)
    world.backup()
    away = {"dsn": "host=/nowhere dbname=akig user=postgres"}
    record = load_test(world, target=away)
    assert record.verdict is Verdict.FAIL
    assert check_of(record, "backup-interval").status is Status.FAILED
    assert check_of(record, "slow-queries").status is Status.SKIPPED
    assert check_of(record, "rto").status is Status.PASSED
    left_out = load_test(world, target=away, backup=False)
    assert (left_out.verdict, left_out.beside) == (Verdict.PASS, "nothing"), (
        "a failed one is nothing to go by"
    )
    assert check_of(left_out, "slow-queries").status is Status.NOT_APPLICABLE
    third = load_test(world, target=away)
    assert third.beside == "record"
    assert check_of(third, "slow-queries").status is Status.PASSED


@pytest.mark.all
@pytest.mark.parametrize("sabotage", [None, "drop-index"])
def test_a_base_backup_is_compared_with_a_base_backup(
    make_physical: MakePhysical, make_world: MakeWorld, sabotage: str | None
) -> None:
    """Tables that are not AKIG's: the queries are made from the critical ones and their foreign keys."""
    server = make_physical(18)
    server.createdb("app")
    server.execute(
        "app",
        "CREATE TABLE parents (id bigint PRIMARY KEY, name text)",
        "CREATE TABLE children (id bigint PRIMARY KEY, parent bigint NOT NULL REFERENCES parents, note text)",
        "INSERT INTO parents SELECT n, repeat('p', 20) FROM generate_series(1, 5000) n",
        "INSERT INTO children SELECT n, 1 + n % 5000, repeat('c', 100) FROM generate_series(1, 400000) n",
        "CREATE INDEX children_parent ON children (parent)",
        "ANALYZE",
    )
    world = make_world(server, "app", engine="physical", extra='[targets.db.physical]\ncheckpoint = "fast"\n')
    world.backup()
    record = load_test(world, sabotage=sabotage, target={"critical_tables": ["parents", "children"]})
    assert not record.shipped
    assert record.beside == "copy", record.beside_note
    names = {query.name for query in record.restored.queries} if record.restored else set()
    assert {
        "children by key",
        "children by parent",
        "children update, rolled back",
        "parents by range",
    } <= names
    if sabotage is None:
        assert record.verdict is Verdict.PASS
    else:
        assert [(s.name, s.reason, s.names) for s in record.slow] == [
            ("children by parent", "index", ("public.children_parent",))
        ]


@pytest.mark.all
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_stopped_in_the_middle_it_leaves_nothing(load_world: World, how: signal.Signals) -> None:
    world, keys = load_world, keys_of(load_world)
    child = subprocess.Popen(
        [sys.executable, "-m", "deployments.cli", "loadtest", "--rounds", "1", "--seconds", "30", "--json"],
        env=os.environ | world.environment,
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    root = sandbox_root(world.settings.sandbox.dir, world.settings.state_dir)
    deadline = time.monotonic() + 120
    while not list(root.glob("load-*/queries/*.sql")):
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1)
    child.send_signal(how)
    said, _ = child.communicate(timeout=60)
    if how is signal.SIGTERM:
        assert child.returncode == 143
        assert "error" in json.loads(said)
    else:
        deadline = time.monotonic() + 30
        while users(root):
            assert time.monotonic() < deadline, users(root)
            time.sleep(0.1)
        assert loadtest.clean_up(world.settings, root), "its folder was there"
    head = evidence(world)
    found = load_test_of(head.body)
    assert (head.kind, found.verdict) == (LOAD_TEST, INTERRUPTED)
    assert "in its phase load;" in found.deviations[0]
    assert [step.name for step in found.steps] == ["prepare", "backup", "restore", "original"]
    if how is signal.SIGKILL:
        load_test(world, backup=False, seconds=1)  # sweeps what its restores have left
    assert left_behind(world) == []
    assert keys_of(world) == keys


def users(root: Path) -> list[str]:
    """Processes that have this folder on their command line."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(root) in line:
                found.append(line)
    return found
