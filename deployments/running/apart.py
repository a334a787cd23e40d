"""Whether Prefect keeps its history on a server that it protects. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

from psycopg.conninfo import conninfo_to_dict

from pra.errors import SettingsError
from pra.settings import Settings
from pra.settings_fields import is_local

_DEFAULT_PORT = "5432"


def require_apart(settings: Settings) -> None:
    """Raises SettingsError where one disaster would take a database and the record of its backups.

    Names are compared, not looked up: what hides behind two names is not found out.
    """
    if settings.prefect.database is None:
        return
    url = urlsplit(settings.prefect.database.get_secret_value())
    if not url.scheme.startswith("postgresql"):
        return
    own = _place(url.hostname or "", str(url.port or _DEFAULT_PORT))
    for target in settings.targets.values():
        if own in _places(target.dsn):
            raise SettingsError(
                f"prefect.database lies on the server of target {target.name}",
                op="read settings",
                hint="Name another server, or leave it out: SQLite below the state directory does.",
            )


def _places(dsn: str) -> set[tuple[str, str]]:
    words = conninfo_to_dict(dsn)
    hosts = str(words.get("host") or words.get("hostaddr") or "").split(",")
    ports = str(words.get("port") or _DEFAULT_PORT).split(",")
    if len(ports) != len(hosts):
        ports = ports[:1] * len(hosts)
    return {_place(host, port) for host, port in zip(hosts, ports, strict=True)}


def _place(host: str, port: str) -> tuple[str, str]:
    return ("" if is_local(host) else host.lower(), port or _DEFAULT_PORT)
