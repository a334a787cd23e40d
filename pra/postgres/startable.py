"""Leave a restored data directory that starts by itself, as its own server and nobody's copy.

The configuration is written anew, from what the backup says the server was told: on Debian the files lie
outside the data directory, and files alone could name another directory, an archive, or a primary. What would
keep the server from starting on this machine is left out and said.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from pra.engines.configuration import Configuration, Setting
from pra.errors import PraError, ToolError
from pra.postgres.recovery_settings import configuration as as_file
from pra.postgres.tools import Tools
from pra.proc import run

_OP = "configure restored server"
_WRITTEN = ("configuration file", "command line", "environment variable")
"""Sources that are the server's own; databases and roles keep theirs in the catalogue."""
_LEFT_OUT = re.compile(
    r"archive_.*|restore_command|recovery_.*|primary_.*|synchronous_standby_names|synchronized_standby_slots"
    r"|data_directory|config_file|hba_file|ident_file|external_pid_file|promote_trigger_file"
    r"|sync_replication_slots|max_logical_replication_workers|cluster_name|event_source"
)
_PRELOADED = ("shared_preload_libraries", "session_preload_libraries", "local_preload_libraries")
_TLS_FILES = ("ssl_cert_file", "ssl_key_file", "ssl_ca_file", "ssl_crl_file", "ssl_dh_params_file")
ALONE = {
    "archive_mode": "off",
    "archive_command": "",
    "restore_command": "",
    "primary_conninfo": "",
    "primary_slot_name": "",
    "synchronous_standby_names": "",
    "max_logical_replication_workers": "0",
}
"""What makes it nobody's copy. Whoever puts it into service takes these lines out."""
_HBA = """\
local all all peer
host all all 127.0.0.1/32 scram-sha-256
host all all ::1/128 scram-sha-256
"""


@dataclass(frozen=True)
class Machine:
    """What a setting must get along with here.

    Attributes:
        memory: Bytes. has_library, has_locale, is_ours: Whether a library, a locale, an address is there.
        can_use: Whether the server's account can use the file or folder of this path.
    """

    memory: int
    has_library: Callable[[str], bool]
    has_locale: Callable[[str], bool]
    is_ours: Callable[[str], bool]
    can_use: Callable[[str], bool]


def make_startable(data: Path, *, configuration: Path | None, tools: Tools) -> tuple[str, ...]:
    """Write the configuration of a promoted, stopped data directory: ``pg_ctl -D DATA start`` starts it.

    Args:
        configuration: The backup's configuration document, where it has one.

    Returns:
        What was changed or could not be kept, one sentence each.
    """
    known = None
    notes = []
    if configuration is not None:
        known = Configuration.from_json(json.loads(configuration.read_text()))
    settings, left = chosen(known.settings if known else (), machine(data, tools))
    notes += left
    files = _Files(data)
    _set_aside(files)
    files.write("postgresql.conf", _text(settings, known))
    files.write("postgresql.auto.conf", "")
    notes += _write_access(files, known)
    for slot in sorted((data / "pg_replslot").glob("*")):
        shutil.rmtree(slot)
        notes.append(f"Replication slot {slot.name} was removed.")
    for name in ("recovery.signal", "standby.signal", "postmaster.opts", "backup_manifest"):
        (data / name).unlink(missing_ok=True)
    if (fault := _refused(data, tools)) is not None:
        files.write("postgresql.conf", _text({}, known))
        notes.append(
            f"PostgreSQL refused the settings of before ({fault}); they are in the backup, not in use."
        )
    notes.append(
        "Archiving, replication and logical replication workers are off until it is put into service."
    )
    return tuple(notes)


def chosen(settings: Sequence[Setting], here: Machine) -> tuple[dict[str, str], list[str]]:
    """Which settings come along, and a sentence for each that cannot. Pure but for what it asks ``here``."""
    kept = {s.name: s.value for s in settings if s.source in _WRITTEN and not _LEFT_OUT.fullmatch(s.name)}
    notes = []
    for name in _PRELOADED:
        libraries = _listed(kept.get(name, ""))
        if absent := [library for library in libraries if not here.has_library(library)]:
            kept[name] = ", ".join(library for library in libraries if library not in absent)
            notes.append(f"{name}: {', '.join(absent)} is not installed here.")
    for name in [name for name in kept if name.startswith("lc_") and not here.has_locale(kept[name])]:
        notes.append(f"{name}: locale {kept.pop(name)} is not installed here.")
    if kept.get("ssl") == "on" and not all(here.can_use(kept[n]) for n in _TLS_FILES if kept.get(n)):
        for name in ("ssl", *_TLS_FILES):
            kept.pop(name, None)
        notes.append("ssl is off: certificate or key is not here.")
    for name in ("unix_socket_directories", "log_directory"):
        places = [place for place in _listed(kept.get(name, "")) if place.startswith(("/", "@"))]
        if places and not all(place.startswith("@") or here.can_use(place) for place in places):
            notes.append(f"{name}: {kept.pop(name)} cannot be used here.")
    addresses = _listed(kept.get("listen_addresses", ""))
    if foreign := [address for address in addresses if not here.is_ours(address)]:
        kept["listen_addresses"] = ", ".join(a for a in addresses if a not in foreign) or "localhost"
        notes.append(f"listen_addresses: {', '.join(foreign)} is not an address of this machine.")
    notes += _fit_memory(kept, here.memory)
    return kept, notes


