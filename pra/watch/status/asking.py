"""Questions asked side by side, each under a limit of its own: one that hangs is left to itself.

A thread that waits in a driver for a server that says nothing cannot be stopped. It is abandoned, as a
daemon: neither the pass nor the end of the process waits for it.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pra.errors import PraError
from pra.watch.status.finding import Finding, Level

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Question:
    """One probe, not yet asked.

    Attributes:
        name: Of the probe, for people: ``akig: server``.
        covers: The names of the findings there will be at least; where there is no answer, each of them is
            answered with that.
        silence: What no answer means: ``unknown``, or ``critical`` where answering is what is asked about.
        seconds: Its limit.
    """

    name: str
    target: str
    covers: tuple[str, ...]
    ask: Callable[[], Sequence[Finding]]
    seconds: float
    silence: Level = Level.UNKNOWN


def ask(question: Question) -> list[Finding]:
    """Ask one question; never longer than its limit, and never raises."""
    answer: queue.SimpleQueue[list[Finding]] = queue.SimpleQueue()
    thread = threading.Thread(
        target=lambda: answer.put(_answered(question)), name=f"probe {question.name}", daemon=True
    )
    thread.start()
    try:
        return answer.get(timeout=question.seconds)
    except queue.Empty:
        fact = f"no answer within {question.seconds:g} s"
        return [
            Finding(name, question.target, question.silence, fact, hint=_HINT) for name in question.covers
        ]


def ask_all(questions: Sequence[Question], *, concurrency: int) -> list[Finding]:
    """Ask all of them, so many at once. Ends when the last has answered, or was given up."""
    found: list[Finding] = []
    waiting = list(reversed(questions))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if not waiting:
                    return
                question = waiting.pop()
            answers = ask(question)
            with lock:
                found.extend(answers)

    threads = [
        threading.Thread(target=work, name=f"asking {number}", daemon=True)
        for number in range(min(concurrency, len(questions)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def _answered(question: Question) -> list[Finding]:
    """What the probe says; what it raises is an answer too."""
    start = time.monotonic()
    try:
        return list(question.ask())
    except PraError as error:
        return [
            Finding(name, question.target, Level.UNKNOWN, error.message, hint=error.hint)
            for name in question.covers
        ]
    except Exception as error:
        # A mistake of ours in one probe must not hide what the others find. Its text may hold anything.
        _log.exception("probe %s failed after %.1f s", question.name, time.monotonic() - start)
        fact = f"the probe failed: unexpected {type(error).__name__}"
        hint = "This is a mistake in the software: report it with this line."
        return [Finding(name, question.target, Level.UNKNOWN, fact, hint=hint) for name in question.covers]


_HINT = "Look whether the machine behind it answers at all; more time: limit under [status]."
