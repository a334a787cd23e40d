"""Numbers, moments and durations as the reader's language writes them; and words for what records name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from babel.dates import format_date, format_datetime, format_time
from babel.numbers import format_decimal, format_percent, get_decimal_symbol
from babel.units import format_unit

from pra.messages import mark, translator
from pra.timing import format_duration

_LOCALES = {"en": "en_GB", "fr": "fr"}
"""British English for its 24-hour clock: a record has no room for AM and PM."""
_LONGEST = 600
_UNITS = ((1e12, "terabyte"), (1e9, "gigabyte"), (1e6, "megabyte"), (1e3, "kilobyte"))

_NAMES: Mapping[str, str] = {
    "abort": mark("abort"),
    "accepted unverified": mark("accepted unverified"),
    "announce": mark("announce"),
    "approve": mark("approve"),
    "approved": mark("approved"),
    "automatic": mark("automatic: nobody was asked"),
    "baseline": mark("baseline"),
    "checks": mark("checks"),
    "compared": mark("compared"),
    "detect": mark("detect"),
    "detected": mark("detected"),
    "disaster": mark("disaster"),
    "drill": mark("drill"),
    "failed": mark("failed"),
    "failover": mark("failover"),
    "fence": mark("fence"),
    "fenced": mark("fenced"),
    "heavy": mark("heavy"),
    "inject": mark("inject"),
    "interrupted": mark("interrupted"),
    "light": mark("light"),
    "located": mark("located"),
    "logs sealed": mark("logs sealed"),
    "moved back": mark("moved back"),
    "not_applicable": mark("not applicable"),
    "passed": mark("passed"),
    "passwords rotated": mark("passwords rotated"),
    "plan": mark("plan"),
    "prepare": mark("prepare"),
    "proceed": mark("proceed"),
    "proven": mark("proven"),
    "re-protect": mark("protect again"),
    "recover": mark("recover"),
    "recovered": mark("recovered"),
    "repaired": mark("repaired"),
    "report": mark("report"),
    "restart given up": mark("restart given up"),
    "restore": mark("restore"),
    "service": mark("service answers"),
    "skipped": mark("skipped"),
    "switch": mark("switch"),
    "teardown": mark("teardown"),
    "valid": mark("valid"),
}


class Words:
    """One language. ``_`` translates a sentence; a language without catalogue reads English."""

    def __init__(self, language: str) -> None:
        self.language = language if language in _LOCALES else "en"
        self.locale = _LOCALES[self.language]
        self._ = translator(self.language)
        self.unknown = self._("unknown")

    def said(self, text: str) -> str:
        """A sentence from a record, translated where the catalogue has it; unknown where there is none."""
        return self._(text) if text.strip() else self.unknown

    def name(self, word: str) -> str:
        """A phase, an event, a decision or a status by its name in this language."""
        return self._(_NAMES[word]) if word in _NAMES else self.said(word)

    def number(self, value: float | None) -> str:
        return self.unknown if value is None else str(format_decimal(value, locale=self.locale))

    def share(self, value: float) -> str:
        """Whole per cent; what is little is never said to be nothing."""
        if 0 < value < 0.01:
            return f"<{format_percent(0.01, locale=self.locale)}"
        return str(format_percent(value, locale=self.locale))

    def duration(self, seconds: float | None) -> str:
        if seconds is None:
            return self.unknown
        if not seconds:
            return "0 s"
        text = format_duration(seconds).replace(".", get_decimal_symbol(self.locale))
        return text.replace(" d ", " j ") if self.language == "fr" else text

    def elapsed(self, seconds: float) -> str:
        """With its sign: before or after."""
        sign = "+" if seconds > 0 else "−" if seconds else ""
        return sign + self.duration(abs(seconds))

    def moment(self, at: datetime) -> str:
        return f"{format_datetime(at, 'medium', tzinfo=UTC, locale=self.locale)} UTC"

    def day(self, at: datetime) -> str:
        return str(format_date(at.astimezone(UTC), "medium", locale=self.locale))

    def clock(self, at: datetime) -> str:
        """The time of day alone, UTC."""
        return str(format_time(at, "HH:mm:ss", tzinfo=UTC, locale=self.locale))

    def size(self, count: int) -> str:
        """Bytes in the largest decimal unit that leaves a whole part."""
        for factor, unit in _UNITS:
            if count >= factor:
                return str(format_unit(count / factor, unit, "short", format="#,##0.0", locale=self.locale))
        return str(format_unit(count, "byte", "long", locale=self.locale))

    def yes_no(self, met: bool | None) -> str:
        return self.unknown if met is None else self._("yes") if met else self._("no")


def plain(value: Any) -> Any:
    """The same JSON with every text fit for one line: what comes from outside may hold anything.

    Control characters, and those that turn the direction of writing, would let a name rewrite the line it
    stands in; a text without end would push the rest off the page.
    """
    if isinstance(value, str):
        return _one_line(value)
    if isinstance(value, Mapping):
        return {_one_line(str(key)): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value


def _one_line(text: str) -> str:
    kept = "".join(c if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co") else " " for c in text)
    line = re.sub(r"\s+", " ", kept).strip()
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
