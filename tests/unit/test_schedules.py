"""What the cron lines mean, asked of the scheduler's own reading of them; and a fleet's day on four slots."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest

from deployments.entries import expanded, read_entries
from deployments.spread import spread
from deployments.zones import zones_at_hand

THURSDAY = datetime(2026, 11, 26, tzinfo=UTC)
NIGHT = timedelta(hours=4)
SEVERAL = ["akig", "billing", "archive", "crm", "stock", "web-shop"]
FLEET = [f"customer-{number:03}" for number in range(200)]


@cache
def next_dates(cron: str, count: int = 10, timezone: str = "UTC") -> list[datetime]:
    """As Prefect's scheduler plans them."""
    from prefect.server.schemas.schedules import CronSchedule

    dates = CronSchedule(cron=cron, timezone=timezone).get_dates(count, start=THURSDAY)
    return [datetime.fromtimestamp(each.timestamp(), UTC) for each in asyncio.run(dates)]


def written(cron: str) -> list[str]:
    return [f"{moment:%Y-%m-%d %H:%M}" for moment in next_dates(cron)]


# As prefect.yaml has them.
DUE = {
    "hourly": [
        "2026-11-26 00:00", "2026-11-26 01:00", "2026-11-26 02:00", "2026-11-26 03:00", "2026-11-26 04:00",
        "2026-11-26 05:00", "2026-11-26 06:00", "2026-11-26 07:00", "2026-11-26 08:00", "2026-11-26 09:00",
    ],
    "every-five-minutes": [
        "2026-11-26 00:00", "2026-11-26 00:05", "2026-11-26 00:10", "2026-11-26 00:15", "2026-11-26 00:20",
        "2026-11-26 00:25", "2026-11-26 00:30", "2026-11-26 00:35", "2026-11-26 00:40", "2026-11-26 00:45",
    ],
    "every-night": [
        "2026-11-26 04:00", "2026-11-27 04:00", "2026-11-28 04:00", "2026-11-29 04:00", "2026-11-30 04:00",
        "2026-12-01 04:00", "2026-12-02 04:00", "2026-12-03 04:00", "2026-12-04 04:00", "2026-12-05 04:00",
    ],
    "sunday-night": [
        "2026-11-29 03:00", "2026-12-06 03:00", "2026-12-13 03:00", "2026-12-20 03:00", "2026-12-27 03:00",
        "2027-01-03 03:00", "2027-01-10 03:00", "2027-01-17 03:00", "2027-01-24 03:00", "2027-01-31 03:00",
    ],
    "monday-morning": [
        "2026-11-30 06:00", "2026-12-07 06:00", "2026-12-14 06:00", "2026-12-21 06:00", "2026-12-28 06:00",
        "2027-01-04 06:00", "2027-01-11 06:00", "2027-01-18 06:00", "2027-01-25 06:00", "2027-02-01 06:00",
    ],
    "first-of-the-month": [
        "2026-12-01 02:00", "2027-01-01 02:00", "2027-02-01 02:00", "2027-03-01 02:00", "2027-04-01 02:00",
        "2027-05-01 02:00", "2027-06-01 02:00", "2027-07-01 02:00", "2027-08-01 02:00", "2027-09-01 02:00",
    ],
    "first-saturday-of-june": [
        "2027-06-05 09:00", "2028-06-03 09:00", "2029-06-02 09:00", "2030-06-01 09:00", "2031-06-07 09:00",
        "2032-06-05 09:00", "2033-06-04 09:00", "2034-06-03 09:00", "2035-06-02 09:00", "2036-06-07 09:00",
    ],
}  # fmt: skip
EARLIEST = {"every-night": timedelta(hours=-2)}


def test_every_line_of_prefect_yaml_means_these_dates() -> None:
    lines = {raw["slug"]: raw["cron"] for entry in read_entries() for raw in entry.schedules}
    assert {slug: written(cron) for slug, cron in lines.items()} == DUE


