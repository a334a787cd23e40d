"""What a repository can do, found by doing it: write, read back, list, delete, write conditionally, lock.

Scratch objects lie under ``_probe/``. What a trial leaves behind, locked for some seconds, the next removes.
"""

from __future__ import annotations

import hashlib
import secrets
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pra.disk import disk_errors
from pra.errors import ObjectExists, PraError
from pra.settings import Repository
from pra.setup.diagnosis import Diagnosis, Mend, ill, of_error, well
from pra.storage import open_storage
from pra.storage.base import Storage
from pra.watch.status.aim import size
from pra.watch.status.finding import HOST, Level

_BYTES = 256 << 10


def name_of(repository: str, question: str) -> str:
    """The name of a finding: ``repository.offsite.write``."""
    return f"repository.{repository}.{question}"


QUESTIONS = ("write", "delete", "conditional")


def covers(repository: Repository) -> tuple[str, ...]:
    """The findings there will be at least."""
    questions = (*QUESTIONS, "lock") if repository.object_lock else QUESTIONS
    return tuple(name_of(repository.name, question) for question in questions)


def folder_of(repository: Repository) -> Path | None:
    """The directory of a ``file://`` repository."""
    url = urlsplit(repository.url)
    return Path(unquote(url.path)) if url.scheme == "file" else None


def trial(repository: Repository, scratch: Path) -> list[Diagnosis]:
    """Try everything that backups rest upon. Whatever fails is a finding; nothing is raised.

    Args:
        scratch: A private folder for the file that is sent.
    """
    try:
        storage = open_storage(repository)
        return [*_objects(storage, scratch), *_capabilities(storage, repository)]
    except PraError as error:
        found = of_error(error, name_of(repository.name, "write"), HOST, *_mend(repository, error))
        return [found]


def _mend(repository: Repository, error: PraError) -> tuple[Mend, ...]:
    folder = folder_of(repository)
    if folder is not None and not folder.exists():
        return (Mend("shell", f"mkdir -m 700 {_quoted(folder)}"),)
    return ()


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _objects(storage: Storage, scratch: Path) -> list[Diagnosis]:
    """Write one object, read it back, find it in a listing, remove it.

    Raises:
        StorageError: It cannot be written or read.
    """
    key, data = f"_probe/setup-{secrets.token_hex(8)}", secrets.token_bytes(_BYTES)
    with disk_errors("try repository", scratch), tempfile.NamedTemporaryFile(dir=scratch) as file:
        file.write(data)
        file.flush()
        storage.put(key, Path(file.name), sha256=hashlib.sha256(data).hexdigest())
    try:
        same = storage.read(key) == data
        listed = any(found.key == key for found in storage.list("_probe/"))
    finally:
        deleted = _delete(storage, key)
    if not same or not listed:
        fact = "gives back other bytes than it was given" if not same else "does not list what it holds"
        hint = "Find out what stands between: a cache, a proxy, a gateway. Backups would be worthless."
        broken = ill(
            Level.CRITICAL,
            name_of(storage.name, "write"),
            HOST,
            f"repository {storage.name} {fact}",
            hint,
        )
        return [broken, deleted]
    free = storage.free_bytes()
    room = f", {size(free)} free" if free is not None else ""
    fact = f"repository {storage.name}: written, read back and listed{room}"
    return [well(name_of(storage.name, "write"), HOST, fact), deleted]


def _delete(storage: Storage, key: str) -> Diagnosis:
    name = name_of(storage.name, "delete")
    try:
        storage.delete(key)
        gone = storage.stat(key) is None
    except PraError as error:
        hint = f"{error.hint} " if error.hint else ""
        hint += (
            "Allow deletion, which only expiry uses; a bucket must have no default retention, since "
            "each object carries its own."
        )
        return ill(Level.CRITICAL, name, HOST, error.message, hint)
    if not gone:
        fact = f"repository {storage.name} still shows what was deleted"
        hint = "Without Object Lock a deleted object must be gone: retention could free no space."
        return ill(Level.CRITICAL, name, HOST, fact, hint)
    return well(name, HOST, f"repository {storage.name}: deletion works")


def _capabilities(storage: Storage, repository: Repository) -> list[Diagnosis]:
    """Conditional write, as evidence and leases need it; Object Lock where it was asked for."""
    name = name_of(storage.name, "conditional")
    try:
        able = storage.capabilities()
        twice = _created_twice(storage) if able.conditional_write else False
    except PraError as error:
        return [of_error(error, name, HOST)]
    found = []
    if able.conditional_write and not twice:
        found.append(well(name, HOST, f"repository {storage.name}: of two writers one wins"))
    else:
        fact = f"repository {storage.name} ignores conditional writes: of two writers both win"
        hint = (
            "List a repository that honours If-None-Match first: it numbers the evidence. Alone, this one is "
            "used with care: look, write, read back."
        )
        found.append(ill(Level.WARNING, name, HOST, fact, hint))
    if repository.object_lock:
        found.append(_lock(storage.name, held=able.object_lock))
    return found


def _created_twice(storage: Storage) -> bool:
    """Whether a second writer gets through where a first one is."""
    key = f"_probe/setup-{secrets.token_hex(8)}"
    storage.create(key, b"first")
    try:
        storage.create(key, b"second")
    except ObjectExists:
        return False
    finally:
        storage.delete(key)
    return True


def _lock(repository: str, *, held: bool) -> Diagnosis:
    name = name_of(repository, "lock")
    if held:
        return well(name, HOST, f"repository {repository}: a locked object cannot be deleted")
    fact = f"repository {repository} does not lock: an object under retention was deleted"
    hint = (
        "Make a bucket with Object Lock (which switches versions on) and no default retention, or take "
        "object_lock away."
    )
    mend = Mend("pra.toml", f"[repositories.{repository}]\nobject_lock = false")
    return ill(Level.CRITICAL, name, HOST, fact, hint, mend)


def beside(repository: Repository, data: Path | None) -> list[Diagnosis]:
    """A repository on the disk of the protected data goes with them; said where it can be seen from here.

    Args:
        data: The server's data directory, where it may be this machine's.
    """
    folder = folder_of(repository)
    try:
        if folder is None or data is None or folder.stat().st_dev != data.stat().st_dev:
            return []
    except OSError:
        return []  # another machine's, or closed to us
    fact = f"repository {repository.name} lies on the disk of the protected server's data"
    hint = (
        "What takes that disk takes both: move the repository to another disk, and have one on another site."
    )
    mend = Mend("pra.toml", f'[repositories.{repository.name}]\nurl = "file:///MOUNT-OF-ANOTHER-DISK/pra"')
    return [ill(Level.WARNING, name_of(repository.name, "disk"), HOST, fact, hint, mend)]


def places(repositories: Sequence[Repository]) -> int:
    """How many different disks or services they lie on: two folders of one disk are one place."""
    found: set[object] = set()
    for repository in repositories:
        folder = folder_of(repository)
        if folder is None:
            found.add(repository.endpoint or "aws")
            continue
        try:
            found.add(folder.stat().st_dev)
        except OSError:
            found.add(str(folder))
    return len(found)
