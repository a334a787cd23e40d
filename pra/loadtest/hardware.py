"""What this machine is, as far as figures measured on it can be compared with others."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True)
class Hardware:
    """Figures are comparable where all three are the same. ``memory``: GiB, rounded."""

    processor: str
    cores: int
    memory: int

    def as_json(self) -> dict[str, Any]:
        return {"processor": self.processor, "cores": self.cores, "memory_gib": self.memory}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        return cls(found["processor"], found["cores"], found["memory_gib"])


def this_machine() -> Hardware:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Hardware(_processor(), os.cpu_count() or 1, round(memory / (1 << 30)))


def _processor(info: Path = Path("/proc/cpuinfo")) -> str:
    try:
        lines = info.read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.machine() or "unknown"