@pytest.mark.parametrize("slug", sorted(set(DUE) - {"every-five-minutes", "monday-morning"}))
def test_a_spread_line_means_the_same_days_within_its_window(slug: str) -> None:
    """Every target's next ten dates are those of the model, each later by one and the same time."""
    models = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in DUE[slug]]
    lines = of_slug(slug, SEVERAL)
    delays = {}
    for target, cron in lines.items():
        (delay,) = {at - model for at, model in zip(next_dates(cron), models, strict=True)}
        delays[target] = delay
    first = EARLIEST.get(slug, timedelta())
    window = timedelta(hours=1) if slug == "hourly" else NIGHT
    assert all(first <= delay < first + window for delay in delays.values()), delays
    assert len(set(delays.values())) > len(SEVERAL) / 2


def of_slug(slug: str, targets: Sequence[str]) -> dict[str, str]:
    return {
        entry.name: raw["cron"]
        for entry in spread(expanded(read_entries(), targets))
        for raw in entry.schedules
        if raw["slug"] == slug
    }


def test_quarters_of_an_hour_stay_quarters() -> None:
    """What is proposed where an hourly dump cannot keep the RPO."""
    assert written("7-59/15 * * * *")[:5] == [
        "2026-11-26 00:07", "2026-11-26 00:22", "2026-11-26 00:37", "2026-11-26 00:52", "2026-11-26 01:07",
    ]  # fmt: skip


# -- a fleet's day ---------------------------------------------------------------------------------

SLOTS = 4
LATEST = 60.0
"""Seconds by which a start may be late."""
ALONE = (5.6, 6.3, 6.4, 6.6, 6.9, 7.3)
FOUR_AT_ONCE = (10.3, 11.4, 12.4, 12.5, 13.3, 14.9, 15.7, 15.8, 18.2, 22.6)
"""Seconds for which an hourly backup of a small database (1 MB) takes its slot, measured on two cores: a
process worker, from the moment it is due to its last state. Most of it is a process that starts."""
LARGE = 60.0
"""Assumed of every tenth database, which holds gigabytes."""
DURATIONS = 9 * (*ALONE, *FOUR_AT_ONCE) + len((*ALONE, *FOUR_AT_ONCE)) * (LARGE,)


def lateness(starts: Iterable[tuple[float, float]], slots: int) -> list[float]:
    """How long each run waits for a slot: in the order they are due, as a work pool hands them out.

    Args:
        starts: When each is due, and how long it takes; in seconds.
    """
    free = [0.0] * slots
    waited = []
    for due, seconds in sorted(starts):
        begins = max(due, heapq.heappop(free))
        heapq.heappush(free, begins + seconds)
        waited.append(begins - due)
    return waited


def day_of(crons: Iterable[str], durations: Sequence[float]) -> list[tuple[float, float]]:
    """A whole day of these lines, each run as long as one of the durations."""
    chosen = random.Random(6)
    with zones_at_hand():
        dates = [at for cron in crons for at in next_dates(cron, 24)]
    return [((at - THURSDAY).total_seconds(), chosen.choice(durations)) for at in dates]


def test_the_simulation_itself_queues() -> None:
    assert lateness([(0, 10), (0, 10), (0, 10), (5, 10)], slots=2) == [0, 0, 10, 5]


def test_no_hourly_backup_of_200_starts_a_minute_late_on_four_slots() -> None:
    """Four a minute at most, and what is done within a minute makes nobody wait."""
    starts = day_of(of_slug("hourly", FLEET).values(), DURATIONS)
    assert len(starts) == 4800
    assert max(lateness(starts, SLOTS)) <= LATEST


def test_what_four_slots_can_bear() -> None:
    """200 x 60 s are 83 % of 4 x 3600 s, and nobody waits; at 65 s, 90 %, some start a minute late; at 72 s
    the slots are full. One run in ten of three minutes is too much as well: four slots are soon taken."""
    lines = list(of_slug("hourly", FLEET).values())
    assert max(lateness(day_of(lines, [60.0]), SLOTS)) == 0
    assert LATEST < max(lateness(day_of(lines, [65.0]), SLOTS)) < 2 * LATEST
    assert max(lateness(day_of(lines, 9 * [20.0] + [180.0]), SLOTS)) > LATEST
    assert max(lateness(day_of(lines, 9 * [20.0] + [180.0]), 6)) <= LATEST


def test_what_spreading_is_good_for() -> None:
    """All at the full hour, the last ones wait more than ten minutes."""
    assert max(lateness(day_of(["0 * * * *"] * 200, DURATIONS), SLOTS)) > 10 * LATEST
