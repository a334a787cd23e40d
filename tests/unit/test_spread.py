"""When each target's runs start: nowhere too many, always the same, and few move when others come."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.entries import Entry, expanded, read_entries
from deployments.spread import DAY, NIGHT, places, share, spread, window_of

FLEET = [f"customer-{number:03}" for number in range(400)]
NAMES = st.lists(st.text("abcdefghij-0123456789", min_size=1, max_size=12), unique=True, max_size=150)


def crons(targets: list[str]) -> dict[str, dict[str, str]]:
    """By slug, the line of each target; of what is about all, under its own name."""
    found: dict[str, dict[str, str]] = {}
    for entry in spread(expanded(read_entries(), targets)):
        for raw in entry.schedules:
            found.setdefault(raw["slug"], {})[entry.name] = raw["cron"]
    return found


@pytest.mark.parametrize(
    ("cron", "before", "minutes", "first", "last"),
    [
        ("0 * * * *", 0, 60, "0 * * * *", "59 * * * *"),
        ("5 */2 * * *", 0, 60, "0 */2 * * *", "59 */2 * * *"),
        ("0 8-18 * * 1-5", 0, 60, "0 8-18 * * 1-5", "59 8-18 * * 1-5"),
        ("*/15 * * * *", 0, 15, "0-59/15 * * * *", "14-59/15 * * * *"),
        ("0 3 * * 0", 0, NIGHT, "0 3 * * 0", "59 6 * * 0"),
        ("0 4 * * *", 120, NIGHT, "0 2 * * *", "59 5 * * *"),
        ("0 1 * * *", 120, NIGHT, "0 0 * * *", "59 3 * * *"),
        ("0 9 * 6 6#1", 0, NIGHT, "0 9 * 6 6#1", "59 12 * 6 6#1"),
        ("30 22 * * 6", 0, 90, "30 22 * * 6", "59 23 * * 6"),
    ],
)
def test_a_line_moves_within_its_window(cron: str, before: int, minutes: int, first: str, last: str) -> None:
    """Never into another hour of an hourly line, and never past midnight: it would be another day."""
    window = window_of(cron, before)
    assert window is not None
    assert (window.minutes, window.cron(0), window.cron(minutes - 1)) == (minutes, first, last)


@pytest.mark.parametrize(
    "cron", ["* * * * *", "0,30 * * * *", "*/7 * * * *", "10-20 3 * * *", "0 3 * *", "@daily"]
)
def test_a_line_that_somebody_chose_otherwise_stays(cron: str) -> None:
    assert window_of(cron) is None


def test_what_is_about_all_targets_stays_where_it_is() -> None:
    found = crons(FLEET[:200])
    assert found["every-five-minutes"] == {"all": "*/5 * * * *"}
    assert found["monday-morning"] == {"all": "0 6 * * 1"}


def test_the_minutes_of_a_release_are_those_of_the_next() -> None:
    """Another hash would move every backup of everybody at an upgrade."""
    assert crons(["akig", "billing", "archive"]) == {
        "hourly": {"akig": "2 * * * *", "archive": "34 * * * *", "billing": "30 * * * *"},
        "every-night": {"akig": "10 5 * * *", "archive": "45 2 * * *", "billing": "2 3 * * *"},
        "sunday-night": {"akig": "4 6 * * 0", "archive": "55 4 * * 0", "billing": "59 5 * * 0"},
        "first-of-the-month": {"akig": "12 4 1 * *", "archive": "40 4 1 * *", "billing": "46 5 1 * *"},
        "first-saturday-of-june": {
            "akig": "55 11 * 6 6#1", "archive": "9 9 * 6 6#1", "billing": "57 9 * 6 6#1",
        },
        "every-five-minutes": {"all": "*/5 * * * *"},
        "monday-morning": {"all": "0 6 * * 1"},
    }  # fmt: skip


def test_200_targets_are_nowhere_more_than_4() -> None:
    found = crons(FLEET[:200])
    most = {slug: max(Counter(lines.values()).values()) for slug, lines in found.items() if len(lines) == 200}
    assert most == {
        "hourly": 4,
        "sunday-night": 2,
        "first-of-the-month": 2,
        "first-saturday-of-june": 2,
        "every-night": 2,
    }
    used = {slug: len(set(lines.values())) for slug, lines in found.items()}
    assert used["hourly"] > 50
    assert used["every-night"] > 120


def test_the_flows_of_one_target_do_not_start_together() -> None:
    """Were the name alone hashed, verification, load test and drill of a target would share their minute."""
    found = crons(FLEET[:200])
    same = [
        target
        for target in FLEET[:200]
        if found["sunday-night"][target].split()[0] == found["every-night"][target].split()[0]
    ]
    assert len(same) < 15


@given(NAMES, st.sampled_from([15, 60, 240]))
@settings(max_examples=60, deadline=None)
def test_nowhere_too_many_and_the_order_does_not_matter(names: list[str], minutes: int) -> None:
    found = places(names, minutes, salt="backup")
    assert set(found) == set(names)
    assert all(0 <= minute < minutes for minute in found.values())
    assert max(Counter(found.values()).values(), default=0) <= share(len(names), minutes)
    shuffled = random.Random(6).sample(names, len(names))
    assert places(shuffled, minutes, salt="backup") == found


@pytest.mark.parametrize("count", [1, 10, 60, 100, 180, 199, 200, 240, 300])
def test_a_newcomer_or_a_leaver_moves_few_and_not_far(count: int) -> None:
    """Where the room of a minute steps up, some move nearer to what they prefer: a sixth, by minutes."""
    before = places(FLEET[:count], 60, salt="backup")
    after = places(FLEET[: count + 1], 60, salt="backup")
    moved = [name for name in before if before[name] != after[name]]
    assert len(moved) <= max(2, count // 4)
    assert all(distance(before[name], after[name]) <= 12 for name in moved)


def distance(one: int, other: int) -> int:
    return min((one - other) % 60, (other - one) % 60)


def test_every_schedule_of_one_target_has_a_window() -> None:
    """A slug that nobody thought of would start all targets at once."""
    for entry in read_entries():
        for raw in entry.schedules:
            moved = crons(FLEET[:50])[raw["slug"]]
            assert len(set(moved.values())) > 1 or entry.target is None, raw["slug"]


def test_nothing_else_of_an_entry_changes() -> None:
    entries = expanded(read_entries(), FLEET[:3])

    def rest(entry: Entry) -> list[object]:
        others = [{k: v for k, v in raw.items() if k != "cron"} for raw in entry.schedules]
        return [entry.name, entry.entrypoint, entry.parameters, entry.tags, others]

    assert [rest(entry) for entry in spread(entries)] == [rest(entry) for entry in entries]
    assert DAY == 1440
