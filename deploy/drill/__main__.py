"""python -m deploy.drill: buy, back up, buy on, lose every store, restore, and prove what is left.

It runs a stack of its own in a directory that it throws away, and touches no other.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from deploy.drill import stores
from deploy.drill.buyers import Buyers, NotSold, Shop
from deploy.local import leftovers
from deploy.local.config import ROOT, SERVICES, Config, directories, load
from deploy.local.ending import end
from deploy.local.entries import environment_of_service
from deploy.local.errors import CannotContinue
from deploy.local.ports import find_free
from deploy.local.supervision import Supervisor
from deploy.local.testing import wait_until_up

SECONDS_TO_STOP = 90
SECONDS_TO_SETTLE = 300
PAUSE_SECONDS = 2.0
BUYERS = 4
EXAMPLE = """\
example:
  make drill                          some five to ten minutes on two cores
  python -m deploy.drill --seconds 60 --keep
"""

Log = Callable[[str], None]


class Failed(Exception):
    """The drill has shown that something is lost, or could not show that it is not."""


class Drill:
    """One disaster.

    Args:
        home: a directory of its own.
        log: takes each line of the story.
    """

    def __init__(self, home: Path, log: Log) -> None:
        _, cache = directories(os.environ)
        self.home = home
        self.log = log
        self.environment = dict(os.environ) | {
            "TICKETING_DIR": str(home),
            "TICKETING_CACHE": str(cache),
            "PORT": str(find_free(())),
            "PYTHONUNBUFFERED": "1",
        }
        self.output = home / "output.log"

    def run(self, seconds: float) -> None:
        """Do it all.

        Raises:
            Failed: something was lost that must not be.
        """
        backup = self.home / "backup"
        backup.mkdir()
        with self.running() as up:
            config = self.config
            self.log("the system is up; people begin to buy")
            early = self.buy(seconds)
            known = self.back_up(backup)
            late = self.buy(seconds / 2)
            up.kill()
            up.wait()
        leftovers.end_leftovers(config.directory, config.run / "processes.json")
        self.log(f"every process was killed; {len(late)} purchases were made after the backup")
        stores.destroy(config)
        self.log(f"the data of {', '.join(stores.LOST)} is destroyed")
        began = time.monotonic()
        stores.restore(config, backup)
        self.log("the backup is in its place")
        with self.running("servers"):
            self.recover_slot()
        with self.running():
            self.log(f"the system is up again, {time.monotonic() - began:.0f} s after the loss")
            self.prove(early, late, known)

    @property
    def config(self) -> Config:
        return load(self.environment)

    @contextmanager
    def running(self, what: str = "up") -> Iterator[subprocess.Popen[bytes]]:
        """Keep the stack running.

        Args:
            what: the command of deploy.local: all of it, or the servers alone.
        """
        (self.home / "run" / "up").unlink(missing_ok=True)
        with self.output.open("ab") as output:
            process = subprocess.Popen(
                (sys.executable, "-m", "deploy.local", what),
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until_up(process, self.home, self.output)
            yield process
        finally:
            end(process, within=SECONDS_TO_STOP)

    def buy(self, seconds: float) -> list[str]:
        """Let people buy for so long; return the orders that they have paid."""
        buyers = Buyers(self.config.public_url, BUYERS)
        buyers.start()
        time.sleep(seconds)
        buyers.stop()
        if not buyers.paid:
            raise Failed("nobody could buy anything")
        self.log(f"{len(buyers.paid)} purchases were paid")
        return buyers.paid

    def back_up(self, to: Path) -> dict[str, str]:
        """Take the backup while nothing writes; return the orders that it holds."""
        config, supervisor = self.config, Supervisor(self.config)
        began = time.monotonic()
        names = stores.freeze(supervisor)
        self.log(f"{len(names)} processes are stopped, people see 'back in a moment'")
        known = stores.orders(config)
        stores.back_up(config, supervisor, to)
        self.log(f"PostgreSQL, MongoDB and Kafka are copied: {stores.size(to) / 1e6:.0f} MB")
        stores.thaw(supervisor, names)
        shop = Shop(config.public_url)
        shop.sign_up()
        shop.await_complete(shop.buy())
        shop.close()
        states = ", ".join(f"{count} {name}" for name, count in Counter(known.values()).items())
        self.log(
            f"somebody has bought again {time.monotonic() - began:.0f} s after the stop; "
            f"the backup holds {len(known)} orders ({states})"
        )
        return known

    def recover_slot(self) -> None:
        """Make the slot anew as docs/operations.md says, before anything else goes on."""
        status, said = self.manage(
            "orders",
            *("guard_slot", "--recover", "--by", "drill", "--note", "restored from a backup"),
        )
        if status != 0:
            raise Failed(f"guard_slot --recover: {said}")
        self.log(f"guard_slot --recover: {said.splitlines()[-1]}")

    def prove(self, early: list[str], late: list[str], known: Mapping[str, str]) -> None:
        config = self.config

        def lost() -> list[str]:
            now = stores.orders(config)
            gone = [each for each in known if each not in now]
            unpaid = [each for each in early if now.get(each) != "complete"]
            undone = [each for each, was in known.items() if was == "complete" != now.get(each)]
            return [*gone, *unpaid, *undone]

        self.eventually("orders of the backup are lost", lambda: not lost() or lost())
        self.log(f"all {len(known)} orders are there, all {len(early)} that were paid are complete")
        forgotten = [each for each in late if each not in stores.orders(config)]
        self.log(f"{len(forgotten)} of {len(late)} purchases after the backup are gone: the RPO")
        for service in SERVICES:
            self.eventually(f"audit_outbox of {service}", partial(self.is_balanced, service))
        self.log("audit_outbox: nothing lost, invented or out of order, in five services")
        for command in (("guard_slot",), ("apply_connector", "--check")):
            status, said = self.manage("orders", *command)
            if status != 0:
                raise Failed(f"{command[0]}: {said}")
        self.log("guard_slot and apply_connector --check: the slot is read, nothing differs")
        self.eventually("reconciliation", partial(self.is_reconciled, forgotten))
        shop = Shop(config.public_url)
        shop.sign_up()
        ticket = shop.await_complete(shop.buy())
        shop.close()
        self.log(f"a new purchase went through, ticket {ticket} is sold")

    def is_balanced(self, service: str) -> bool | str:
        status, said = self.manage(service, "audit_outbox")
        return status == 0 or said

    def is_reconciled(self, forgotten: list[str]) -> bool | str:
        """Say whether what differs are the charges of all orders that were forgotten, alone."""
        status, said = self.manage("payments", "reconcile_payments", "--json", "--grace", "5")
        lines = [line for line in said.splitlines() if line.startswith("{")]
        if not lines:
            return f"status {status}: {said}"
        differences = json.loads(lines[-1])["differences"]
        charged = {each["order_id"] for each in differences if each["kind"] == "unknown_charge"}
        if len(differences) != len(charged) or not charged.issuperset(forgotten):
            return said
        self.log(
            f"reconcile_payments: {len(charged)} unknown charges, all {len(forgotten)} of the "
            "purchases that are gone among them; nothing else differs"
        )
        return True

    def manage(self, service: str, *arguments: str) -> tuple[int, str]:
        """Run a command of a service, and return its status and what it printed."""
        done = subprocess.run(
            (sys.executable, "-W", "ignore", "manage.py", *arguments),
            cwd=ROOT,
            env=self.environment | environment_of_service(self.config, service),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout.strip()

    def eventually(self, what: str, check: Callable[[], object]) -> None:
        """Ask until the answer is True.

        Raises:
            Failed: it never was; the last answer is told.
        """
        deadline = time.monotonic() + SECONDS_TO_SETTLE
        while (answer := check()) is not True:
            if time.monotonic() > deadline:
                raise Failed(f"{what}: {answer}")
            time.sleep(PAUSE_SECONDS)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.drill",
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=30, help="how long people buy first")
    parser.add_argument("--keep", action="store_true", help="keep the directory with its logs")
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="ticketing-drill-"))
    began = time.monotonic()

    def log(text: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {text}", flush=True)

    try:
        Drill(home, log).run(options.seconds)
    except (Failed, NotSold, CannotContinue) as exc:
        log(f"FAILED: {exc}")
        print(f"The logs are in {home}.", flush=True)
        return 1
    log("passed")
    if not options.keep:
        shutil.rmtree(home, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
