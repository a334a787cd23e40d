"""Repositories: where backups live. :func:`open_storage` gives the one that a URL asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pra.errors import SettingsError
from pra.storage.base import Capabilities, ObjectStat, Storage, Upload
from pra.storage.local import LocalStorage

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = ["Capabilities", "ObjectStat", "Storage", "Upload", "open_storage"]


class RepositorySettings(Protocol):
    """What of the settings a repository needs; see :class:`pra.settings_model.Repository`."""

    @property
    def name(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def endpoint(self) -> str | None: ...
    @property
    def region(self) -> str | None: ...
    @property
    def object_lock(self) -> bool: ...
    @property
    def access_key_id(self) -> str | None: ...
    @property
    def secret_access_key(self) -> SecretStr | None: ...
    @property
    def allow_plaintext(self) -> bool: ...


def open_storage(repository: RepositorySettings) -> Storage:
    """The repository that the settings describe. Nothing is read or sent yet.

    Raises:
        SettingsError: The URL is of no known kind, or the endpoint is not safe.
    """
    if repository.url.startswith("file://"):
        return LocalStorage(repository.name, repository.url)
    if not repository.url.startswith("s3://"):
        raise SettingsError(
            f"repository {repository.name} has a URL of no known kind: {repository.url!r}",
            op="open repository",
            hint='Write url = "file:///path" or url = "s3://bucket/prefix".',
        )
    # boto3 takes a quarter of a second to import: only those who use it pay.
    from pra.storage.s3 import S3Storage
    from pra.storage.s3_client import Account

    secret = repository.secret_access_key
    account = Account(
        endpoint=repository.endpoint,
        region=repository.region,
        access_key_id=repository.access_key_id,
        secret_access_key=None if secret is None else secret.get_secret_value(),
        allow_plaintext=repository.allow_plaintext,
    )
    return S3Storage(repository.name, repository.url, account, object_lock=repository.object_lock)
