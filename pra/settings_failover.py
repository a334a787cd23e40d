"""``[targets.NAME.failover]``: where a lost server comes back, who must agree, and what is switched."""

from __future__ import annotations

import shlex
from datetime import timedelta
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from pra.errors import SettingsError
from pra.settings_fields import Duration, Frozen, wrong

COMMANDS = ("fence", "start", "stop", "switch", "announce", "streamer")


class Failover(Frozen):
    """What ``pra failover`` may do with one target. Commands run without a shell, each with a time limit.

    Attributes:
        directory: The new data directory that the recovery goes into; it does not exist yet or is empty.
        dsn: Where the recovered server answers; the password is the target's own.
        standby: A streaming standby, promoted instead of restoring; ``dsn`` is then its own by default.
        approvers: Public keys (``ed25519:<base64>``) of which one must agree.
        fence: Must exit 0 once the old server can take no write any more. Not set: the operator types it.
        start, stop: Start and stop PostgreSQL on ``directory``; by default ``pg_ctl -D directory -w``.
        switch: Sends the applications to the recovered server, beside or instead of the service file.
        service_file, service: A libpq service file, and the service in it that is pointed at ``dsn``.
        announce: Told once the service is back; its failure stops nothing.
        streamer: Starts the WAL streamer of the recovered server and leaves it running. Not set: the command
            is shown, and waited for.
        tablespaces: Old location → new folder.
        approval: How long a challenge may be answered.
        protect: How long the streamer is waited for.
    """

    directory: Path | None = None
    dsn: str | None = None
    standby: str | None = None
    approvers: list[str] = Field(min_length=1)
    fence: str | None = None
    fence_timeout: Duration = timedelta(minutes=2)
    start: str | None = None
    start_timeout: Duration = timedelta(minutes=10)
    stop: str | None = None
    stop_timeout: Duration = timedelta(minutes=2)
    promote_timeout: Duration = timedelta(minutes=10)
    switch: str | None = None
    switch_timeout: Duration = timedelta(minutes=2)
    service_file: Path | None = None
    service: str | None = None
    announce: str | None = None
    announce_timeout: Duration = timedelta(minutes=1)
    streamer: str | None = None
    streamer_timeout: Duration = timedelta(minutes=1)
    tablespaces: dict[str, Path] = Field(default_factory=dict)
    approval: Duration = timedelta(hours=1)
    protect: Duration = timedelta(minutes=10)

    @property
    def serving(self) -> str:
        """The DSN at which the service answers afterwards."""
        return self.dsn or self.standby or ""

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        if self.standby is None and (self.directory is None or self.dsn is None):
            raise wrong(
                "neither directory and dsn nor standby are set",
                "Say where to restore to (directory) and where it answers (dsn), or name a standby.",
            )
        if (self.service_file is None) != (self.service is None):
            raise wrong("service_file and service belong together", "Set both, or neither.")
        return self

    @model_validator(mode="after")
    def _commands_are_words(self) -> Self:
        for name in COMMANDS:
            text = getattr(self, name)
            try:
                if text is not None and not shlex.split(text):
                    raise ValueError("no words")
            except ValueError:
                raise wrong(
                    f"{name} is no command", "Write the program and its arguments; quotes must be closed."
                ) from None
        return self

    @model_validator(mode="after")
    def _approvers_are_keys(self) -> Self:
        if not all(_is_current_key(text) for text in self.approvers):
            raise wrong(
                "approvers holds what is no ed25519:<base64> key",
                "Copy what the approver's own machine printed at: pra key approver",
            )
        return self


def _is_current_key(text: str) -> bool:
    # Loaded here: whoever has no failover configured needs no cryptography for its settings.
    from pra.signing import parse_public_key

    try:
        return parse_public_key(text).retired_at is None
    except SettingsError:
        return False
