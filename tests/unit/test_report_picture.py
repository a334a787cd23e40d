"""The timeline: bars and marks stand where the record puts them, and every label stays inside."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from pra.drill.record import DrillRecord, Event, Step
from pra.report.blocks import Entry, History
from pra.report.chart import Chart, block_bar, chart_of
from pra.report.history import draw_history
from pra.report.picture import draw, ticks
from pra.report.svg import NARROW, WIDE
from pra.report.words import Words
from tests.fix_report import EVENTS, RECORDS, STEPS, at, crowded, failover, interrupted, passed

WORDS = Words("en")
EDGE = 10


def chart(record: DrillRecord) -> Chart:
    found = chart_of(record)
    assert found is not None
    return found


def bars(picture: str) -> list[tuple[str, float, float]]:
    """Kind, left edge and width of every phase's bar, from top to bottom; the legend's are not rounded."""
    found = re.findall(r'<rect class="bar (\w+)" x="([\d.]+)" y="[\d.]+" width="([\d.]+)" [^>]*rx', picture)
    return [(kind, float(x), float(width)) for kind, x, width in found]


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_bars_stand_where_their_phases_were(width: int) -> None:
    record = passed()
    drawn = bars(draw(chart(record), WORDS, width))
    begin = record.steps[0].started_at
    span = (record.steps[-1].started_at - begin).total_seconds() + record.steps[-1].seconds
    unit = (width - 2 * EDGE) / span
    assert len(drawn) == len(record.steps)
    for (kind, x, length), step in zip(drawn, record.steps, strict=True):
        assert kind == ("wait" if step.waiting else "work")
        assert x == pytest.approx(EDGE + (step.started_at - begin).total_seconds() * unit, abs=0.06)
        assert length == pytest.approx(max(step.seconds * unit, 2), abs=0.06)


def test_marks_stand_at_their_events() -> None:
    picture = draw(chart(passed()), WORDS, WIDE)
    unit = (WIDE - 2 * EDGE) / (
        STEPS[-1].started_at - STEPS[0].started_at + timedelta(seconds=3.2)
    ).total_seconds()
    drawn = [float(x) for x in re.findall(r'<circle class="mark \w+" cx="([\d.]+)"', picture)]
    expected = [EDGE + (event.at - at(0)).total_seconds() * unit for event in EVENTS]
    assert drawn == pytest.approx(expected, abs=0.06)
    for words in ("disaster", "detected +8.20 s", "service answers +1 min 45 s", "proven +2 min 12 s"):
        assert f">{words}</text>" in picture


def test_waiting_is_hatched_and_said() -> None:
    picture = draw(chart(passed()), WORDS, WIDE)
    assert f'fill="url(#hatch-{WIDE})"' in picture
    assert "approve · 31.0 s · waiting for a person" in picture
    assert "hatch" not in draw(chart(interrupted()), WORDS, WIDE).partition("</defs>")[2]


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_everything_stays_inside(name: str, width: int) -> None:
    picture = draw(chart(RECORDS[name]()), WORDS, width)
    for x, anchor, words in re.findall(r'<text [^>]*x="([\d.-]+)"[^>]*anchor="(\w+)"[^>]*>([^<]*)<', picture):
        length = len(re.sub(r"&\w+;", "x", words)) * 7
        begin = float(x) - {"start": 0, "middle": length / 2, "end": length}[anchor]
        assert begin >= -1, words
        assert begin + length <= width + 1, words
    for _, left, bar in bars(picture):
        assert left + bar <= width


def test_without_a_disaster_zero_is_the_beginning() -> None:
    record = passed(events=())
    assert chart(record).from_disaster is False
    assert "since the beginning" in draw(chart(record), WORDS, WIDE)


def test_nothing_timed_makes_no_picture() -> None:
    assert chart_of(passed(steps=(), events=())) is None


def test_the_moment_of_noticing_does_not_stretch_the_axis() -> None:
    assert chart(interrupted()).seconds == pytest.approx(21.7)


def test_one_moment_alone_can_be_drawn() -> None:
    record = passed(steps=(), events=(Event("disaster", at(0)),))
    assert "<svg" in draw(chart(record), WORDS, NARROW)


def test_a_crowd_keeps_the_longest_phases_and_the_turning_points() -> None:
    found = chart(crowded())
    assert len(found.bars) == 30
    assert found.left_out == 170
    assert min(bar.seconds for bar in found.bars) > 1.16
    assert {event.name for event in EVENTS} <= {mark.name for mark in found.marks}
    assert len(found.marks) == 10


@pytest.mark.parametrize(
    ("seconds", "most", "step"),
    [(3, 10, 0.5), (149, 10, 15), (149, 4, 60), (7000, 10, 900), (1e6, 10, 172800)],
)
def test_the_axis_has_round_steps(seconds: float, most: int, step: float) -> None:
    found, moments = ticks(Chart(0, seconds, True, (), (), None), most)
    assert found == step
    assert moments[0] == 0
    assert 2 <= len(moments) <= most + 1


def test_the_axis_says_its_unit() -> None:
    assert "seconds since the disaster" in draw(chart(passed()), WORDS, WIDE)
    assert "minutes since the disaster" in draw(chart(failover()), WORDS, WIDE)


def test_a_bar_of_characters_is_never_empty_nor_too_long() -> None:
    began = datetime(2026, 6, 6, tzinfo=UTC)
    steps = tuple(Step("s", began + timedelta(seconds=i), 0.0 if i % 2 else 3.0) for i in range(20))
    found = chart(passed(steps=steps, events=()))
    for bar in found.bars:
        line = block_bar(found, bar)
        assert len(line) == 24
        assert "█" in line


def history(target: float | None) -> str:
    entries = (Entry("now", 100.0, "good"), Entry("then", 50.0, "bad"), Entry("before", None, "unsure"))
    return draw_history(History("t", entries, "target", target), WIDE)


def test_the_trend_has_bars_as_long_as_their_drills_and_none_for_the_unknown() -> None:
    found = re.findall(r'<rect class="bar (\w+)" x="10" y="[\d.]+" width="([\d.]+)"', history(None))
    assert [(tone, float(width)) for tone, width in found] == [
        ("good", WIDE - 2 * EDGE),
        ("bad", (WIDE - 2 * EDGE) / 2),
    ]
    assert ">before</text>" in history(None)


def test_a_near_target_is_a_line_across_the_trend_and_a_far_one_is_not() -> None:
    assert f'x1="{EDGE + (WIDE - 2 * EDGE) / 2:.1f}"' in history(50)
    assert f'x1="{WIDE - EDGE:.1f}"' in history(200)
    assert "<line" not in history(1800)
    assert "<line" not in history(None)
