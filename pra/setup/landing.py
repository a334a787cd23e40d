"""``pra.toml``, ``.env`` and a suite put in place: tried first, at once, never over a file of the operator's.

Order: suite, ``.env``, ``pra.toml``. The last one is the commit: what died before has configured nothing, and
is done again by the next attempt.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pra.errors import UsageError
from pra.settings import Settings, load_settings
from pra.settings_source import read_dotenv
from pra.setup.document import dotenv_text
from pra.storage.files import sync

_OP = "write settings"


@dataclass(frozen=True)
class Landing:
    """What is to be written.

    Attributes:
        config: The settings' file, absolute.
        toml: Its whole text. before: What it holds now; None: it must not exist.
        secrets: Variables for ``.env``. files: Other files below the same folder, by relative name.
    """

    config: Path
    toml: str
    before: bytes | None = None
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: Mapping[str, str] = field(default_factory=dict)


def refuse_existing(config: Path) -> None:
    """Raises UsageError where there is a settings' file already."""
    if config.exists() or config.is_symlink():
        raise UsageError(
            f"{config} exists already, and is left as it is",
            op=_OP,
            hint="Test it with: pra doctor. Protect another database with: pra init --add-target. Start "
            "afresh in another directory, or with --config FILE.",
        )


def land(landing: Landing) -> Settings:
    """Write all of it, or nothing.

    Raises:
        SettingsError: The text cannot be used as settings; nothing was written.
        UsageError: A file is there that must not be, or changed meanwhile; or the folder cannot be written.
    """
    folder = landing.config.parent
    try:
        with _staged(landing) as staging:
            load_settings(staging / "pra.toml")
            _refuse_changed(landing)
            _place_files(landing, staging)
            if landing.secrets:
                (staging / ".env").replace(folder / ".env")
                sync(folder)
            _place_config(landing, staging)
        return load_settings(landing.config)
    except OSError as error:
        raise UsageError(
            f"cannot write into {folder}: {(error.strerror or type(error).__name__).lower()}",
            op=_OP,
            hint="Choose a directory of your own, or name another file with --config FILE.",
        ) from None


@contextmanager
def _staged(landing: Landing) -> Iterator[Path]:
    """A private folder beside the destination, with everything in it, on disk."""
    folder = landing.config.parent
    staging = folder / f".pra-init-{secrets.token_hex(4)}"
    staging.mkdir(mode=0o700)
    try:
        _write(staging / "pra.toml", landing.toml, 0o644)
        old = folder / ".env"
        read_dotenv(old)  # one that is open to others is refused here, as later
        before = old.read_bytes().decode("utf-8") if old.exists() else ""
        _write(staging / ".env", dotenv_text(before, landing.secrets), 0o600)
        _keep_owner(old, staging / ".env")
        for name, text in landing.files.items():
            _write(staging / "files" / name, text, 0o644)
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _keep_owner(old: Path, new: Path) -> None:
    """Root adds to the files of the account that takes backups, which must still read them afterwards."""
    if os.geteuid() == 0 and old.exists():
        found = old.stat()
        os.chown(new, found.st_uid, found.st_gid)


def _place_files(landing: Landing, staging: Path) -> None:
    for name in landing.files:
        destination = landing.config.parent / name
        if destination.exists() or destination.is_symlink():
            raise UsageError(
                f"{destination} exists already, and is left as it is",
                op=_OP,
                hint="Run the same command again: it takes the file that is there.",
            )
        destination.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        (staging / "files" / name).replace(destination)
        sync(destination.parent)


def _refuse_changed(landing: Landing) -> None:
    """Asked before anything is placed, too: ``.env`` must not speak of a target that pra.toml never gets."""
    if landing.before is not None and landing.config.read_bytes() != landing.before:
        raise UsageError(
            f"{landing.config} was changed meanwhile, and is left as it is",
            op=_OP,
            hint="Run the same command again.",
        )


def _place_config(landing: Landing, staging: Path) -> None:
    if landing.before is None:
        try:
            os.link(staging / "pra.toml", landing.config)  # unlike a rename, never over another file
        except FileExistsError:
            refuse_existing(landing.config)
    else:
        _refuse_changed(landing)
        shutil.copymode(landing.config, staging / "pra.toml")
        _keep_owner(landing.config, staging / "pra.toml")
        (staging / "pra.toml").replace(landing.config)
    sync(landing.config.parent)
