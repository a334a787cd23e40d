"""What the local disk says when it fails, in our words: the state directory is no repository."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pra.errors import PraError, SpaceError, StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT)


def explain_disk(error: OSError, op: str, folder: Path) -> PraError:
    """A full disk is a SpaceError, anything else a StorageError that no retry helps."""
    fact = f"{folder}: {(error.strerror or type(error).__name__).lower()}"
    if error.errno in _FULL:
        return SpaceError(
            fact, op=op, hint=f"Free space below {folder}, or set PRA_STATE_DIR to a larger disk."
        )
    return StorageError(fact, op=op, hint=f"Check that {folder} can be written.", transient=False)


@contextmanager
def disk_errors(op: str, folder: Path) -> Iterator[None]:
    """Turn what the operating system says about files below ``folder`` into our errors.

    Raises:
        SpaceError: The disk or the quota is full. StorageError: It cannot be written for another reason.
    """
    try:
        yield
    except OSError as error:
        raise explain_disk(error, op, folder) from None
