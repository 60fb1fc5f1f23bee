"""What no kill -9 may leave, on real processes under the real supervisor."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from deploy.local.config import ROOT, directories, load
from deploy.local.leftovers import MARK, marked
from deploy.local.ports import NAMES, find_free, variable
from deploy.local.status import status_table
from deploy.local.supervision import Supervisor

PATIENCE_SECONDS = 30


def eventually(check):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (answer := check()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return answer


class Runner:
    """`make run` of the small stack in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.output = directory / "output"
        # The ports of the servers that this test run itself stands on are not for the small stack.
        ports = {variable(name) for name in NAMES}
        kept = {name: value for name, value in os.environ.items() if name not in ports}
        self.environment = kept | {
            "TICKETING_DIR": str(directory),
            "TICKETING_CACHE": str(directories(os.environ)[1]),
            "PORT": str(find_free(())),
        }
        self.process: subprocess.Popen[bytes]

    def start(self, *arguments: str) -> Runner:
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deploy.local.tests.small_stack", *arguments],
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return self

    def until_up(self) -> Runner:
        mark = self.directory / "run" / "up"
        eventually(lambda: mark.exists() or self.process.poll() is not None)
        assert mark.exists(), self.printed
        return self

    def local(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "deploy.local", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    @property
    def supervisor(self) -> Supervisor:
        return Supervisor(load(self.environment))

    @property
    def printed(self) -> str:
        return self.output.read_text()

    def pid(self, name: str) -> int:
        return int(self.supervisor.infos()[name]["pid"])

    def everybody(self) -> list[psutil.Process]:
        return [each for each in marked(self.directory) if each.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture
def runner(tmp_path):
    runner = Runner(tmp_path)
    yield runner
    if hasattr(runner, "process") and runner.process.poll() is None:
        runner.process.terminate()
        runner.process.wait(timeout=PATIENCE_SECONDS)
    assert runner.everybody() == []


def test_everything_starts_in_order_and_ctrl_c_stops_it_in_the_opposite_order(runner):
    runner.start().until_up()
    assert len(runner.everybody()) == 7  # supervisord, three processes, their children

    runner.process.send_signal(signal.SIGINT)

    assert runner.process.wait(timeout=PATIENCE_SECONDS) == 0
    assert (runner.directory / "stopped").read_text().split() == ["gateway", "web", "database"]
    assert runner.everybody() == []
    assert "open the door" in runner.printed
    assert "stopping (SIGINT)" in runner.printed


def test_kill_9_of_make_run_leaves_no_process(runner):
    runner.start().until_up()

    runner.process.kill()

    eventually(lambda: runner.everybody() == [])


def test_kill_9_of_supervisord_leaves_no_process_and_is_told(runner):
    runner.start().until_up()

    os.kill(int((runner.directory / "run" / "supervisord.pid").read_text()), signal.SIGKILL)

    assert runner.process.wait(timeout=PATIENCE_SECONDS) == 1
    assert runner.everybody() == []
    assert "supervisord was killed" in runner.printed


def test_kill_9_of_both_at_once_leaves_no_process(runner):
    runner.start().until_up()
    supervisord = int((runner.directory / "run" / "supervisord.pid").read_text())

    runner.process.kill()
    os.kill(supervisord, signal.SIGKILL)

    eventually(lambda: runner.everybody() == [])


def test_what_an_earlier_run_left_is_ended_at_the_next_start(runner):
    with subprocess.Popen(
        ["sleep", "60"], env={MARK: str(runner.directory)}, start_new_session=True
    ) as left:
        runner.start().until_up()

        assert left.wait(timeout=PATIENCE_SECONDS) == -signal.SIGTERM
    assert "ended 1 processes that an earlier run had left" in runner.printed


def test_a_process_that_dies_is_restarted_and_shown_as_such(runner):
    runner.start().until_up()
    first = runner.pid("web")

    os.kill(first, signal.SIGKILL)

    eventually(lambda: runner.pid("web") not in (0, first))
    restarts = runner.directory / "run" / "restarts.json"
    eventually(lambda: json.loads(restarts.read_text()).get("web") == 1)
    [row] = [line for line in runner.local("status").splitlines() if line.startswith("web")]
    assert row.split()[-4] == "1"
    assert "web was restarted (restart 1)" in runner.printed


def test_a_process_that_cannot_start_is_told_with_its_last_lines(runner):
    runner.start("broken")

    assert runner.process.wait(timeout=PATIENCE_SECONDS) == 1
    assert "no such setting: X" in runner.printed
    assert "ticketing: broken ended 2 times. Its last lines are above" in runner.printed


def test_a_second_start_in_the_same_checkout_is_refused(runner):
    runner.start().until_up()

    second = subprocess.run(
        [sys.executable, "-m", "deploy.local.tests.small_stack"],
        cwd=ROOT,
        env=runner.environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert second.returncode == 1
    assert f"running already (pid {runner.process.pid})" in second.stderr
    assert "Traceback" not in second.stderr


def test_two_checkouts_run_side_by_side(runner, tmp_path):
    other_directory = tmp_path / "other"
    other_directory.mkdir()
    other = Runner(other_directory)

    runner.start().until_up()
    other.start().until_up()
    other.process.send_signal(signal.SIGINT)
    other.process.wait(timeout=PATIENCE_SECONDS)

    assert other.everybody() == []
    assert len(runner.everybody()) == 7


def test_make_stop_from_another_terminal_stops_everything(runner):
    runner.start().until_up()

    printed = runner.local("down")

    assert "Everything is stopped." in printed
    assert runner.process.wait(timeout=PATIENCE_SECONDS) == 0
    assert runner.everybody() == []


def test_status_logs_stop_and_reset_say_so_when_nothing_runs(runner):
    (runner.directory / "data").mkdir()

    assert "Nothing is running" in runner.local("status")
    assert "Nothing is running" in runner.local("down")
    assert "There is no log of 'web'" in runner.local("logs", "web")
    assert "are gone" in runner.local("reset")
    assert not (runner.directory / "data").exists()
    assert not (runner.directory / "secrets.json").exists()


def test_logs_show_each_line_with_its_process(runner):
    runner.start().until_up()

    printed = runner.local("logs", "--no-follow", "web", "gateway")

    assert "web                 | web is up" in printed
    assert "gateway             | gateway is up" in printed


def test_a_stopped_process_is_shown_without_memory(runner):
    runner.start().until_up()

    runner.supervisor.stop(("gateway",))

    table = status_table(load(runner.environment), runner.supervisor.infos())
    [row] = [line for line in table.splitlines() if line.startswith("gateway")]
    assert "stopped" in row
    assert row.endswith("-")


def test_a_taken_port_ends_in_one_clear_line(runner):
    with socket.create_server(("127.0.0.1", int(runner.environment["PORT"]))):
        runner.start()

        assert runner.process.wait(timeout=PATIENCE_SECONDS) == 1
    assert "(gateway) is taken by" in runner.printed
    assert "Traceback" not in runner.printed
