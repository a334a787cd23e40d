"""``make bench-status``: the CPU of the status flow beside an empty flow of as many tasks.

Each in a process of its own, imports included; and how a database that hangs makes it end.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pra.proc import Scope
from tests.bench.__main__ import Bench, prepare
from tests.fix_status import way_to

ROUNDS = 5
ALLOWED = 2.0
"""Seconds of CPU that the status flow may cost more than the empty one."""


def status() -> Any:
    from flows.watch import status

    return status(return_state=True)


def empty(tasks: int) -> Any:
    """As many tasks, on as many threads, that do nothing."""
    from prefect import flow

    from flows.watch import THREADS
    from tasks.step import Handle, step

    @step("nothing", run_name="{name}", retries=0)
    def nothing(name: str, handle: Handle[int]) -> Handle[int]:
        return handle

    @flow(name="empty", task_runner=THREADS, persist_result=False)
    def of_as_many_tasks() -> None:
        for each in [nothing.submit(str(number), Handle(number)) for number in range(tasks)]:
            each.result()

    return of_as_many_tasks(return_state=True)


def child(which: str, tasks: int) -> None:
    """Run one flow, and print what this process has cost until then."""
    start = time.monotonic()
    state = status() if which == "status" else empty(tasks)
    used = resource.getrusage(resource.RUSAGE_SELF)
    found = {
        "cpu": used.ru_utime + used.ru_stime,
        "seconds": time.monotonic() - start,
        "state": state.name,
        "message": state.message or "",
    }
    sys.stdout.write(json.dumps(found) + "\n")


def measure(bench: Bench, api: str, which: str, tasks: int = 0, **variables: str) -> dict[str, Any]:
    environment = {**os.environ, **bench.environment, "PREFECT_API_URL": api, **variables}
    argv = [sys.executable, "-m", "tests.bench.status", which, str(tasks)]
    done = subprocess.run(argv, env=environment, stdout=subprocess.PIPE, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


def compare(bench: Bench, api: str) -> float:
    """Median seconds of CPU that the status flow costs more."""
    from pra.settings import load_settings
    from pra.watch.status import passing

    settings = load_settings(None, {**os.environ, **bench.environment, "PREFECT_API_URL": api})
    with Scope() as scope:
        asked = passing.opened(settings, list(settings.targets.values()), scope).questions
    tasks = len(asked) + 1  # and the one that records
    more: list[float] = []
    for _ in range(ROUNDS):
        full, nothing = (float(measure(bench, api, which, tasks)["cpu"]) for which in ("status", "empty"))
        more.append(full - nothing)
        print(f"  status {full:.2f} s, empty {nothing:.2f} s: {full - nothing:+.2f} s of CPU, {tasks} tasks")
    return statistics.median(more)


def hanging(bench: Bench, api: str) -> dict[str, Any]:
    """The same with a database that takes connections and says nothing."""
    with way_to(bench.production.port) as way:
        way.how = "stall"
        dsn = f"postgresql://pra_backup@127.0.0.1:{way.port}/akig"
        return measure(bench, api, "status", PRA_TARGETS__AKIG__DSN=dsn)


def main() -> int:
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    home = Path(tempfile.mkdtemp(prefix="pra-bench-"))
    home.chmod(0o711)
    os.environ |= {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    try:
        with Scope() as scope, prefect_test_harness(server_startup_timeout=110):
            bench = prepare(scope, home, 1)
            for _ in range(3):
                bench.pra("backup", digest="counts")
            api = str(PREFECT_API_URL.value())
            print("status flow (process of its own, imports included)")
            more = compare(bench, api)
            late = hanging(bench, api)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(f"  median: {more:+.2f} s of CPU, allowed {ALLOWED:.1f} s")
    print(f"  a database that hangs: {late['state']} after {late['seconds']:.1f} s")
    right = late["state"] == "Critical" and "akig database: " in late["message"] and late["seconds"] < 30
    return 0 if more < ALLOWED and right else 1


if __name__ == "__main__":
    if len(sys.argv) > 1:
        child(sys.argv[1], int(sys.argv[2]))
    else:
        sys.exit(main())
