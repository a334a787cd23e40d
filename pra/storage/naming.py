"""What a key may look like. One rule for every repository, so that a backup can be copied anywhere."""

from __future__ import annotations

import re

from pra.errors import StorageError

# No leading dot: the dot files of a repository on disk are its own (temporary files, lock).
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+=@-]{0,199}")
_MAX_KEY = 900  # S3 allows 1024 bytes, the repository's own prefix included


def check_key(key: str) -> str:
    """Return ``key`` if it names an object below a root.

    Raises:
        StorageError: It is empty, absolute, too long, or has a segment that could leave the root.
    """
    if len(key) <= _MAX_KEY and all(_SEGMENT.fullmatch(part) for part in key.split("/")):
        return key
    raise StorageError(
        f"not an object key: {key[:120]!r}",
        op="check key",
        hint="Keys are relative paths of letters, digits and . _ + = @ -; no segment starts with a dot.",
        transient=False,
    )


def check_prefix(prefix: str) -> str:
    """Return ``prefix`` if it is empty or the beginning of a key; a trailing slash is allowed.

    Raises:
        StorageError: It could leave the root.
    """
    if prefix:
        check_key(prefix.removesuffix("/"))
    return prefix
