"""python -m deploy.sandbox --bind 127.0.0.1:8111 --data .data/sandbox --webhook-url URL."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from deploy.sandbox.server import Sandbox


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.sandbox",
        description="A payment provider that speaks Stripe's API. STRIPE_KEY is the secret key "
        "it accepts, STRIPE_WEBHOOK_SECRET what it signs webhooks with.",
        epilog="example: STRIPE_KEY=sk_test_… STRIPE_WEBHOOK_SECRET=whsec_… "
        "python -m deploy.sandbox --data /tmp/sandbox",
    )
    parser.add_argument("--bind", default="127.0.0.1:8111", help="host:port; port 0: a free one")
    parser.add_argument("--data", type=Path, required=True, help="directory of its database")
    parser.add_argument("--webhook-url", default="", help="where events are posted; none: nowhere")
    parser.add_argument(
        "--public-url", default="", help="where browsers reach it; default: where it listens"
    )
    arguments = parser.parse_args()
    host, _, port = arguments.bind.rpartition(":")
    if not host or not port.isdecimal():
        parser.error(f"--bind must look like 127.0.0.1:8111, and is {arguments.bind!r}.")
    try:
        server = Sandbox(
            (host, int(port)),
            data=arguments.data,
            key=_environment("STRIPE_KEY"),
            webhook_url=arguments.webhook_url,
            webhook_secret=_environment("STRIPE_WEBHOOK_SECRET"),
            public_url=arguments.public_url.rstrip("/"),
        )
    except OSError as exc:
        sys.exit(f"sandbox: cannot listen on {arguments.bind}: {exc.strerror}.")
    # shutdown() waits for serve_forever() to end, which a signal handler interrupts: so a thread.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"sandbox: listening on http://{host}:{server.server_port}", flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()


def _environment(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        sys.exit(f"sandbox: {name} is not set.")
    return value


if __name__ == "__main__":
    main()
