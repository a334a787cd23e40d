"""What Prefect adds: the flow in this process against `run()` in this process, on the same small database."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

from pra.proc import Scope
from pra.procedures import backup as procedure
from pra.procedures import verify as verification
from pra.procedures.context import Context
from pra.settings import load_settings


def seconds(action: Callable[[], object]) -> float:
    start = time.monotonic()
    action()
    return time.monotonic() - start


def measure(environment: dict[str, str], rounds: int) -> dict[str, float]:
    """Median seconds that the flow takes beyond ``run()``, for backup and for restore-verify."""
    os.environ.update(environment, DO_NOT_TRACK="1", PREFECT_SERVER_ANALYTICS_ENABLED="false")
    # Imported here: the other benchmarks must not carry Prefect.
    from prefect.testing.utilities import prefect_test_harness

    from checks import Checks
    from flows.backup import backup
    from flows.restore_verify import restore_verify

    settings = load_settings()

    def plain(action: Callable[[Context], object]) -> float:
        with Scope() as scope:
            return seconds(lambda: action(Context(settings, settings.target(None), scope)))

    shares: dict[str, list[float]] = {"backup": [], "restore-verify": []}
    with prefect_test_harness(server_startup_timeout=110):
        backup("akig", return_state=True)  # the first flow of a process pays for imports
        for _ in range(rounds):
            alone = plain(procedure.run)
            shares["backup"].append(seconds(lambda: backup("akig", return_state=True)) - alone)
            alone = plain(lambda context: verification.run(context, Checks()))
            flow = seconds(lambda: restore_verify("akig", backup="newest", return_state=True))
            shares["restore-verify"].append(flow - alone)
    return {name: statistics.median(values) for name, values in shares.items()}
