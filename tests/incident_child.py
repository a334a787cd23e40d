"""Status passes in processes of their own: forks one for each request, so that modules load once.

Reads one JSON object a line: ``{"config", "environment", "at", "findings"}`` for a pass at that moment with
those findings, or ``{…, "ack": who}`` to take whatever is open. Answers with the fork's process id, and then,
once it has ended, with how: ``0``, or the negative signal.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from datetime import datetime
from pathlib import Path
from typing import Any

import apprise  # noqa: F401 - loaded once, before the forks
import slack_sdk  # noqa: F401

from pra.settings import load_settings
from pra.timing import from_iso
from pra.watch import telling
from pra.watch.incident_store import IncidentStore
from pra.watch.status import passing
from pra.watch.status.finding import StatusPass, dated, in_order, read_pass


def serve() -> None:
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _end(json.loads(line))
        print(pid, flush=True)  # noqa: T201 - its answer
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201


def _end(request: dict[str, Any]) -> None:
    code = 1
    try:
        run(request)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def run(request: dict[str, Any]) -> None:
    """One request, in this process."""
    settings = load_settings(Path(request["config"]), request["environment"])
    now = from_iso(request["at"])

    def clock() -> datetime:
        return now

    if who := request.get("ack"):
        ids = [incident.id for incident in IncidentStore.of(settings).read().open()]
        telling.after_ack(settings, ids, who, clock=clock)
        return
    document = {"at": request["at"], "host": "watcher", "seconds": 0.1, "items": request["findings"]}
    bare = read_pass(document)
    found = in_order(dated(bare.findings, passing.latest(settings), now))
    passing.conclude(settings, StatusPass(now, bare.host, bare.seconds, found), clock=clock)


if __name__ == "__main__":
    serve()
