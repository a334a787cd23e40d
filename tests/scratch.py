"""Where servers of tests live: in memory where there is room for it.

Each of them is a thousand small files, made and removed within seconds. ext4 looks over the recently removed
ones before it makes the next: a third of the suite's processor time went there.
"""

from __future__ import annotations

import os
from pathlib import Path

_MEMORY = Path("/dev/shm")
_LEAST = 6 << 30


def _has_room(folder: Path) -> bool:
    try:
        disk = os.statvfs(folder)
        available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return False
    free = disk.f_bavail * disk.f_frsize
    return min(free, available) >= _LEAST and not disk.f_flag & os.ST_NOEXEC


SCRATCH = _MEMORY if _has_room(_MEMORY) else Path("/var/tmp")
"""A folder that everybody may enter; short, since a socket's path may have 107 bytes."""

SANDBOXES = SCRATCH / f"pra-sandboxes-{os.getuid()}"
"""For ``[sandbox] dir``."""
