"""Time zones read from one package instead of the system's six hundred files. Knows no Prefect.

Prefect holds the zone of every schedule that it reads or writes against a list of all zones, and Python makes
that list by opening every file below /usr/share/zoneinfo: 11 ms a schedule, a minute for a large fleet.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from contextlib import contextmanager

SERVER = {"PYTHONTZPATH": ""}
"""The same for a server that we start: its scheduler reads all schedules every minute."""


@contextmanager
def zones_at_hand() -> Iterator[None]:
    """Zones come from the package ``tzdata`` meanwhile."""
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath(to=())
    try:
        yield
    finally:
        zoneinfo.reset_tzpath(to=before)
