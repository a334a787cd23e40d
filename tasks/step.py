"""What every task has in common: retried when that may help and only then, never cached, never talkative."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, cast

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.logging import get_run_logger
from prefect.states import Failed
from prefect.tasks import exponential_backoff

from pra.errors import PraError
from pra.procedures.session import Learned

RETRIES = 2
RETRY_SECONDS = 2.0


class Handle[T]:
    """One thing that travels between tasks unseen.

    Prefect walks through every argument of a task, into dataclasses too, which costs seconds for a
    fingerprint; and what it has walked through it may copy. It does not look into this.
    """

    __slots__ = ("held",)

    def __init__(self, held: T) -> None:
        self.held = held

    def __repr__(self) -> str:
        return f"<{type(self.held).__name__}>"  # states are logged with what they hold


def transient(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Retry when the error says that the same call may succeed, and in no other case."""
    return isinstance(state.data, PraError) and state.data.transient


def step[**P, R](
    name: str, *, run_name: str | None = None, retries: int = RETRIES
) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a task.

    Args:
        name: As the history shows it; what the timeline calls the step.
        run_name: A template over the arguments, where several runs must be told apart.
        retries: Further tries after a transient error.
    """

    def decorate(function: Callable[P, R]) -> Task[P, R]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            with discreet():
                return function(*args, **kwargs)

        return task(
            name=name,
            task_run_name=run_name or name,
            retries=retries,
            retry_delay_seconds=exponential_backoff(RETRY_SECONDS),
            retry_jitter_factor=0.2,
            retry_condition_fn=transient,
            cache_policy=NO_CACHE,
            persist_result=False,
        )(call)

    return decorate


@contextmanager
def discreet() -> Iterator[None]:
    """Let no exception carry more than a `PraError` says: Prefect logs whole chains of them.

    A driver's exception, hidden behind ours as its cause, quotes the values of rows.
    """
    try:
        yield
    except Learned:
        raise
    except PraError as error:
        error.__cause__ = error.__context__ = None
        error.__suppress_context__ = True
        raise
    except Exception as error:
        raise _unexpected(error) from None


def _unexpected(error: Exception) -> PraError:
    frames = traceback.extract_tb(error.__traceback__)
    get_run_logger().error(
        "unexpected %s; its text is not shown, it may quote rows\n%s",
        type(error).__name__,
        "".join(traceback.format_tb(error.__traceback__)),
    )
    ours = [frame for frame in frames if "site-packages" not in frame.filename] or frames
    return PraError(
        f"unexpected {type(error).__name__} in {Path(ours[-1].filename).name}:{ours[-1].lineno}",
        op="run",
        hint="This is a mistake in the software: report it with this line.",
    )


def red[T](result: Handle[T], message: str) -> Handle[T]:
    """Show a task in red although it did its work and has a result: read it with ``raise_on_failure=False``.

    To Prefect, a state that is returned is the outcome; it is not an exception, hence never retried.
    """
    return cast(Handle[T], Failed(name="Fail", message=message, data=result))
