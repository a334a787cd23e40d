"""A plan for people who decide: English, since it is signed with the challenge."""

from __future__ import annotations

from pra.failover.plan import FailoverPlan, Outlook
from pra.timing import format_duration, to_iso


def lines(plan: FailoverPlan, outlook: Outlook) -> tuple[str, ...]:
    """What is done, how long it should take, and what is expected to be lost; one sentence each."""
    if plan.way == "standby":
        how = [f"Promote the standby {plan.standby}."]
    else:
        chain = " + ".join(plan.chain)
        moment = "the end of the WAL" if plan.moment == "latest" else plan.moment
        how = [
            f"Restore {chain} from {plan.repository} into {plan.directory}, recover to {moment}.",
            *(f"Tablespace {old} goes to {new}." for old, new in plan.tablespaces.items()),
        ]
    estimate = "unknown, none was measured" if outlook.seconds is None else format_duration(outlook.seconds)
    if outlook.loses_seconds is None or outlook.lost_after is None:
        loss = "unknown until the WAL has been replayed"
    else:
        loss = f"at most {format_duration(outlook.loses_seconds)}, since {to_iso(outlook.lost_after)}"
    fence = "by command" if "fence" in plan.commands else "an operator types that it is off"
    return (
        f"Failover of {plan.target}.",
        *how,
        f"Fence the old server: {fence}.",
        f"The service answers at {plan.serving} afterwards; switch: {_switch(plan)}.",
        f"Estimated time: {estimate}. Expected loss: {loss}.",
    )


def _switch(plan: FailoverPlan) -> str:
    ways = []
    if plan.service_file:
        ways.append(f"service {plan.service} in {plan.service_file}")
    if "switch" in plan.commands:
        ways.append("by command")
    return " and ".join(ways) or "none is configured"
