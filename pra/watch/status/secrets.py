"""What ends one day: keys that sign and decrypt, and TLS certificates on the way to others."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import struct
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

import pyrage
from cryptography import x509

from pra.errors import DecryptError, PraError
from pra.keys import IDENTITY_FILE, load_identities, load_keyring, load_signer
from pra.settings import Settings, Status, Target
from pra.timing import format_duration
from pra.watch.status.aim import Aim
from pra.watch.status.finding import HOST, Finding, Level

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
"""PostgreSQL's ``SSLRequest`` (protocol documentation, "Message Formats")."""
_SECONDS = 5.0


def keys(settings: Settings, now: datetime) -> list[Finding]:
    """Can this host sign, and decrypt where it is meant to; does a trusted key retire soon?"""
    try:
        load_signer(settings.signing, settings.state_dir)
        ring = load_keyring(settings.signing, settings.state_dir)
    except PraError as error:
        return [Finding("keys", HOST, Level.CRITICAL, error.message, hint=error.hint)]
    soon = [
        (key.retired_at, key.key_id)
        for key in ring
        if key.retired_at is not None and now < key.retired_at < now + settings.status.expiry
    ]
    if wrong := _identity(settings):
        return [wrong]
    if soon:
        moment, key_id = min(soon)
        fact = f"trusted key {key_id} retires in {format_duration((moment - now).total_seconds())}"
        hint = "Put the key that follows it under signing.trusted on every machine."
        return [Finding("keys", HOST, Level.WARNING, fact, hint=hint)]
    return [Finding("keys", HOST, Level.OK, "this host can sign and check signatures")]


def _identity(settings: Settings) -> Finding | None:
    """A host that only takes backups has no identity, and needs none; one that it has must fit."""
    recipients = settings.encryption.recipients
    path = settings.encryption.identity_file or settings.state_dir / "keys" / IDENTITY_FILE
    if not recipients or not path.exists():
        return None
    try:
        texts = load_identities(settings.encryption, settings.state_dir)
        own = {str(pyrage.x25519.Identity.from_str(text).to_public()) for text in texts}
    except DecryptError as error:
        return Finding("keys", HOST, Level.CRITICAL, error.message, hint=error.hint)
    except PraError as error:
        return Finding("keys", HOST, Level.CRITICAL, error.message, hint=error.hint)
    if own & set(recipients):
        return None
    fact = "no age identity here belongs to a configured recipient: new backups cannot be read here"
    return Finding("keys", HOST, Level.CRITICAL, fact, hint="Correct recipients under [encryption].")


# -- certificates --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where a certificate is shown. ``postgres``: after PostgreSQL's own greeting."""

    name: str
    host: str
    port: int
    postgres: bool = False


def places(settings: Settings, target: Target | None) -> list[Place]:
    """Those of a target (its server and its application), or of this host (its S3 endpoints)."""
    if target is None:
        urls = [(r.name, r.endpoint) for r in settings.repositories.values() if r.endpoint]
        return [place for name, url in urls if (place := _https(name, url))]
    found = [place for place in [_https("api", target.api.url if target.api else None)] if place]
    words = _server_words(target)
    host = words.get("host", "")
    if words.get("sslmode", "") in ("require", "verify-ca", "verify-full") and host and host[0] not in "/@":
        found.append(Place("server", host.split(",")[0], int(words.get("port", "5432").split(",")[0]), True))
    return found


def _server_words(target: Target) -> dict[str, str]:
    from psycopg.conninfo import conninfo_to_dict

    return {key: str(value) for key, value in conninfo_to_dict(target.dsn).items()}


def _https(name: str, url: str | None) -> Place | None:
    parts = urlsplit(url or "")
    if parts.scheme != "https" or not parts.hostname:
        return None
    return Place(name, parts.hostname, parts.port or 443)


def certificate(status: Status, target: str, place: Place, now: datetime) -> list[Finding]:
    """Until when the certificate shown there is valid."""
    name = f"certificate.{place.name}"
    try:
        until = read_end(place)
    except (OSError, ValueError) as error:
        fact = f"the certificate of {place.host} cannot be read: {type(error).__name__}"
        return [Finding(name, target, Level.UNKNOWN, fact, hint="Check that it answers with TLS.")]
    left = (until - now).total_seconds()
    if left <= 0:
        fact = f"the certificate of {place.host} ended on {until:%Y-%m-%d}"
        return [Finding(name, target, Level.CRITICAL, fact, left, "s", hint="Renew it now.")]
    fact = f"the certificate of {place.host} ends on {until:%Y-%m-%d}"
    limit = status.expiry.total_seconds()
    level = Level.CRITICAL if left < limit / 4 else Level.WARNING if left < limit else Level.OK
    hint = "Renew it." if level is not Level.OK else ""
    return [Finding(name, target, level, fact, round(left), "s", hint=hint)]


def read_end(place: Place) -> datetime:
    """When the certificate ends that is shown there; whether it is trusted is the connection's business.

    Raises:
        OSError: Nobody answers, or not with TLS. ValueError: It cannot be parsed.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((place.host, place.port), _SECONDS) as raw:
        raw.settimeout(_SECONDS)
        if place.postgres:
            raw.sendall(_SSL_REQUEST)
            if raw.recv(1) != b"S":
                raise ConnectionError("the server offers no TLS")
        name = None if _is_address(place.host) else place.host
        with context.wrap_socket(raw, server_hostname=name) as wrapped:
            shown = wrapped.getpeercert(binary_form=True)
    if shown is None:
        raise ConnectionError("no certificate was shown")
    return x509.load_der_x509_certificate(shown).not_valid_after_utc


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def of_target(aim: Aim) -> list[Finding]:
    return [
        finding
        for place in places(aim.context.settings, aim.context.target)
        for finding in certificate(aim.status, aim.name, place, aim.now)
    ]