def _fit_memory(kept: dict[str, str], memory: int) -> Iterator[str]:
    if kept.get("huge_pages") == "on":
        kept["huge_pages"] = "try"
        yield "huge_pages: try instead of on."
    size = _bytes(kept.get("shared_buffers", ""))
    if memory and size > memory * 6 // 10:
        kept["shared_buffers"] = f"{max(128, (memory >> 20) // 4)}MB"
        yield f"shared_buffers: {kept['shared_buffers']}, as this machine has less memory."


def _bytes(value: str) -> int:
    match = re.fullmatch(r"(\d+)\s*(kB|MB|GB|TB)", value)
    return int(match[1]) << {"kB": 10, "MB": 20, "GB": 30, "TB": 40}[match[2]] if match else 0


def _listed(value: str) -> list[str]:
    return [word.strip().strip('"') for word in value.split(",") if word.strip().strip('"')]


def _text(settings: dict[str, str], known: Configuration | None) -> str:
    head = "# Written at the restore, from what the backup knew of the server's settings.\n"
    if known is None:
        head += "# The backup holds no configuration: PostgreSQL's defaults are in force.\n"
    alone = "\n# A restored server is nobody's copy: take these out when it is put into service.\n"
    return f"{head}{as_file(settings)}{alone}{as_file(ALONE)}"


@dataclass(frozen=True)
class _Files:
    """Files of a data directory, owned by its owner."""

    data: Path

    def write(self, name: str, text: str) -> None:
        path = self.data / name
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(text)
        self.own(path)

    def own(self, path: Path) -> None:
        if os.geteuid() == 0:
            owner = self.data.stat()
            os.chown(path, owner.st_uid, owner.st_gid)


def _set_aside(files: _Files) -> None:
    """What was restored stays to be looked at, under names that PostgreSQL does not read.

    What lies there already was left by an earlier restore, and the backup brought it along.
    """
    for name in ("postgresql.conf", "postgresql.auto.conf"):
        with suppress(FileNotFoundError):  # on Debian outside; the other was set aside before the start
            (files.data / name).replace(files.data / f"{name}.restored")


def _write_access(files: _Files, known: Configuration | None) -> Iterator[str]:
    """``pg_hba.conf`` and ``pg_ident.conf``, where the data directory has none of its own."""
    if not (files.data / "pg_hba.conf").exists():
        rules = "".join(f"{rule.line()}\n" for rule in known.hba) if known else ""
        text = rules or (known.file("pg_hba.conf") if known else None)
        files.write("pg_hba.conf", text or _HBA)
        if not text:
            yield "pg_hba.conf is not in the backup: only this machine is let in."
    if not (files.data / "pg_ident.conf").exists():
        files.write("pg_ident.conf", (known.file("pg_ident.conf") if known else None) or "")


def _refused(data: Path, tools: Tools) -> str | None:
    """What PostgreSQL says against the configuration; it reads it as at a start, and starts nothing."""
    try:
        run(
            (tools.path("postgres"), "-C", "port", "-D", str(data)),
            op=_OP,
            timeout=30,
            env={**tools.env(), "LC_ALL": "C"},
        )
    except ToolError as error:
        return error.message
    return None


def machine(data: Path, tools: Tools) -> Machine:
    """This machine, as the server that owns ``data`` meets it."""
    owner = data.stat()
    locales = _locales()
    library = _library_folder(tools)

    def has_library(name: str) -> bool:
        path = Path(name.replace("$libdir", str(library)))
        return any((library / path).with_suffix(suffix).exists() for suffix in ("", ".so", ".dylib"))

    def can_use(path: str) -> bool:
        # Relative ones lie in the data directory. Asked as root, os.access would say yes to all.
        place = data / path
        try:
            info = place.stat()
        except OSError:
            return False
        bits = info.st_mode >> (6 if info.st_uid == owner.st_uid else 3 if info.st_gid == owner.st_gid else 0)
        wanted = 0o3 if place.is_dir() else 0o4
        return bits & wanted == wanted

    return Machine(
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        has_library=has_library,
        has_locale=lambda name: name in ("", "C", "POSIX") or _plain(name) in locales,
        is_ours=_is_ours,
        can_use=can_use,
    )


def _locales() -> frozenset[str]:
    try:
        said = run(("locale", "-a"), op=_OP, timeout=10).stdout
    except PraError:
        return frozenset({"c.utf8"})  # no such program: what every system has
    return frozenset(map(_plain, said.split()))


def _plain(locale: str) -> str:
    return locale.lower().replace("utf-8", "utf8")


def _library_folder(tools: Tools) -> Path:
    said = run((tools.path("pg_config"), "--pkglibdir"), op=_OP, timeout=10, env=tools.env()).stdout
    return Path(said.strip())


def _is_ours(address: str) -> bool:
    if address in ("*", "localhost", "0.0.0.0", "::"):
        return True
    try:
        found = socket.getaddrinfo(address, 0, type=socket.SOCK_STREAM)
    except OSError:
        return False
    for family, kind, protocol, _, place in found:
        with closing(socket.socket(family, kind, protocol)) as probe:
            try:
                probe.bind(place)
            except OSError:
                continue
            return True
    return False
