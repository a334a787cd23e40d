"""Whole days of samples, kept in the state directory once they were fetched: they never change."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pra.errors import PraError
from pra.layout import split_samples_key
from pra.storage.base import Storage
from pra.watch.samples import unpack
from pra.watch.status.record import write_whole

MOST = 2000
"""Objects that are kept; the oldest go."""


class KeptDays:
    """A repository whose whole days of samples are read once. Everything else goes through."""

    def __init__(self, inner: Storage, folder: Path) -> None:
        self._inner, self._folder = inner, folder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def read(self, key: str, *, limit: int = 64 << 20) -> bytes:
        """As kept, if that is sound; otherwise as stored."""
        place = split_samples_key(key)
        if place is None or place.hour is not None:
            return self._inner.read(key, limit=limit)
        path = self._folder / hashlib.sha256(f"{self._inner.url} {key}".encode()).hexdigest()
        try:
            data = path.read_bytes()
            unpack(data)
        except (OSError, PraError):
            data = self._inner.read(key, limit=limit)
            self._keep(path, data)
        return data

    def _keep(self, path: Path, data: bytes) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(path, data, lasting=False)
        except (OSError, PraError):
            return  # no reason not to show figures

    def prune(self) -> None:
        """Let go of the oldest beyond `MOST`."""
        try:
            found = sorted(self._folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
            for path in found[MOST:]:
                path.unlink(missing_ok=True)
        except OSError:
            return
