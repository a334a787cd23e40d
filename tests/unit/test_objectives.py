"""RPO from what a repository holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pra.objectives import Point, longest_gap


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 11, 22, hour, minute, tzinfo=UTC)


def test_no_backup_is_not_a_duration() -> None:
    assert longest_gap([], at(12)) is None


def test_the_worst_moment_is_just_before_the_next_publication() -> None:
    points = [Point(at(10), at(10, 2)), Point(at(11), at(11, 3))]
    assert longest_gap(points, at(11, 30)) == timedelta(minutes=63)


def test_the_open_gap_counts_too() -> None:
    points = [Point(at(10), at(10, 2)), Point(at(11), at(11, 3))]
    assert longest_gap(points, at(14)) == timedelta(hours=3)


def test_gaps_that_closed_before_the_last_verification_are_left_out() -> None:
    points = [Point(at(1), at(1, 1)), Point(at(9), at(9, 1)), Point(at(10), at(10, 1))]
    assert longest_gap(points, at(10, 30), since=at(9, 30)) == timedelta(minutes=61)
    assert longest_gap(points, at(10, 30)) == timedelta(hours=8, minutes=1)


def test_a_clock_set_back_gives_no_negative_gap() -> None:
    assert longest_gap([Point(at(10), at(10, 1))], at(9)) == timedelta(0)
