"""Calls that end in time, whatever they wait for: what does not answer is left to itself."""

from __future__ import annotations

import threading
from collections.abc import Callable


class TimedOut(Exception):
    """No answer within the limit. What was called may still be at work."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no answer within {seconds:g} s")


def within[Result](seconds: float, call: Callable[[], Result]) -> Result:
    """Call it in a thread of its own: a server that trickles bytes defeats a socket's timeout.

    Raises:
        TimedOut: It did not return in time. Whatever it raises is raised here.
    """
    answer: list[Result] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            answer.append(call())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, name="limited", daemon=True)
    thread.start()
    thread.join(seconds)
    if failure:
        raise failure[0]
    if not answer:
        raise TimedOut(seconds)
    return answer[0]
