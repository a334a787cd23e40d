"""``pra restore`` of a physical backup: a new data directory, or single tables by a throwaway server."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from checks import Checks
from deployments.cli.output import Output
from deployments.cli.physical_words import physical_json, restored_json, show_physical_plan, show_restored
from deployments.cli.restore_options import Asked, target_of
from deployments.cli.restore_way import Done, Show
from deployments.cli.restore_words import show_afterwards
from pra.engines.recovery import RecoveryTarget
from pra.errors import PraError, SignatureError
from pra.procedures import physical_plan, physical_restore, physical_tables
from pra.procedures.context import Context
from pra.procedures.physical_plan import Wishes
from pra.procedures.recovering import Planned, plan_recovery


def choose_way(out: Output, work: Context, asked: Asked) -> PhysicalWay:
    """The repository from which least is lost; of equals, the first listed. Whose signatures hold, first.

    Raises:
        PraError: None of them leads to the target; about a signature, if that is all that one lacks.
    """
    target = target_of(asked)
    backup_id = None if asked.backup == "newest" else asked.backup
    names = [asked.repository] if asked.repository else list(work.repositories)
    found: list[Planned] = []
    failures: list[PraError] = []
    for name in names:
        try:
            found.append(
                plan_recovery(
                    work, name, target, backup_id=backup_id, accept_unverified=asked.accept_unverified
                )
            )
        except PraError as error:
            failures.append(error)
            if len(names) > 1:
                out.note(f"warning: {name}: {error.message}; trying the next repository")
        else:
            if target.kind != "latest" and found[-1].unverified is None:
                break  # it is the same everywhere
    if not found:
        raise next((each for each in failures if isinstance(each, SignatureError)), failures[-1])
    chosen = furthest(target, [each for each in found if each.unverified is None] or found)
    if chosen.unverified is not None:
        out.note(f"warning: {chosen.plan.repository}: {chosen.unverified.message}; accepted unverified")
    return PhysicalWay(work, asked, chosen)


def furthest(target: RecoveryTarget, found: list[Planned]) -> Planned:
    """A target that all of them reach is the same everywhere; ``latest`` is where each one's WAL ends."""
    if target.kind != "latest":
        return found[0]
    return max(found, key=lambda each: (each.plan.timeline, each.plan.until))


@dataclass(frozen=True)
class PhysicalWay:
    """See `deployments.cli.restore_way.Way`."""

    work: Context
    asked: Asked
    planned: Planned

    @property
    def wishes(self) -> Wishes:
        asked = self.asked
        return Wishes(tablespaces=asked.tablespaces, disaster_at=asked.disaster_at, proof=asked.proof)

    def plan(self) -> Show:
        plan = physical_plan.plan(self.work, self.planned, self.asked.destination, self.wishes)
        return partial(show_physical_plan, plan=plan)

    def refusal(self) -> PraError | None:
        if self.asked.tables:
            return None
        try:
            physical_restore.check(self.planned, self.asked.destination, self.wishes)
        except PraError as error:
            return error
        return None

    def carry_out(self) -> Done:
        asked, server = self.asked, self.asked.destination.server
        if asked.tables and server is not None:
            report, schema = physical_tables.run(self.work, self.planned, server, asked.tables)
            document = {"tables_schema": schema, **physical_json(self.planned)}
            return Done(report, document, partial(show_afterwards, schema=schema, roles=[]))
        done = physical_restore.run(self.work, Checks(), self.planned, asked.destination, self.wishes)
        document = {**physical_json(self.planned), **restored_json(done)}
        return Done(done.report, document, partial(show_restored, done=done))
