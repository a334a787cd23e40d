"""``pra restore`` of a logical backup: into an empty database, a new data directory, or single tables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from checks import Checks
from deployments.cli.output import Output
from deployments.cli.restore_options import Asked
from deployments.cli.restore_way import Done, Show
from deployments.cli.restore_words import show_afterwards, show_plan
from pra.errors import NotFoundError, PraError, StorageError
from pra.procedures import restore, tables
from pra.procedures.context import Context
from pra.procedures.destination import check_destination
from pra.procedures.session import Choice, accept_unverified, choose


def choose_backup(out: Output, work: Context, asked: Asked) -> Choice:
    """In the order in which the target lists its repositories: one that is lost must not stop a recovery.

    Raises:
        PraError: None of them can give it; the last one's error.
    """
    choice = _choose(out, work, asked.backup, asked.repository)
    return accept_unverified(work, choice) if asked.accept_unverified else choice


def _choose(out: Output, work: Context, backup: str, repository: str | None) -> Choice:
    *others, last = [repository] if repository else work.repositories
    for name in others:
        try:
            return choose(work, backup, name)
        except (StorageError, NotFoundError) as error:
            out.note(f"warning: {name}: {error.message}; trying the next repository")
    return choose(work, backup, last)


@dataclass(frozen=True)
class LogicalWay:
    """See `deployments.cli.restore_way.Way`."""

    work: Context
    asked: Asked
    choice: Choice

    def plan(self) -> Show:
        plan = restore.plan(self.work, self.choice, self.asked.destination)
        return partial(show_plan, plan=plan)

    def refusal(self) -> PraError | None:
        if self.asked.tables or self.choice.manifest is None:
            return None
        try:
            check_destination(self.asked.destination, self.choice.manifest)
        except PraError as error:
            return error
        return None

    def carry_out(self) -> Done:
        server = self.asked.destination.server
        if self.asked.tables and server is not None:
            report, schema = tables.run(self.work, self.choice, server, self.asked.tables)
            return Done(
                report,
                {"tables_schema": schema, "roles_created": []},
                partial(show_afterwards, schema=schema, roles=[]),
            )
        report, undertaking = restore.run(self.work, Checks(), self.choice, self.asked.destination)
        roles = undertaking.roles_created
        return Done(
            report,
            {"tables_schema": None, "roles_created": roles},
            partial(show_afterwards, schema=None, roles=roles),
        )
