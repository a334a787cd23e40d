"""The steps before anything is touched: plan, challenge, and what a resumed failover keeps of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC
from typing import Any

from pra.approval import Challenge, challenge_of, check_answer, make_challenge
from pra.drill.record import Event, Intervention
from pra.engines.recovery import LATEST, parse_target
from pra.errors import UsageError
from pra.evidence_body import account_and_host
from pra.failover import plan as planning
from pra.failover.plan import FailoverPlan, Order
from pra.failover.server import Place
from pra.failover.state import Aborted, Failover, Hands
from pra.failover.words import lines
from pra.postgres.tools import find_tools
from pra.timing import from_iso, to_iso, utc_now


def make_plan(this: Failover) -> None:
    """Decide what will be done. A resumed failover keeps its plan where the same would be decided again.

    Raises:
        PraError: See `pra.failover.plan.make`.
    """
    recorded = this.journal.facts("plan")
    if this.is_done("recover") or _is_promoting(this):
        this.plan = FailoverPlan.from_json(recorded["plan"])
        _is_still_there(this, this.plan)
        return
    if "recover" in this.journal.begun and this.how.directory is not None:
        place(this, int(recorded["major"])).clear()
    this.order = _order_of(this.order, recorded.get("asked"))
    this.plan, this.outlook = planning.make(this.context, this.order)
    if this.journal.plan_sha256 == this.plan.sha256 and (this.is_done("approve") or _is_answerable(this)):
        return
    this.journal.plan_sha256 = this.plan.sha256
    this.journal.forget("plan", "approve")
    with this.step("plan") as step:
        step.facts |= {
            "plan": this.plan.as_json(),
            "outlook": this.outlook.as_json(),
            "major": this.outlook.major,
            "asked": _asked(this.order),
            "challenge": _challenge(this).as_json(),
        }


def _is_still_there(this: Failover, plan: FailoverPlan) -> None:
    """Once something was recovered, the settings must still lead to it."""
    there = str(this.how.directory) if plan.way == "restore" and this.how.standby is None else ""
    if (plan.way == "standby") != (this.how.standby is not None) or there != plan.directory:
        what = "standby" if plan.way == "standby" else f"directory = {plan.directory}"
        raise UsageError(
            "the settings lead elsewhere than to what was recovered",
            op="resume failover",
            hint=f"Put failover.{what} back.",
        )


def _challenge(this: Failover) -> Challenge:
    assert this.plan is not None
    assert this.outlook is not None
    return make_challenge(
        this.target,
        this.journal.failover,
        this.plan.as_json(),
        lines=lines(this.plan, this.outlook),
        lives=this.how.approval,
        clock=this.context.clock,
    )


def challenge_now(this: Failover) -> Challenge:
    """The challenge of the plan as it is recorded."""
    return challenge_of(this.journal.facts("plan")["challenge"])


def _is_answerable(this: Failover) -> bool:
    return this.is_done("plan") and this.context.clock() < challenge_now(this).expires_at


def _is_promoting(this: Failover) -> bool:
    """The standby may have been promoted, and is then no standby any more that could be planned with."""
    plan = this.journal.facts("plan").get("plan", {})
    return "recover" in this.journal.begun and plan.get("way") == "standby" and this.how.standby is not None


def _asked(order: Order) -> dict[str, Any]:
    return {
        "moment": order.moment.argument(),
        "inclusive": order.moment.inclusive,
        "repository": order.repository,
        "backup_id": order.backup_id,
        "disaster_at": to_iso(order.disaster_at) if order.disaster_at else None,
    }


def _order_of(order: Order, asked: Mapping[str, Any] | None) -> Order:
    """Where nothing else is said, a resumed failover does what it was asked for at first."""
    if asked is None:
        return order
    disaster = asked["disaster_at"]
    declared = order.disaster_at or (from_iso(disaster) if disaster else None)
    if order.moment != LATEST or order.repository or order.backup_id:
        return replace(order, disaster_at=declared)
    moment = LATEST
    if asked["moment"] != "latest":
        moment = parse_target(asked["moment"], inclusive=asked["inclusive"], now=utc_now(), zone=UTC)
    return replace(
        order,
        moment=moment,
        repository=asked["repository"],
        backup_id=asked["backup_id"],
        disaster_at=declared,
    )


def place(this: Failover, major: int) -> Place:
    """The data directory and how its server is started."""
    assert this.how.directory is not None
    context = this.context
    tools = find_tools(major, context.settings.postgres.bindir, needs=("pg_ctl", "postgres"))
    return Place(this.how.directory, this.how, tools, context.scope, this.env)


def approve(this: Failover, hands: Hands) -> None:
    """Have the plan approved by a second key; the plan is made once more before the answer counts.

    Raises:
        Aborted: The answer was no; nothing was touched.
        UsageError, SignatureError: See `pra.approval.check_answer`; it can be answered again.
    """
    if this.is_done("approve"):
        return
    challenge = challenge_now(this)
    with this.step("approve", waiting=True) as step:
        reply = hands.approve(challenge)
        now = this.context.clock
        if reply.abort:
            this.decided.append(Intervention(now(), reply.by or account_and_host(), "abort", reply.comment))
            raise Aborted("the failover was aborted before anything was touched", op="approve")
        again, this.outlook = planning.make(this.context, this.order)
        found = check_answer(
            reply.answer,
            challenge,
            this.how.approvers,
            plan_sha256=again.sha256,
            used=this.journal.nonces,
            clock=now,
        )
        step.facts |= {"nonce": found.nonce, "key_id": found.key_id}
        step.interventions.append(Intervention(found.at, f"key {found.key_id}", "proceed", reply.comment))
        step.events.append(Event("approved", now(), f"by key {found.key_id}"))
