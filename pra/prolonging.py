"""Locks that last as long as what depends on them.

A backup is locked until retention lets go of it. What it stands upon, its parents and the WAL that it names,
was there before, locked for reasons of its own: whoever has the repository's keys would only have to wait for
the first of those dates. So a backup is made to exist only where nothing that it needs is free before itself.
A manifest is locked last: where its date is late enough, so is that of all that belongs to its backup.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING

from pra.catchup import segment_there
from pra.layout import manifest_key, object_key
from pra.manifest import Manifest
from pra.storage.base import Storage

if TYPE_CHECKING:
    from pra.catalog import Catalog

_AT_ONCE = 8  # a large backup is thousands of objects, each a few small requests


def prolong_parents(catalog: Catalog, manifest: Manifest, until: datetime) -> None:
    """Let no lock on the backups that this one stands upon end before ``until``.

    Raises:
        StorageError: One could not be prolonged, or what it is on is not there.
        IntegrityError, SignatureError: The manifest of a parent cannot be read.
    """
    for parent in manifest.parents:
        key = manifest_key(catalog.target, parent)
        lasting = catalog.storage.retained_until(key)
        # A server may keep whole seconds.
        if lasting is None or lasting < until.replace(microsecond=0):
            prolong_contents(catalog.storage, catalog.load(parent), until)
            catalog.storage.prolong(key, until)


def prolong_contents(storage: Storage, manifest: Manifest, until: datetime) -> None:
    """Prolong the locks on a backup's objects and on the WAL that it names. Raises as `prolong_parents`."""
    keys = [object_key(manifest.target, manifest.backup_id, stored.name) for stored in manifest.objects]
    segments = manifest.physical.wal if manifest.physical is not None else ()
    found = (segment_there(storage, manifest, segment) for segment in segments)
    keys += [key for key in found if key is not None]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(lambda key: storage.prolong(key, until), keys):
            pass  # so that the first that failed is raised
