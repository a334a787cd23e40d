"""Stored WAL back into plaintext, compared with what its key promises."""

from __future__ import annotations

from collections.abc import Sequence

from pra.storage.base import Storage
from pra.wal.archive import ArchivedPartial, ArchivedSegment


def read_segment(
    storage: Storage, entry: ArchivedSegment | ArchivedPartial, identities: Sequence[str]
) -> bytes:
    """The plaintext of a segment, or of the beginning of one. In memory: a segment is 16 MiB by default.

    A whole segment is compared with the SHA-256 in its key; a partial is covered by age and zstd alone.

    Raises:
        IntegrityError: The bytes are not those that were archived; names the segment.
        DecryptError: They are, and no identity opens them.
        StorageError: The repository failed.
    """
    raise NotImplementedError
