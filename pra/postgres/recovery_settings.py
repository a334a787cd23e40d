"""What a server in recovery is told: of the source's settings only what a hot standby must have."""

from __future__ import annotations

from collections.abc import Mapping

COMMON: Mapping[str, str] = {
    "hot_standby": "on",
    "wal_level": "replica",
    "autovacuum": "off",
    "shared_buffers": "256MB",
    "maintenance_work_mem": "256MB",
    "max_replication_slots": "100",  # also bounds the replication origins that a checkpoint may hold
    "max_wal_size": "4GB",
    "wal_retrieve_retry_interval": "50ms",
    "log_min_messages": "warning",
    "log_line_prefix": "",
    "log_timezone": "UTC",
    "timezone": "UTC",
}
FAST: Mapping[str, str] = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
DURABLE: Mapping[str, str] = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}


def configuration(settings: Mapping[str, str]) -> str:
    """A ``postgresql.conf``."""
    quoted = {name: value.replace("\\", "\\\\").replace("'", "''") for name, value in settings.items()}
    return "".join(f"{name} = '{value}'\n" for name, value in quoted.items())
