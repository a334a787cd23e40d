"""The one tree of errors.

::

    PraError
     ├── UsageError            the request cannot be carried out as asked (exit 64)
     │    ├── SettingsError    pra.toml, PRA_… or .env
     │    └── NotFoundError    no such target, repository or backup
     ├── BusyError             somebody else holds the lock or lease (exit 75)
     ├── UnavailableError      no Prefect API or worker where one was asked for (exit 69)
     ├── PostgresError         the server, or what a role may do there
     │    ├── ConnectError
     │    ├── RightsError
     │    └── SummariesMissing  no incremental base backup can be had, a full one can
     ├── ToolError             a subprocess failed; carries its stderr
     │    └── ToolTimeout      it ran too long or made no progress
     ├── StorageError          a repository
     │    ├── ObjectMissing
     │    ├── ObjectExists     a conditional write found the key taken
     │    └── RepositoryFull
     ├── IntegrityError        bytes are not what was signed
     │    ├── SignatureError
     │    └── DecryptError
     ├── SpaceError            not enough disk
     ├── RestoreError          a destination or restore that cannot be trusted
     │    ├── TargetNotReached the WAL ended before the recovery target
     │    └── TargetPassed     recovery did not pause at it, since nobody could be let in there
     └── Interrupted           a signal ended the work

A message is one lowercase fact; the hint is a sentence that says what to do. Neither ever holds a
secret or the value of a row.
"""

from __future__ import annotations

from typing import ClassVar


class PraError(Exception):
    """Something failed, said so that a person can act on it.

    Args:
        message: One lowercase fact, without secrets or row values.
        op: What was being tried, for example ``"dump database"``.
        hint: One sentence that says what to do.
        transient: Whether the same call may succeed if repeated.
    """

    exit_code: ClassVar[int] = 1
    default_transient: ClassVar[bool] = False

    def __init__(self, message: str, *, op: str = "", hint: str = "", transient: bool | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.op = op
        self.hint = hint
        self.transient = self.default_transient if transient is None else transient

    def __str__(self) -> str:
        head = f"{self.op}: {self.message}" if self.op else self.message
        return f"{head} HINT: {self.hint}" if self.hint else head

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.__dict__.copy()))


def _rebuild(kind: type[PraError], message: str, state: dict[str, object]) -> PraError:
    """Unpickle without calling a subclass's own ``__init__``."""
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


class UsageError(PraError):
    exit_code = 64


class SettingsError(UsageError):
    pass


class NotFoundError(UsageError):
    pass


class BusyError(PraError):
    exit_code = 75


class UnavailableError(PraError):
    exit_code = 69


class PostgresError(PraError):
    pass


class ConnectError(PostgresError):
    default_transient = True


class RightsError(PostgresError):
    pass


class SummariesMissing(PostgresError):
    pass


class ToolError(PraError):
    """A subprocess ended badly.

    Args:
        stderr: The tail of what it wrote, redacted.
        returncode: Its exit status; negative for a signal.
    """

    def __init__(
        self,
        message: str,
        *,
        stderr: str = "",
        returncode: int | None = None,
        op: str = "",
        hint: str = "",
        transient: bool | None = None,
    ) -> None:
        super().__init__(message, op=op, hint=hint, transient=transient)
        self.stderr = stderr
        self.returncode = returncode


class ToolTimeout(ToolError):
    default_transient = True


class StorageError(PraError):
    default_transient = True


class ObjectMissing(StorageError):
    default_transient = False


class ObjectExists(StorageError):
    default_transient = False


class RepositoryFull(StorageError):
    default_transient = False


class IntegrityError(PraError):
    pass


class SignatureError(IntegrityError):
    pass


class DecryptError(IntegrityError):
    pass


class SpaceError(PraError):
    pass


class RestoreError(PraError):
    pass


class TargetNotReached(RestoreError):
    pass


class TargetPassed(RestoreError):
    pass


class Interrupted(PraError):
    """A signal ended the work. ``exit_code`` is 128 plus the signal's number."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by signal {signum}", op="run")
        self.signum = signum
        self.exit_code = 128 + signum  # type: ignore[misc]
