"""Questions asked side by side, each under a limit of its own: one that hangs is left to itself.

A thread that waits in a driver for a server that says nothing cannot be stopped. It is abandoned, as a
daemon: neither the pass nor the end of the process waits for it.

What many questions are put to (a repository of 200 targets) is a `Source`. One that says nothing is not
waited for 200 times, and never takes all the places: until it has answered once only few questions are put to
it, and when those got no answer the others are not asked. That is said, and is `unknown`.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pra.errors import ConnectError, PraError, StorageError
from pra.watch.status.finding import Finding, Level

_log = logging.getLogger(__name__)


class Source:
    """What several questions are put to, and whether it has answered in this pass.

    Args:
        name: For people: ``repository offsite``, ``the database``.
        tries: So many questions without an answer, one after the other, and it is not asked any more.
    """

    def __init__(self, name: str, *, tries: int) -> None:
        self.name, self.tries = name, tries
        self._lock = threading.Lock()
        self._missed = 0
        self._answered = False

    @property
    def answered(self) -> bool:
        """It has said something, and was not silent since."""
        return self._answered and self._missed < self.tries

    @property
    def silent(self) -> bool:
        return self._missed >= self.tries

    def has_room(self, busy: int) -> bool:
        """Whether one more may go to it while so many are on their way. A silent one is not asked."""
        return self.answered or self.silent or busy + self._missed < self.tries

    def heard(self, *, answer: bool) -> None:
        """What became of one question."""
        with self._lock:
            self._answered |= answer
            self._missed = 0 if answer else self._missed + 1


@dataclass(frozen=True)
class Question:
    """One probe, not yet asked.

    Attributes:
        name: Of the probe, for people: ``akig: server``.
        covers: The names of the findings there will be at least; where there is no answer, each of them is
            answered with that.
        silence: What no answer means: ``unknown``, or ``critical`` where answering is what is asked about.
        seconds: Its limit.
        source: What it is put to, where others are put to the same.
    """

    name: str
    target: str
    covers: tuple[str, ...]
    ask: Callable[[], Sequence[Finding]]
    seconds: float
    silence: Level = Level.UNKNOWN
    source: Source | None = None


def ask(question: Question) -> list[Finding]:
    """Ask one question; never longer than its limit, and never raises."""
    source = question.source
    if source is not None and source.silent:
        return _for_all(question, Level.UNKNOWN, f"not asked: {source.name} does not answer", _HINT)
    answer: queue.SimpleQueue[tuple[list[Finding], bool]] = queue.SimpleQueue()
    thread = threading.Thread(
        target=lambda: answer.put(_answered(question)), name=f"probe {question.name}", daemon=True
    )
    thread.start()
    try:
        found, heard = answer.get(timeout=question.seconds)
    except queue.Empty:
        fact = f"no answer within {question.seconds:g} s"
        found, heard = _for_all(question, question.silence, fact, _HINT), False
    if source is not None:
        source.heard(answer=heard)
    return found


def ask_all(questions: Sequence[Question], *, concurrency: int) -> list[Finding]:
    """Ask all of them, so many at once. Ends when the last has answered, or was given up."""
    found: list[Finding] = []
    waiting = list(questions)
    busy: Counter[Source] = Counter()
    turn = threading.Condition()

    def chosen() -> Question | None:
        """The first that may be asked now, with its place taken; None once there is none left."""
        while waiting:
            for place, question in enumerate(waiting):
                source = question.source
                if source is None or source.has_room(busy[source]):
                    if source is not None:
                        busy[source] += 1
                    return waiting.pop(place)
            turn.wait()
        return None

    def work() -> None:
        while True:
            with turn:
                question = chosen()
            if question is None:
                return
            try:
                found.extend(ask(question))
            finally:
                with turn:
                    if question.source is not None:
                        busy[question.source] -= 1
                    turn.notify_all()

    threads = [
        threading.Thread(target=work, name=f"asking {number}", daemon=True)
        for number in range(min(concurrency, len(questions)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def _answered(question: Question) -> tuple[list[Finding], bool]:
    """What the probe says; what it raises is an answer too. And whether its source has answered at all."""
    start = time.monotonic()
    try:
        found = list(question.ask())
    except PraError as error:
        lost = error.transient and isinstance(error, StorageError | ConnectError)
        return _for_all(question, Level.UNKNOWN, error.message, error.hint), not lost
    except Exception as error:
        # A mistake of ours in one probe must not hide what the others find. Its text may hold anything.
        _log.exception("probe %s failed after %.1f s", question.name, time.monotonic() - start)
        fact = f"the probe failed: unexpected {type(error).__name__}"
        hint = "This is a mistake in the software: report it with this line."
        return _for_all(question, Level.UNKNOWN, fact, hint), True
    # Where answering is itself the question, a critical answer says that there was none.
    is_dead = question.silence is Level.CRITICAL and any(f.level is Level.CRITICAL for f in found)
    return found, not is_dead


def _for_all(question: Question, level: Level, fact: str, hint: str) -> list[Finding]:
    return [Finding(name, question.target, level, fact, hint=hint) for name in question.covers]


_HINT = "Look whether the machine behind it answers at all; more time: limit under [status]."
