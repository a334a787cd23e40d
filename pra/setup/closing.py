"""What protects the data from now on, and what does not yet: the end of ``pra init``. Pure.

Nobody adopts a tool to read its list of gaps, and everybody who lost data would have wished for one.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from pra.messages import Translate
from pra.setup.answers import Answers
from pra.setup.engine import keeps_rpo
from pra.setup.grants import SLOT_KEEPS
from pra.timing import format_duration, parse_duration

_SHOWN = 5


@dataclass(frozen=True)
class Line:
    """One thing that protects, or does not; ``command`` is what changes that, where there is one.

    ``key`` is the same in every language.
    """

    key: str
    text: str
    command: str = ""

    def as_json(self) -> dict[str, Any]:
        return {"key": self.key, "text": self.text, "command": self.command or None}


@dataclass(frozen=True)
class Situation:
    """What is known at the end.

    Attributes:
        proven: The backup's id; empty where none has passed its verification.
        rto_seconds: As the proof measured it.
        others: Databases of the server that no target protects.
        places: How many disks or services the repositories lie on. locked: one of them locks objects.
        slot_limited: ``max_slot_wal_keep_size`` is set.
        sheet: Where the recovery sheet still lies on this machine; empty where it does not.
        added: The target came to others, after the sheet had been printed.
    """

    answers: Answers
    proven: str
    rto_seconds: float | None
    others: tuple[str, ...]
    places: int
    offsite: bool
    locked: bool
    alerting: bool
    streaming: bool
    slot_limited: bool
    scheduled: bool
    sheet: str = ""
    added: bool = False

    @property
    def rto(self) -> str:
        return format_duration(parse_duration(self.answers.rto).total_seconds())

    @property
    def too_slow(self) -> bool:
        """A restore took longer than it may."""
        limit = parse_duration(self.answers.rto).total_seconds()
        return self.rto_seconds is not None and self.rto_seconds > limit


def protects(this: Situation, _: Translate) -> list[Line]:
    """What holds now."""
    found = []
    if this.proven:
        text = _("backup {backup_id} of {target} is restored, compared and signed").format(
            backup_id=this.proven, target=this.answers.target
        )
        found.append(Line("proof", text))
    if this.proven and this.rto_seconds is not None and not this.too_slow:
        text = _("a restore took {took}, of {rto} that it may take")
        found.append(Line("rto", text.format(took=format_duration(this.rto_seconds), rto=this.rto)))
    if this.places > 1:
        found.append(
            Line("places", _("each backup lies in {count} separate places").format(count=this.places))
        )
    if this.locked:
        found.append(Line("lock", _("Object Lock: nobody, we included, can delete it before its time")))
    if this.answers.recipients:
        found.append(Line("encryption", _("only whoever has the recovery sheet or this machine can read it")))
    return found


def lacks(this: Situation, _: Translate) -> list[Line]:
    """What does not protect yet, the most dangerous first."""
    found = [*_recovery(this, _), *_place(this, _), *_watch(this, _)]
    files = _("files outside the database (documents, photos, configuration): no backup of PRA holds them")
    found.append(Line("files", files))
    if this.others and this.answers.engine == "logical":
        named = ", ".join(this.others[:_SHOWN]) + (", …" if len(this.others) > _SHOWN else "")
        text = _("other databases of the same server: {names}").format(names=named)
        found.append(Line("databases", text, "pra init --add-target"))
    return found


def _recovery(this: Situation, _: Translate) -> list[Line]:
    answers, found = this.answers, []
    if not this.proven:
        found.append(Line("proof", _("no backup is proven yet"), f"pra verify {answers.target}"))
    if this.rto_seconds is not None and this.too_slow:
        text = _("an RTO of {rto}: a restore took {took}")
        found.append(Line("rto", text.format(rto=this.rto, took=format_duration(this.rto_seconds))))
    if answers.engine == "physical" and not this.streaming:
        text = _("what is written between two backups: no streamer ships the WAL yet")
        found.append(Line("streamer", text, f"pra wal stream {answers.target}"))
    if answers.engine == "physical" and not this.slot_limited:
        text = _("the server's disk: a streamer that stays away would fill it")
        command = f"ALTER SYSTEM SET max_slot_wal_keep_size = '{SLOT_KEEPS}'; SELECT pg_reload_conf();"
        found.append(Line("slot", text, command))
    if not keeps_rpo(answers.engine, parse_duration(answers.rpo)):
        text = _("an RPO of {rpo}: a dump an hour loses an hour and the time to publish").format(
            rpo=answers.rpo
        )
        found.append(Line("rpo", text, f'engine = "physical"    # [targets.{answers.target}]'))
    return found


def _place(this: Situation, _: Translate) -> list[Line]:
    found = []
    if this.places < 2 or not this.offsite:
        text = _("the loss of this site: every repository stands here")
        if this.places < 2:
            text = _("the loss of the one place where backups lie")
        found.append(Line("offsite", text, 'url = "s3://BUCKET/PREFIX"    # [repositories.offsite]'))
    if not this.locked:
        text = _("somebody with our rights who deletes every backup: no repository locks objects")
        found.append(Line("lock", text, "object_lock = true    # [repositories.offsite]"))
    if this.added:
        text = _("the recovery sheet in your safe does not name {target} and its repositories yet")
        target = this.answers.target
        found.append(Line("sheet", text.format(target=target), "pra key sheet"))
    if this.sheet:
        text = _("the recovery sheet still lies on this machine: print it, keep it elsewhere, remove it")
        found.append(Line("sheet", text, f"shred -u {shlex.quote(this.sheet)}"))
    return found


def _watch(this: Situation, _: Translate) -> list[Line]:
    found = []
    if not this.scheduled:
        text = _("tomorrow: no schedule takes backups by itself yet")
        found.append(Line("schedule", text, "pra up"))
    if not this.alerting:
        text = _("a failure that nobody notices: no alert channel is configured")
        found.append(Line("alerts", text, "PRA_ALERTS__SLACK_WEBHOOK=…    # .env"))
    return found
