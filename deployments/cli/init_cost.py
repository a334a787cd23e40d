"""What each repository of ``pra init`` will have to hold, said before the first backup and after it."""

from __future__ import annotations

from rich.markup import escape

from deployments.cli.init_state import Setup
from deployments.cli.output import size
from pra.retention import Policy
from pra.settings import Retention
from pra.setup.estimate import Cost, retention_cost
from pra.storage.local import LocalStorage


def say_cost(this: Setup) -> None:
    """The estimate, and where a local disk will not hold it."""
    this.cost = cost_of(this)
    show_cost(this, this.cost)
    for finding in this.findings:
        if finding.name.endswith(".write"):
            _compare(this, finding.name.split(".")[1], this.cost)


def cost_of(this: Setup) -> Cost:
    """What each repository will have to hold, by the size of what is protected."""
    report, answers = this.server, this.answers
    physical = answers.engine == "physical"
    return retention_cost(
        policy(this),
        answers.engine,
        report.replication.server_bytes if physical else report.facts.database_bytes,
        wal_rate=report.wal_rate,
        incremental=physical and report.major >= 17 and report.replication.summarize_wal,
    )


def policy(this: Setup) -> Policy:
    kept = this.before.retention if this.before else Retention()
    return Policy(kept.hourly, kept.daily, kept.weekly, kept.monthly, window=kept.pitr_window)


def show_cost(this: Setup, cost: Cost) -> None:
    """The bytes, and how they were computed."""
    _ = this._
    kept = f"{cost.fulls} × {size(cost.full_bytes)}"
    if cost.increments:
        kept += f" + {cost.increments} × {size(cost.increment_bytes)}"
    assumed = _("a backup being assumed to take {share} of the {source} that it copies")
    basis = _("measured by this backup") if cost.measured else assumed
    basis = basis.format(share=f"{cost.share:.0%}", source=size(cost.source_bytes))
    sentence = _("Each repository will hold about {total}: {kept}, {basis}.")
    this.out.text(escape(sentence.format(total=size(cost.total), kept=kept, basis=basis)))
    if cost.engine == "physical":
        if cost.wal_bytes is None:
            this.out.text(_("To that comes WAL of a week; how much the server writes is not known yet."))
        else:
            sentence = _("Of that, {wal} is WAL of a week, by what the server has written so far.")
            this.out.text(sentence.format(wal=size(cost.wal_bytes)))


def _compare(this: Setup, name: str, cost: Cost) -> None:
    """Say where a local disk will not hold it."""
    answer = next((each for each in this.answers.repositories if each.name == name), None)
    if answer is None or not answer.url.startswith("file://"):
        return
    free = LocalStorage(name, answer.url).free_bytes()
    if free is not None and free < cost.total:
        sentence = this._("{name} has {free} free, which will not do: a larger disk, or a shorter retention.")
        this.out.text(f"[yellow]{escape(sentence.format(name=name, free=size(free)))}[/]")
