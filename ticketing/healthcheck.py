"""python -m ticketing.healthcheck: ends with 0 when this container's process answers as healthy.

It is the image's HEALTHCHECK. Every process answers GET /healthz on METRICS_ADDRESS, a worker only
for as long as its loop goes round. It stands on the standard library alone, because it is started
every few seconds beside each process.
"""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request

SECONDS = 4.0


def main() -> str | None:
    """Ask the process once; return what is wrong, or None."""
    host, _, port = os.environ.get("METRICS_ADDRESS", "").rpartition(":")
    if not port.isdecimal():
        return "METRICS_ADDRESS must be host:port for a health check, such as 0.0.0.0:9000."
    # Whoever listens on every address is asked on the loopback one.
    url = f"http://{'127.0.0.1' if host in {'', '0.0.0.0', '[::]'} else host}:{port}/healthz"  # noqa: S104
    try:
        with urllib.request.urlopen(url, timeout=SECONDS):
            return None
    except (OSError, urllib.error.HTTPError) as exc:
        return f"{url}: {exc}"


if __name__ == "__main__":
    sys.exit(main())
