"""The recovery sheet: on paper, everything needed to restore on an empty host without this software."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pra.timing import to_iso


@dataclass(frozen=True)
class RepositoryAccess:
    """How to reach one repository. Its secret access key is never on the sheet: it is written in by hand."""

    name: str
    url: str
    endpoint: str | None = None
    region: str | None = None
    access_key_id: str | None = None


_LAYOUT = ("TARGET/backups/ID/manifest.json", "TARGET/backups/ID/objects/", "TARGET/wal/SYSTEM-ID/TIMELINE/")
# One command a line, run where objects/ was copied to. Tested against the real tools.
BY_HAND = (
    "mkdir -m 700 dump",
    'for v in dump-*.tar.zst.age; do age -d -i identity.txt "$v" | zstd -d | tar -x -C dump; done',
    "age -d -i identity.txt globals.sql.zst.age | zstd -d > globals.sql",
    "psql -d postgres -f globals.sql",
    "pg_restore --create --exit-on-error -j 4 -d postgres dump",
    "vacuumdb --analyze-only -d DATABASE",
)

BY_HAND_BASE = (
    "set -- FULL-ID INCREMENTAL-ID ...",
    "for id; do",
    '  mkdir -m 700 "$id"',
    '  for volume in backups/"$id"/objects/base-*.tar.zst.age; do',
    '    age -d -i identity.txt "$volume" | zstd -d | tar -x -C "$id"',
    "  done",
    "done",
    'if [ $# -gt 1 ]; then pg_combinebackup -o data "$@"; else mv "$1" data; fi',
    "mkdir -m 700 segments",
    "for w in wal/*/*/partial/*.zst.age wal/*/*/*.zst.age; do",
    '  [ -e "$w" ] || continue',
    "  name=${w##*/}",
    '  age -d -i identity.txt "$w" | zstd -d > segments/"${name%%-*}"',
    '  truncate -s 16M segments/"${name%%-*}"',
    "done",
    "for h in wal/*/*/*.history; do",
    '  [ -e "$h" ] && name=${h##*/} && cp "$h" segments/"${name%%-*}.history"',
    "done",
    "cat > data/postgresql.auto.conf <<END",
    "archive_mode = off",
    "primary_conninfo = ''",
    """restore_command = 'cp "$PWD/segments/%f" "%p"'""",
    "END",
    "touch data/recovery.signal",
    "pg_ctl -D data -l server.log -w -t 86400 start",
)


def key_sheet(
    *,
    identities: Sequence[str],
    public_keys: Sequence[str],
    repositories: Sequence[RepositoryAccess],
    targets: Sequence[str],
    made_at: datetime,
    translate: Callable[[str], str] = str,
) -> str:
    """Render the sheet as plain text, 78 columns except for keys.

    Args:
        identities: age identities, newest first. They are printed: the sheet is a secret.
        public_keys: Trusted signing keys, ``ed25519:<base64>``.
        translate: Looks one English sentence up in the catalogue of messages.
    """
    _ = translate
    lines = [
        _("RECOVERY SHEET"),
        "=" * 78,
        _("Made on {moment}.").format(moment=to_iso(made_at)),
        _("Whoever holds this sheet can read every backup. Keep it in a safe, on paper, off this site."),
        _("Print it again after every rotation of keys, and keep the old sheet as long as its backups."),
        "",
        *_section(_("Protected databases"), targets),
    ]
    for repository in repositories:
        lines += _section(_("Repository {name}").format(name=repository.name), _access(repository, _))
    lines += _section(_("age identities, newest first (save them as identity.txt, mode 0600)"), identities)
    lines += _section(_("Signing keys that are trusted (public)"), public_keys)
    lines += [
        *_section(_("Layout of a repository"), _LAYOUT),
        _("A backup counts only if its manifest.json is there; the newest ID sorts last."),
        _("The manifest names every object with its size and SHA-256: compare them first (sha256sum)."),
        "",
        *_section(_("Restoring by hand (needs age, zstd, tar and PostgreSQL of the same major)"), BY_HAND),
        _("psql may say that the role postgres exists already: that is no error."),
        _("Passwords of roles may have to be set anew. Without .age in a name, leave age out."),
        "",
        *_section(_("A base backup by hand, where backups/ and wal/ of the target lie"), BY_HAND_BASE),
        _("A manifest names its parents: first the full backup, then each incremental one in order."),
        _("A tablespace is in tblspc-OID-*: unpack it into a folder, and name that in data/tablespace_map."),
        "",
        *_section(
            _("Restoring with this software"),
            [
                _("Install it and write pra.toml: the repositories above, and the signing keys above under"),
                _("[signing] as trusted = [...]. Then:"),
                "pra key make",
                "install -m 700 -d ${PRA_STATE_DIR:?}/keys/retired",
                "install -m 600 identity.txt ${PRA_STATE_DIR:?}/keys/retired/identity-sheet.txt",
                "pra restore TARGET --into DSN",
            ],
        ),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [title, "-" * min(len(title), 78), *(f"  {line}" for line in lines or ["-"]), ""]


def _access(repository: RepositoryAccess, _: Callable[[str], str]) -> list[str]:
    lines = [f"URL: {repository.url}"]
    if not repository.url.startswith("s3://"):
        return lines
    if repository.endpoint:
        lines.append(_("Endpoint: {endpoint}").format(endpoint=repository.endpoint))
    if repository.region:
        lines.append(_("Region: {region}").format(region=repository.region))
    lines.append(_("Access key id: {key}").format(key=repository.access_key_id or "_" * 32))
    lines.append(_("Secret access key (write it in by hand): {blank}").format(blank="_" * 32))
    return lines
