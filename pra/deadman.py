"""Ends the process groups that a SIGKILL of ours would leave behind.

The kernel's parent-death signal reaches a tool, not the tool's own children: a worker of a parallel `pg_dump`
looks for its leader only between two tables, and until then reads production for nobody. A shell in a session
of its own waits at a pipe whose other end only we hold: when we die, however we die, it reads the end of file
and kills the groups that it was told of.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading

_SCRIPT = """
groups=
while read -r sign group; do
  case $sign in
    +) groups="$groups $group" ;;
    -) kept=; for each in $groups; do [ "$each" = "$group" ] || kept="$kept $each"; done; groups=$kept ;;
  esac
done
for each in $groups; do kill -s KILL -- "-$each" 2>/dev/null; done
"""


class DeadMan:
    """Watches over the groups it was told of. `ready` before the first one, `close` once all are ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shell: subprocess.Popen[bytes] | None = None
        self._groups: set[int] = set()

    def ready(self) -> None:
        """Start watching, before the first group is made: from its start to `watch` nobody knows of it.

        Raises:
            OSError: No shell could be started.
        """
        with self._lock:
            if self._shell is None:
                self._shell = subprocess.Popen(
                    ["/bin/sh", "-c", _SCRIPT],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={},
                    cwd="/",
                    start_new_session=True,  # what a terminal sends to our group must not reach it
                )

    def watch(self, group: int) -> None:
        """Kill this group when we are dead."""
        with self._lock:
            self._groups.add(group)
            self._say("+", group)

    def forget(self, group: int) -> None:
        """It has ended: its number may soon be somebody else's."""
        with self._lock:
            if group in self._groups:
                self._groups.remove(group)
                self._say("-", group)

    def close(self) -> None:
        """Every group has ended."""
        with self._lock:
            shell, self._shell = self._shell, None
            groups, self._groups = self._groups, set()
            if shell is None or shell.stdin is None:
                return
            with contextlib.suppress(BrokenPipeError):
                shell.stdin.write(b"".join(b"- %d\n" % group for group in groups))
                shell.stdin.close()
        shell.wait(10)

    def _say(self, sign: str, group: int) -> None:
        if self._shell is not None and self._shell.stdin is not None:
            # Somebody killed the shell: the parent-death signal is what is left.
            with contextlib.suppress(BrokenPipeError):
                self._shell.stdin.write(f"{sign} {group}\n".encode())
                self._shell.stdin.flush()
