"""One stored object read again, and compared with whatever is known of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pra.errors import DecryptError, IntegrityError, ObjectMissing
from pra.scrub.holdings import Item
from pra.scrub.state import ScrubState
from pra.storage import age
from pra.storage.base import Storage
from pra.storage.pipe import verify_stored
from pra.wal.reading import read_segment

_LARGEST = 2 << 30
_OP = "scrub"


def reread(storage: Storage, item: Item, identities: Sequence[str], state: ScrubState) -> str:
    """Read it to the end.

    A backup's object: size and SHA-256 of the stored bytes against the signed manifest. A WAL segment: its
    contents against the SHA-256 in its key, for which it must be decrypted; without an identity, its stored
    bytes against the hash that an earlier scrub noted, and the form of an age file.

    Returns:
        The SHA-256 to note where only that could be compared; empty where all was.

    Raises:
        IntegrityError: It is not what was published. ObjectMissing: It is gone.
        DecryptError: There are identities, and none opens it.
        StorageError: The repository failed.
    """
    if item.stored is not None:
        with storage.open(item.key) as source:
            verify_stored(source, item.stored)
        return ""
    assert item.segment is not None
    if identities or not item.segment.encrypted:
        try:
            read_segment(storage, item.segment, identities)
        except IntegrityError as error:
            if not isinstance(error, DecryptError) and storage.stat(item.key) is None:
                raise ObjectMissing(f"{item.key} is gone", op=_OP) from None
            raise
        return ""
    return _by_hash(storage, item, state)


def _by_hash(storage: Storage, item: Item, state: ScrubState) -> str:
    data = storage.read(item.key, limit=_LARGEST)
    assert item.segment is not None
    where = f"{item.segment.name} in {storage.name}"
    if len(data) != item.bytes or not data.startswith(age.MAGIC):
        raise IntegrityError(f"{where} is not the age file that was listed", op=_OP)
    digest = hashlib.sha256(data).hexdigest()
    if state.same_hash(item.key, digest) is False:
        raise IntegrityError(f"{where} has changed since it was first read", op=_OP)
    return digest
