"""What a service refuses to run with, once others than the person at this machine can reach it.

PUBLIC_URL is the switch (docs/adr/0030): an address of this machine alone (127.0.0.1, localhost) is
a local stack, to which plain HTTP and DEBUG do no harm. Anything else is production.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured


def is_local(public_url: str) -> bool:
    """Say whether the address leads to the very machine that asks, and nowhere else.

    Raises:
        ImproperlyConfigured: it is no origin such as https://tickets.example.
    """
    url = urlsplit(public_url)
    if url.scheme not in {"http", "https"} or not url.hostname or url.path or url.query:
        raise ImproperlyConfigured(
            "PUBLIC_URL must be the origin that browsers see, such as https://tickets.example, "
            f"and is {public_url!r}."
        )
    if url.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(url.hostname).is_loopback
    except ValueError:
        return False


def refuse_unsafe(public_url: str, *, debug: bool, allowed_hosts: Sequence[str]) -> None:
    """Stop the process if what others can reach would not be safe; one message names it all.

    Raises:
        ImproperlyConfigured: each fault, with what to do about it.
    """
    if is_local(public_url):
        return
    host = urlsplit(public_url).hostname or ""
    faults = []
    if not public_url.startswith("https://"):
        faults.append(
            f"PUBLIC_URL is {public_url}, so cookies would travel unencrypted: end TLS at the "
            f"gateway and set PUBLIC_URL=https://{host}"
        )
    if debug:
        faults.append("DEBUG shows settings and source to visitors: unset it")
    if "*" in allowed_hosts:
        faults.append(f"ALLOWED_HOSTS believes any Host header: set ALLOWED_HOSTS={host}")
    elif not any(_covers(each, host) for each in allowed_hosts):
        faults.append(f"ALLOWED_HOSTS lacks the host of PUBLIC_URL: add {host}, or unset it")
    if faults:
        listed = "".join(f"\n  - {fault}." for fault in faults)
        raise ImproperlyConfigured(f"These settings are unsafe in production:{listed}")


def _covers(pattern: str, host: str) -> bool:
    """Say whether an entry of ALLOWED_HOSTS, perhaps with all its subdomains, names the host."""
    pattern = pattern.lower()
    return host == pattern.lstrip(".") or (pattern.startswith(".") and host.endswith(pattern))
