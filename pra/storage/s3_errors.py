"""What an S3 server or the way to it can fail with, said in our words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.exceptions import HTTPError

from pra.errors import ObjectMissing, RepositoryFull, StorageError

MISSING = {"NoSuchKey", "NoSuchVersion"}
UNMET = {"PreconditionFailed", "412"}
_CREDENTIALS = {
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "TokenRefreshRequired",
    "InvalidSecurity", "AuthorizationHeaderMalformed",
}  # fmt: skip
_DENIED = {"AccessDenied", "Forbidden", "403", "AllAccessDisabled", "AccountProblem"}
_FULL = {"InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "507"}
_BUSY = {
    "SlowDown",
    "RequestTimeout",
    "InternalError",
    "ServiceUnavailable",
    "OperationAborted",
    "Throttling",
}


@dataclass(frozen=True)
class Place:
    """What an error message needs to know of a repository. No secrets."""

    name: str
    bucket: str
    endpoint: str


def code_of(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@contextmanager
def errors(place: Place, op: str, key: str = "") -> Iterator[None]:
    """Raise what boto3 raises as a :class:`StorageError` that names the repository and the key."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise translated(error, place, op, key) from error


def translated(error: Exception, place: Place, op: str, key: str = "") -> StorageError:
    where = f"{key} in {place.name}" if key else f"repository {place.name}"
    if isinstance(error, ClientError):
        return _refused(error, place, op, where)
    return _unreached(error, place, op, where)


def _refused(error: ClientError, place: Place, op: str, where: str) -> StorageError:
    code, status = code_of(error), status_of(error)
    text = str(error.response.get("Error", {}).get("Message", ""))
    setting = f"repositories.{place.name}"
    if code in MISSING:
        return ObjectMissing(f"{where} does not exist", op=op)
    if code == "NoSuchBucket":
        hint = f"Create the bucket, or correct {setting}.url."
        return StorageError(f"{where}: no bucket {place.bucket}", op=op, hint=hint, transient=False)
    if code in _CREDENTIALS:
        hint = f"Check access_key_id, secret_access_key and region of {setting}."
        return StorageError(
            f"{where}: the server rejects the access key ({code})", op=op, hint=hint, transient=False
        )
    if code == "RequestTimeTooSkewed":
        hint = "Set the clock of this machine right."
        return StorageError(f"{where}: this clock and the server's differ", op=op, hint=hint, transient=False)
    # A full disk behind a small server arrives as an internal error.
    if code in _FULL or status == 507 or "no space left" in text.lower():
        hint = "Give the bucket more room, or run: pra expire"
        return RepositoryFull(f"{where}: no space left on the server", op=op, hint=hint)
    if code in _DENIED or status == 403:
        hint = f"Check the access key of {setting} and what it may do in bucket {place.bucket}."
        return StorageError(f"{where}: access denied", op=op, hint=hint, transient=False)
    if status in (301, 307) or code in ("PermanentRedirect", "IllegalLocationConstraintException"):
        hint = f"Set the bucket's own region in {setting}.region."
        return StorageError(
            f"{where}: bucket {place.bucket} is in another region", op=op, hint=hint, transient=False
        )
    transient = (status >= 500 and status != 501) or status == 429 or code in _BUSY
    hint = (
        "Repeat later; if it goes on, see the server's log and whether its disk is full." if transient else ""
    )
    if status == 501:
        hint = f"The server has no such function; is {setting}.object_lock right?"
    return StorageError(
        f"{where}: the server answered {code or status}", op=op, hint=hint, transient=transient
    )


def _unreached(error: Exception, place: Place, op: str, where: str) -> StorageError:
    setting = f"repositories.{place.name}"
    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        hint = f"Give {setting} an access_key_id and a secret_access_key."
        return StorageError(f"{where}: no access key", op=op, hint=hint, transient=False)
    if isinstance(error, SSLError):
        hint = f"Check the certificate of {place.endpoint}."
        return StorageError(f"{where}: no TLS with {place.endpoint}", op=op, hint=hint, transient=False)
    if isinstance(error, (ReadTimeoutError, ConnectTimeoutError)):
        hint = "Check the network and the server, then repeat."
        return StorageError(f"{where}: {place.endpoint} did not answer in time", op=op, hint=hint)
    if isinstance(error, (EndpointConnectionError, ConnectionClosedError)):
        hint = f"Check the network and {setting}.endpoint."
        return StorageError(f"{where}: {place.endpoint} cannot be reached", op=op, hint=hint)
    # The rest is either the network again, or a request that no repetition makes right.
    network = isinstance(error, (HTTPClientError, IncompleteReadError, HTTPError, OSError))
    return StorageError(f"{where}: transfer failed ({type(error).__name__})", op=op, transient=network)
