"""What this machine needs to take and prove backups: libraries, programs, keys, disks, account, channels."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pyrage
import zstandard

from pra.errors import PraError
from pra.keys import IDENTITY_FILE, RETIRED, SIGNING_FILE
from pra.model import Engine
from pra.postgres.sandbox import sandbox_account
from pra.postgres.tools import SERVER, find_tools, missing_libraries
from pra.proc import can_isolate
from pra.settings import Settings, Target
from pra.setup.diagnosis import Diagnosis, Mend, ill, of_error, well
from pra.setup.server import ServerReport
from pra.watch.routing import Policy
from pra.watch.status import disk, secrets
from pra.watch.status.aim import size
from pra.watch.status.finding import HOST, Finding, Level

_KEY_MODES = (0o600, 0o400)
_SPARE = 64 << 20
_SPOOL_MOST = 8 << 30
_NEEDED = ("pyrage", "zstandard", "psycopg", "great-expectations")


def libraries() -> list[Diagnosis]:
    """Compress, encrypt, decrypt and unpack a few bytes with the libraries that backups use."""
    data = os.urandom(4096)
    try:
        identity = pyrage.x25519.Identity.generate()
        sealed = pyrage.encrypt(zstandard.compress(data), [identity.to_public()])
        same = zstandard.decompress(pyrage.decrypt(sealed, [identity])) == data
        named = ", ".join(f"{name} {version(name)}" for name in _NEEDED)
    except (pyrage.DecryptError, zstandard.ZstdError, PackageNotFoundError) as error:
        same, named = False, type(error).__name__
    if same:
        python = f"Python {sys.version_info[0]}.{sys.version_info[1]}"
        return [well("libraries", HOST, f"{python} with {named}: age and zstd work")]
    hint = "Make the virtual environment anew."
    fact = f"age and zstd do not work here: {named}"
    return [ill(Level.CRITICAL, "libraries", HOST, fact, hint, Mend("shell", "make venv"))]


# -- programs ------------------------------------------------------------------------------------


def programs(bindir: str | None, engine: Engine, target: str, major: int) -> list[Diagnosis]:
    """PostgreSQL's own programs of the server's major: to take a backup, and to run a sandbox."""
    try:
        tools = find_tools(major, bindir, needs=needed_programs(engine, major))
        lacking = missing_libraries(tools)
    except PraError as error:
        return [of_error(error, "programs", target, *_install(major))]
    if lacking:
        fact = f"PostgreSQL {tools.version} in {tools.bindir} lacks libraries: {', '.join(lacking)}"
        hint = "Install the packages that hold them, or set postgres.bindir to a build that has them."
        return [ill(Level.CRITICAL, "programs", target, fact, hint)]
    return [well("programs", target, f"PostgreSQL {tools.version} in {tools.bindir}")]


def needed_programs(engine: Engine, major: int) -> tuple[str, ...]:
    if engine == "logical":
        return SERVER
    combine = ("pg_combinebackup",) if major >= 17 else ()
    return (*SERVER, "pg_basebackup", "pg_receivewal", *combine)


def _install(major: int) -> tuple[Mend, ...]:
    if Path("/etc/debian_version").exists():
        return (Mend("shell", f"apt-get install postgresql-{major}"),)
    if shutil.which("dnf"):
        return (Mend("shell", f"dnf install postgresql{major}-server"),)
    return ()


# -- keys ----------------------------------------------------------------------------------------


def keys(settings: Settings, now: datetime) -> list[Diagnosis]:
    """Signing key and age identity: there, private, readable, and the ones that the settings mean."""
    opened = [path for path in key_files(settings) if _mode(path) not in _KEY_MODES]
    if opened:
        named = " ".join(shlex.quote(str(path)) for path in opened)
        fact = f"{named} can be read by others, or not by us"
        hint = "Make it yours alone; where others could read it, replace the keys: pra key rotate"
        return [ill(Level.CRITICAL, "keys", HOST, fact, hint, Mend("shell", f"chmod 600 {named}"))]
    found = [_as_diagnosis(finding) for finding in secrets.keys(settings, now)]
    recipients = settings.encryption.recipients
    if recipients is None:
        fact = "no encryption is configured: a backup is refused"
        hint = "Make keys, and put the recipient that is printed into pra.toml."
        mend = (Mend("shell", "pra key make"), Mend("pra.toml", '[encryption]\nrecipients = ["age1…"]'))
        found.append(ill(Level.CRITICAL, "encryption", HOST, fact, hint, *mend))
    elif not recipients:
        fact = "recipients is empty: backups are stored as they are, for everybody to read"
        hint = "Put the recipient of your identity there, unless that is meant."
        found.append(ill(Level.WARNING, "encryption", HOST, fact, hint, Mend("shell", "pra key make")))
    else:
        found.append(_encryption(settings))
    return found


def _encryption(settings: Settings) -> Diagnosis:
    identity = _identity_file(settings)
    if identity.exists():
        return well("encryption", HOST, f"backups are encrypted; {identity} can be read")
    fact = f"no age identity at {identity}: this machine can neither prove nor restore a backup"
    hint = "Right where backups are only taken; elsewhere put it there from the recovery sheet."
    return ill(Level.WARNING, "encryption", HOST, fact, hint)


def _identity_file(settings: Settings) -> Path:
    return settings.encryption.identity_file or settings.state_dir / "keys" / IDENTITY_FILE


def key_files(settings: Settings) -> list[Path]:
    """Every key file that is there."""
    signing = settings.signing.key_file or settings.state_dir / "keys" / SIGNING_FILE
    identity = _identity_file(settings)
    retired = sorted({*(signing.parent / RETIRED).glob("*"), *(identity.parent / RETIRED).glob("*")})
    return [path for path in (identity, signing, *retired) if path.is_file()]


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def _as_diagnosis(finding: Finding) -> Diagnosis:
    make = (Mend("shell", "pra key make"),) if "no signing key" in finding.message else ()
    return Diagnosis(
        finding.name, finding.target, finding.level, finding.message, hint=finding.hint, mend=make
    )


# -- room ----------------------------------------------------------------------------------------


def room(settings: Settings, target: Target, report: ServerReport) -> list[Diagnosis]:
    """Disk for the spool while a backup is taken, and for the sandbox while one is proven."""
    whole = report.facts.database_bytes if target.engine == "logical" else report.replication.server_bytes
    spool = _spool_bytes(target, report, whole)
    sandbox = int(whole * 1.5) + _SPARE
    root = disk.sandboxes(settings)
    return [
        _space("disk.spool", target.name, settings.state_dir, spool, "a backup's spool", "PRA_STATE_DIR"),
        _space("disk.sandbox", target.name, root, sandbox, "a verification's sandbox", "[sandbox] dir"),
    ]


def _spool_bytes(target: Target, report: ServerReport, whole: int) -> int:
    """As `pra.procedures.preflight` reckons without an earlier backup."""
    if target.engine == "logical":
        return int(whole * (1.4 if report.major < 16 else 1.0)) + _SPARE
    clear = whole if report.replication.tablespaces else 0
    return min(whole, _SPOOL_MOST) // 2 + clear + _SPARE


def _space(name: str, target: str, folder: Path, needed: int, what: str, setting: str) -> Diagnosis:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        fact = f"{folder} cannot be looked at: {(error.strerror or type(error).__name__).lower()}"
        return ill(Level.CRITICAL, name, target, fact, f"Make it, or set another one: {setting}")
    if free < needed:
        fact = f"{size(free)} free below {folder}, where {what} may take {size(needed)}"
        hint = f"Free space there, or name a folder on a larger disk: {setting}"
        return ill(Level.CRITICAL, name, target, fact, hint)
    return well(name, target, f"{size(free)} free for {what}, which may take {size(needed)}")


# -- account, channels ---------------------------------------------------------------------------


def sandbox(settings: Settings) -> list[Diagnosis]:
    """Who runs throwaway servers, and whether they are cut off from the network."""
    try:
        account = sandbox_account(settings.sandbox.account)
    except PraError as error:
        name = settings.sandbox.account or "pra-sandbox"
        mend = Mend("shell", f"useradd --system --shell /usr/sbin/nologin {name}")
        return [of_error(error, "sandbox", HOST, mend)]
    who = f"account {account.name}" if account else "this account"
    apart = (
        "without network" if can_isolate() else "with nothing that dials out (the kernel gives no namespace)"
    )
    return [well("sandbox", HOST, f"sandboxes run as {who}, {apart}")]


def channels(settings: Settings) -> list[Diagnosis]:
    """Whether anybody would be told. No message is sent."""
    names = Policy.of(settings.alerts).channels
    if names:
        return [well("alerts", HOST, f"alerts go to {', '.join(names)}; try it with: pra doctor --send")]
    fact = "no alert channel is configured: nobody is told when a backup or a proof fails"
    hint = "Set one of the variables in .env; a Slack webhook is the quickest."
    mend = Mend(".env", "PRA_ALERTS__SLACK_WEBHOOK='https://hooks.slack.com/services/…'")
    return [ill(Level.WARNING, "alerts", HOST, fact, hint, mend)]


def configuration(settings: Settings, targets: Sequence[Target]) -> list[Diagnosis]:
    """What the settings themselves leave unprotected."""
    found = []
    for target in targets:
        if len(target.repositories) == 1:
            fact = f"one repository only ({target.repositories[0]}): what takes that takes every backup"
            hint = "Add one elsewhere, at best with Object Lock, and list it for the target."
            mend = Mend("pra.toml", '[repositories.offsite]\nurl = "s3://BUCKET/PREFIX"\nobject_lock = true')
            found.append(ill(Level.WARNING, "repositories", target.name, fact, hint, mend))
        else:
            count = len(target.repositories)
            found.append(well("repositories", target.name, f"{count} repositories hold each backup"))
    return found
