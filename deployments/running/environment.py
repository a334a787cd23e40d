"""What Prefect's programs are told when we start them. Pure: nothing is read but what is passed in."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from deployments import zones
from pra.settings_running import Prefect

# Nothing here reports to anybody.
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_CLI_PROMPT": "false",
}
_POLL_SECONDS = 5
_LEASES = "prefect.server.concurrency.lease_storage.filesystem"
_HEARTBEAT = "prefect.flow-run.heartbeat"
# A key of Prefect's cloud, or a profile, would have its programs look elsewhere.
_FOREIGN = ("PREFECT_API_KEY", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH")


def inherited(env: Mapping[str, str]) -> dict[str, str]:
    """What of our own environment Prefect's programs keep."""
    return {name: value for name, value in env.items() if name not in _FOREIGN}


def client_environment(home: Path, api_url: str, auth: str | None = None) -> dict[str, str]:
    """For whatever asks the API: a worker, its runs, ``pra deploy``."""
    found = QUIET | {"PREFECT_HOME": str(home), "PREFECT_API_URL": api_url}
    return found | ({"PREFECT_API_AUTH_STRING": auth} if auth else {})


def server_environment(home: Path, prefect: Prefect, auth: str | None = None) -> dict[str, str]:
    """For the server, whose database lies in ``home`` unless the settings name another."""
    found = client_environment(home, prefect.api_url, auth) | {
        "PREFECT_UI_URL": prefect.public_url,
        # Else the pages ask port 4200, whatever port the server listens on.
        "PREFECT_SERVER_UI_API_URL": f"{prefect.public_url}/api",
        "PREFECT_SERVER_API_HOST": prefect.host,
        "PREFECT_SERVER_API_PORT": str(prefect.port),
        # In memory, which is the default, they would end with the server, and every run under way with them.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": _LEASES,
        **zones.SERVER,
    }
    if auth is not None:
        found["PREFECT_SERVER_API_AUTH_STRING"] = auth
    if prefect.database is not None:
        found["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = prefect.database.get_secret_value()
    return found | _bounded(prefect)


def worker_environment(
    home: Path, api_url: str, auth: str | None, *, state_dir: Path, config: Path | None
) -> dict[str, str]:
    """For a worker, hence for every run of it."""
    found = client_environment(home, api_url, auth) | {
        "PREFECT_WORKER_QUERY_SECONDS": str(_POLL_SECONDS),
        "PRA_STATE_DIR": str(state_dir),
    }
    return found | ({"PRA_CONFIG": str(config)} if config else {})


def server_argv(prefect: Prefect) -> tuple[str, ...]:
    where = ("--host", prefect.host, "--port", str(prefect.port))
    return (sys.executable, "-m", "prefect", "server", "start", *where)


def worker_argv(pool: str, name: str) -> tuple[str, ...]:
    """A worker of the type that the pool has; a pool that is not there yet is made for processes."""
    return (sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--name", name)


def _bounded(prefect: Prefect) -> dict[str, str]:
    """How long runs and events are kept: by default Prefect keeps runs for ever."""
    vacuum = "PREFECT_SERVER_SERVICES_DB_VACUUM"
    return {
        f"{vacuum}_ENABLED": "events,flow_runs",
        f"{vacuum}_RETENTION_PERIOD": _seconds(prefect.keep_runs),
        f"{vacuum}_EVENT_RETENTION_OVERRIDES": json.dumps({_HEARTBEAT: _seconds(prefect.keep_heartbeats)}),
        # Unlike the other, this one takes no bare number.
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": f"PT{_seconds(prefect.keep_events)}S",
    }


def _seconds(span: timedelta) -> str:
    return f"{span.total_seconds():.0f}"
