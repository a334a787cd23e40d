"""The same call for many things at once, in threads that nobody waits for at the end of the process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

AT_ONCE = 8


def side_by_side[Item, Result](
    call: Callable[[Item], Result], items: Sequence[Item], at_once: int = AT_ONCE
) -> list[Result]:
    """The results in the order of the items.

    A pool of the standard library is joined when the process ends: a read that hangs would hold it up. These
    are daemons, so that whoever gives up the caller gives them up as well.

    Raises:
        Exception: The first that a call raised; what was not begun by then is not begun any more.
    """
    if len(items) < 2 or at_once < 2:
        return [call(item) for item in items]
    results: dict[int, Result] = {}
    failures: list[BaseException] = []
    waiting = iter(enumerate(items))
    lock = threading.Lock()

    def work() -> None:
        while not failures:
            with lock:
                number, item = next(waiting, (-1, None))
            if item is None or number < 0:
                return
            try:
                results[number] = call(item)
            except BaseException as error:
                failures.append(error)

    threads = [
        threading.Thread(target=work, name=f"side by side {number}", daemon=True)
        for number in range(min(at_once, len(items)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return [results[number] for number in range(len(items))]
