"""The subprocess runner: limits, redaction, and whole process groups ended."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pra.errors import ToolError, ToolTimeout
from pra.proc import Scope


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and ") Z " not in stat.read_text()


def wait_until_gone(pid: int, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(pid)


def grandchild_of(process_pid_file: Path) -> int:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if process_pid_file.exists() and process_pid_file.read_text().strip():
            return int(process_pid_file.read_text())
        time.sleep(0.02)
    raise AssertionError("the grandchild did not start")


def test_output_is_returned_and_the_environment_is_minimal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-for-children")
    with Scope() as scope:
        done = scope.run(["env"], op="look", timeout=10, env={"GIVEN": "yes"})
    assert "GIVEN=yes" in done.stdout
    assert "not-for-children" not in done.stdout


def test_a_failing_tool_is_an_error_with_its_redacted_stderr() -> None:
    script = "echo 'DETAIL:  Key (iban)=(FR76) exists' >&2; echo 'ERROR: password=hunter22' >&2; exit 3"
    with Scope() as scope, pytest.raises(ToolError) as caught:
        scope.run(["sh", "-c", script], op="try", timeout=10, secrets=["hunter22"])
    assert caught.value.returncode == 3
    assert "FR76" not in caught.value.stderr + str(caught.value)
    assert "hunter22" not in caught.value.stderr + str(caught.value)
    assert "exited with 3" in caught.value.message


def test_a_missing_tool_says_which() -> None:
    with Scope() as scope, pytest.raises(ToolError, match="cannot start no-such-tool"):
        scope.run(["no-such-tool"], op="try", timeout=10)


def test_the_time_limit_ends_the_tool_and_its_children(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"sleep 300 & echo $! > {pid_file}; wait"
    with Scope() as scope:
        with pytest.raises(ToolTimeout, match="longer than 1 s"):
            scope.run(["sh", "-c", script], op="try", timeout=1)
        assert wait_until_gone(grandchild_of(pid_file))


def test_no_progress_is_a_timeout_and_progress_is_not() -> None:
    with Scope() as scope:
        with pytest.raises(ToolTimeout, match="no progress"):
            scope.run(["sleep", "300"], op="try", timeout=60, idle_timeout=0.5)
        talking = ["sh", "-c", "for i in 1 2 3 4 5 6; do echo $i; sleep 0.2; done"]
        assert scope.run(talking, op="try", timeout=60, idle_timeout=1).stdout.split()[-1] == "6"


def test_leaving_the_scope_ends_what_another_thread_waits_for() -> None:
    caught: list[BaseException] = []
    scope = Scope()

    def wait() -> None:
        try:
            scope.run(["sleep", "300"], op="try", timeout=300)
        except ToolError as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.3)
    scope.close()
    thread.join(timeout=15)
    assert not thread.is_alive()
    assert "stopped" in str(caught[0])


def test_a_closed_scope_starts_nothing() -> None:
    scope = Scope()
    scope.close()
    with pytest.raises(ToolError, match="the work was stopped"):
        scope.run(["true"], op="try", timeout=5)


def test_lines_are_followed_while_the_tool_runs() -> None:
    seen: list[str] = []
    with Scope() as scope:
        scope.run(["sh", "-c", "echo one >&2; echo two >&2"], op="try", timeout=10, on_line=seen.append)
    assert seen == ["one", "two"]


@pytest.mark.skipif(sys.platform != "linux", reason="parent-death signals are Linux's")
def test_tools_die_with_a_process_that_was_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = (
        "import time\nfrom pra.proc import Scope\n"
        f"p = Scope().start(['sleep', '300'], op='try')\nopen({str(pid_file)!r}, 'w').write(str(p.pid))\n"
        "time.sleep(300)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    try:
        child = grandchild_of(pid_file)
        parent.kill()
        parent.wait(10)
        assert wait_until_gone(child)
    finally:
        parent.kill()
        parent.wait(10)


def test_a_killed_process_takes_the_children_of_its_tools_along(tmp_path: Path) -> None:
    """The kernel's parent-death signal ends the tool alone."""
    pids = tmp_path / "pids"
    program = (
        "import time; from pra.proc import Scope; scope = Scope()\n"
        f"scope.start(['sh', '-c', 'sleep 60 & echo $$ $! > {pids}; wait'], op='test')\n"
        "print('started', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    deadline = time.monotonic() + 20
    while not (pids.exists() and pids.read_text().endswith("\n")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    tool, child = map(int, pids.read_text().split())
    assert alive(tool)
    assert alive(child)
    process.kill()
    process.wait(10)
    assert wait_until_gone(tool)
    assert wait_until_gone(child)
