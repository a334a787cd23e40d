"""One supervised ``pg_receivewal``: started, explained when it ends, and started again.

Where it begins it finds out itself from what lies in its folder (``FindStreamingStart`` in
``pg_receivewal.c``). Only where that leads nowhere, because the folder is new, the server has removed that
WAL, or another timeline has become the true one, is it told by an empty unfinished segment: first where the
repositories want WAL from, then where the slot does, last where the server is now.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from contextlib import suppress

from pra.errors import BusyError, PraError, SpaceError, ToolError, UsageError
from pra.postgres.connect import Server
from pra.postgres.replication import Identity, explain_refusal, identify, timeline_history
from pra.postgres.tools import Tools
from pra.postgres.wal import Switch, format_lsn, parse_history, segment_end, segment_name
from pra.proc import Process, Scope
from pra.wal.coverage import Histories, reigns
from pra.wal.monitor import Monitor, Observation, lost
from pra.wal.spool import WalSpool

_log = logging.getLogger(__name__)
_PAUSES = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
_SETTLED_SECONDS = 20.0  # a receiver that lived this long was a success
_SLOT_PATIENCE = 90.0  # wal_sender_timeout is 60 s: as long may a dead streamer's slot look active

_REMOVED = re.compile(r"requested WAL segment (\w+) has already been removed")
_AHEAD = re.compile(r"is not in this server's history|is ahead of the WAL flush position")
_LOST = re.compile(r"can no longer (?:access|get changes from) replication slot|slot .* has been invalidated")
_ACTIVE = re.compile(r"replication slot .* is active for PID")
_FULL = re.compile(r"No space left on device|Disk quota exceeded")
_NEWS = re.compile(r"starting log streaming|switched to timeline|not renaming")


def receive_argv(tools: Tools, server: Server, *, folder: str, slot: str) -> tuple[str, ...]:
    """``pg_receivewal``; the password comes through the environment."""
    return (
        tools.path("pg_receivewal"),
        f"--directory={folder}",
        f"--slot={slot}",
        f"--dbname={server.dsn}",
        "--no-loop",
        "--no-password",
        "--status-interval=1",
        "--verbose",
    )


def _cause(text: str) -> str:
    """What ended it: that it was then disconnected is only what follows."""
    lines = [line.partition("error: ")[2] for line in text.splitlines() if "error: " in line]
    return next((line for line in lines if line and line != "disconnected"), "")


class Receiver:
    """See the module. Everything but ``on_line`` runs on the caller's thread.

    Args:
        wanted: Where the repositories want WAL from, when the folder cannot say: positions in order, on the
            way to this timeline.
        wake: Called from another thread when a segment was finished or the tool said something.
    """

    def __init__(
        self,
        server: Server,
        tools: Tools,
        scope: Scope,
        spool: WalSpool,
        monitor: Monitor,
        slot: str,
        *,
        wanted: Callable[[int, Histories], list[int]],
        wake: Callable[[], None],
    ) -> None:
        self._server, self._tools, self._scope = server, tools, scope
        self._spool, self._monitor, self._slot = spool, monitor, slot
        self._wanted, self._wake = wanted, wake
        self._process: Process | None = None
        self._started_at = 0.0
        self._next_at = 0.0
        self._failures = 0
        self._told = False  # where to begin, by us, and before what the slot keeps
        self._removed = 0  # up to here the server has no WAL any more
        self._ever = False
        self._busy_since: float | None = None
        self.error: PraError | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running()

    def keep_up(self) -> None:
        """Start it where it does not run and the pause is over.

        Raises:
            UsageError, RightsError …: At the first start only: what no waiting mends.
            BusyError: Somebody else streams from the slot.
        """
        now = time.monotonic()
        if self.running:
            if self._failures and now - self._started_at > _SETTLED_SECONDS:
                self._settle()
            return
        if self._process is not None:
            self._ended()
        if time.monotonic() < self._next_at:
            return
        try:
            self._launch(self._monitor.ensure_slot())
        except (UsageError, BusyError):
            raise
        except PraError as error:
            self._failed(error)
            if not self._ever and not error.transient:
                raise

    def stop(self) -> None:
        """End it and wait: what it has received is written then."""
        process, self._process = self._process, None
        if process is not None:
            process.end()
            self._scope.forget(process)

    # -- starting ------------------------------------------------------------------------------

    def _launch(self, seen: Observation) -> None:
        if seen.active:
            self._wait_for_slot()
            return
        self._busy_since = None
        for name in self._spool.repair():
            _log.warning("removed %s, which a kill or a full disk had left half-made", name)
        identity = identify(self._server)
        if identity.system_identifier != self._spool.system_id:
            raise UsageError(
                "another server answers behind this target's name",
                op="stream WAL",
                hint="If it was rebuilt on purpose, start the streamer again; otherwise correct the DSN.",
            )
        self._prepare(seen, identity)
        env = self._tools.env() | self._server.tool_env() | {"PGAPPNAME": f"pra wal {self._slot}"}
        self._process = self._scope.start(
            receive_argv(self._tools, self._server, folder=str(self._spool.received), slot=self._slot),
            op="stream WAL",
            env=env,
            secrets=self._server.secrets,
            keep_stdout=True,
            on_line=self._heard,
        )
        self._started_at = time.monotonic()

    def _prepare(self, seen: Observation, identity: Identity) -> None:
        """Lay the mark where to begin, unless the folder itself says it."""
        self._told = False
        if not self._spool.is_empty():
            return
        size, timeline = self._spool.segment_bytes, identity.timeline
        histories: dict[int, tuple[Switch, ...]] = {}
        if timeline > 1:
            histories[timeline] = parse_history(timeline_history(self._server, timeline).decode())
        kept, present = seen.restart or identity.lsn, identity.lsn
        places = {lsn // size * size for lsn in (*self._wanted(timeline, histories), kept, present)}
        place = next((lsn for lsn in sorted(places) if self._removed <= lsn), present // size * size)
        self._told = place < kept // size * size
        # The segment in which a timeline begins is its own: it starts with a copy of its parent's bytes.
        reign = [one for one in reigns(timeline, histories) if one.start < place + size][-1]
        self._spool.begin_at(segment_name(reign.timeline, place, size))

    def _wait_for_slot(self) -> None:
        now = time.monotonic()
        self._busy_since = self._busy_since or now
        self._next_at = now + _PAUSES[0]
        if now - self._busy_since > _SLOT_PATIENCE:
            raise BusyError(
                f"somebody else streams from the replication slot {self._slot}",
                op="stream WAL",
                hint="See SELECT * FROM pg_replication_slots; stop the other streamer, or give this target a "
                "slot of its own.",
            )

    def _heard(self, line: str) -> None:
        if _NEWS.search(line):
            self._ever = True
            _log.info("%s", line.removeprefix("pg_receivewal: "))
        self._wake()

    # -- ending --------------------------------------------------------------------------------

    def _settle(self) -> None:
        self._failures, self._removed, self._ever, self.error = 0, 0, True, None
        self._monitor.fresh = False

    def _ended(self) -> None:
        process, self._process = self._process, None
        assert process is not None
        process.end()
        self._scope.forget(process)
        if time.monotonic() - self._started_at > _SETTLED_SECONDS:
            self._settle()
        try:
            process.check()
        except ToolError as error:
            known = self._explained(error)
            if isinstance(known, SpaceError):
                self._pause()
                raise known from None
            self._failed(known)
        else:
            self._failed(ToolError("pg_receivewal ended by itself", op="stream WAL", transient=True))

    def _explained(self, error: ToolError) -> PraError:
        text = error.stderr
        if removed := _REMOVED.search(text):
            return self._after_removal(removed[1])
        if _AHEAD.search(text):
            return self._after_switch(error)
        if _LOST.search(text):
            return lost(self._slot)
        if _ACTIVE.search(text):
            self._wait_for_slot()
        if full := _FULL.search(text):
            fact = f"{self._spool.received}: {full[0].lower()}"
            return SpaceError(
                fact, op="stream WAL", hint="Free space there, or lower backlog under [physical]."
            )
        known = explain_refusal(text, self._server)
        if known is not None:
            return known
        hint = "It is started again; see the server's log."
        return ToolError(
            _cause(text) or error.message, stderr=text, op="stream WAL", hint=hint, transient=True
        )

    def _after_removal(self, segment: str) -> PraError:
        """The server has no longer what comes next: begin where it has, and say what is missing."""
        self._removed = segment_end(segment, self._spool.segment_bytes)
        self._abandon()
        if self._told:
            return ToolError(
                f"the server no longer has {segment}; beginning further on", op="stream WAL", transient=True
            )
        return ToolError(
            f"WAL is missing from {segment} on: the server removed it before it was streamed",
            op="stream WAL",
            hint="Take a full backup now (pra backup --full): moments after the gap need it. "
            "See the gap with: pra wal check",
            transient=True,
        )

    def _after_switch(self, error: ToolError) -> PraError:
        """We have more of a timeline than the server followed: it was promoted, or went back."""
        here = self._spool.reached()
        with suppress(PraError):
            identity = identify(self._server)
            if here is not None and identity.timeline > here[0]:
                history = timeline_history(self._server, identity.timeline)
                self._begin_after(here[0], parse_history(history.decode()), identity.timeline)
                return ToolError(
                    f"the server has moved to timeline {identity.timeline}; following it",
                    op="stream WAL",
                    transient=True,
                )
        at = format_lsn(here[1]) if here else "nowhere"
        return ToolError(
            f"the server is behind the WAL that was streamed from it, which reaches {at}: {error.message}",
            op="stream WAL",
            hint="A standby catches up by itself. A server that was put back without a new timeline writes "
            "other WAL under the same names: promote it properly, and take a full backup.",
            stderr=error.stderr,
            transient=True,
        )

    def _begin_after(self, timeline: int, switches: tuple[Switch, ...], newest: int) -> None:
        """Put what nobody will continue aside and begin where the history left our timeline."""
        for place, switch in enumerate(switches):
            if switch.timeline == timeline:
                following = switches[place + 1].timeline if place + 1 < len(switches) else newest
                self._abandon()
                self._spool.begin_at(segment_name(following, switch.lsn, self._spool.segment_bytes))
                return

    def _abandon(self) -> None:
        self._spool.seal_finished()
        self._spool.set_aside()

    def _pause(self) -> None:
        pause = _PAUSES[min(self._failures, len(_PAUSES) - 1)]
        self._failures += 1
        self._next_at = time.monotonic() + pause

    def _failed(self, error: PraError) -> None:
        self._pause()
        if self.error is None or str(self.error) != str(error) or self._failures % 10 == 0:
            _log.error("%s", error)
        self.error = error
