"""The commands behind `make run`, `make status` and the rest. See `make help`."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import shutil
import sys
import time
import xmlrpc.client
from collections.abc import Callable, Sequence

from deploy.local import testing
from deploy.local.config import SERVICES, Config, directories, load
from deploy.local.entries import environment_of_service
from deploy.local.errors import CannotContinue
from deploy.local.order import choose
from deploy.local.output import Follower, last_lines, log_line, say
from deploy.local.stack import SERVERS_ALONE, STACK
from deploy.local.status import closing_table, status_table
from deploy.local.supervision import Supervisor
from deploy.local.up import Stack, alone, run, stop_in_order

LINES_OF_LOG = 100


def up(config: Config) -> int:
    say("Starting the ticketing system")
    return run(Stack(config, STACK), closing_table)


def only_servers(config: Config, names: Sequence[str]) -> int:
    """Start the servers without the services, and write what connects to them."""
    for name in names:
        if name not in SERVERS_ALONE:
            raise CannotContinue(f"{name!r} is no server. There are: {', '.join(SERVERS_ALONE)}.")
    say("Starting the servers")
    return run(Stack(config, STACK, names or SERVERS_ALONE), write_environments)


def write_environments(config: Config) -> str:
    paths = []
    for service in SERVICES:
        path = config.run / f"{service}.env"
        path.touch(mode=0o600)
        values = environment_of_service(config, service)
        path.write_text(
            "".join(f"export {name}='{value}'\n" for name, value in values.items()),
            encoding="utf-8",
        )
        paths.append(f"    . {path}")
    return "\n".join(("  to connect to them:", *paths, ""))


def down(config: Config) -> int:
    supervisor = Supervisor(config)
    if not supervisor.answers():
        say("Nothing is running.")
        return 0
    with contextlib.suppress(OSError, xmlrpc.client.Error):  # it may end while we ask
        stop_in_order(supervisor, choose(STACK, config))
    deadline = time.monotonic() + 30
    while supervisor.answers() and time.monotonic() < deadline:
        time.sleep(0.1)
    say("Everything is stopped.")
    return 0


def status(config: Config) -> int:
    supervisor = Supervisor(config)
    if not supervisor.answers():
        say("Nothing is running. `make run` starts it.")
        return 1
    say(status_table(config, supervisor.infos()))
    return 0


def logs(config: Config, names: Sequence[str], *, follow: bool) -> int:
    known = sorted(path.stem for path in config.logs.glob("*.log"))
    for name in names:
        if name not in known:
            raise CannotContinue(f"There is no log of {name!r}. There are: {', '.join(known)}.")
    paths = {name: config.logs / f"{name}.log" for name in names or known}
    count = LINES_OF_LOG if names else 5
    follower = Follower(paths)
    for name, path in paths.items():
        for line in last_lines(path, count):
            say(log_line(name, line))
    while follow:
        for name, line in follower.new_lines():
            say(log_line(name, line))
        time.sleep(0.2)
    return 0


def reset(config: Config) -> int:
    """Remove data, logs and secrets; what was downloaded stays."""
    with alone(config):
        for path in (
            *(config.data, config.logs, config.mail, config.generated),
            config.directory / "static",
        ):
            shutil.rmtree(path, ignore_errors=True)
        (config.directory / "secrets.json").unlink(missing_ok=True)
    say(f"The data, logs and passwords in {config.directory} are gone; downloads were kept.")
    return 0


def manage(config: Config, service: str, arguments: Sequence[str]) -> int:
    if service not in SERVICES:
        raise CannotContinue(f"{service!r} is no service. There are: {', '.join(SERVICES)}.")
    environment = dict(os.environ) | environment_of_service(config, service)
    command = [sys.executable, str(config.root / "manage.py"), *arguments]
    os.chdir(config.root)
    os.execvpe(command[0], command, environment)  # noqa: S606 - it takes our place


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start everything, and stay with it until Ctrl-C")
    servers = "start the servers alone, or some of them, and write what connects to them"
    commands.add_parser("servers", help=servers).add_argument("names", nargs="*")
    commands.add_parser("down", help="stop what another terminal has started")
    commands.add_parser("status", help="each process: state, since, restarts, memory")
    of_logs = commands.add_parser("logs", help="follow the logs of all processes, or of some")
    of_logs.add_argument("names", nargs="*")
    of_logs.add_argument("--no-follow", action="store_true")
    commands.add_parser("reset", help="remove data, logs and passwords")
    of_manage = commands.add_parser("manage", help="run a management command of a service")
    of_manage.add_argument("service")
    of_manage.add_argument("arguments", nargs=argparse.REMAINDER)
    commands.add_parser("check", help="check migrations, settings and schemas of every service")
    of_test = commands.add_parser("test", help="run all tests on servers of their own")
    of_test.add_argument("parts", nargs="*", metavar="PART", help=", ".join(testing.PARTS))
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    if options.command == "test":
        return testing.run(options.parts)
    if options.command == "check":
        return testing.check()
    config = load()
    if options.command == "logs":
        return logs(config, options.names, follow=not options.no_follow)
    if options.command == "manage":
        return manage(config, options.service, options.arguments)
    if options.command == "servers":
        return only_servers(config, options.names)
    commands = {"up": up, "down": down, "status": status, "reset": reset}
    return commands[options.command](config)


def guarded_call(call: Callable[[], int]) -> int:
    """Turn what a person can mend into one clear line, and return the exit status."""
    try:
        return call()
    except CannotContinue as exc:
        print(f"\nticketing: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except PermissionError as exc:
        print(f"\nticketing: {exc.filename} may not be written by this user.", file=sys.stderr)
        return 1
    except OSError as exc:
        if exc.errno != errno.ENOSPC:
            raise
        where = " or ".join(str(path) for path in directories(os.environ))
        print(
            f"\nticketing: The disk is full ({exc.filename or where}). Free some space, or set "
            "TICKETING_DIR and TICKETING_CACHE to directories on another disk.",
            file=sys.stderr,
        )
        return 1


if __name__ == "__main__":
    sys.exit(guarded_call(lambda: main(sys.argv[1:])))
