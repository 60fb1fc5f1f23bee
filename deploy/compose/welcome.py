"""python -m deploy.compose.welcome: the addresses and accounts, as `make run` ends with them."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

ROLES = {"seller": "seller@example.com", "buyer": "buyer@example.com", "staff": "admin@example.com"}


def table(url: str, secrets: Path) -> str:
    """Return what a person needs to begin."""
    rows = [("open", f"{url}/")]
    for role, email in ROLES.items():
        password = (secrets / f"DEMO_{role.upper()}_PASSWORD").read_text(encoding="utf-8").strip()
        rows.append((role, f"{email:<20}{password}"))
    rows += [
        ("admin", f"{url}/auth/admin/ and the other services'"),
        ("API", f"{url}/tickets/api/docs/ and the other services'"),
        ("payments", "sandbox: pay with tok_visa, or tok_chargeDeclined"),
    ]
    return "\n".join(("", *(f"  {name:<10}{value}" for name, value in rows), ""))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.compose.welcome",
        description="Print the addresses and accounts. PUBLIC_URL is where the gateway answers.",
        epilog="example: PUBLIC_URL=http://127.0.0.1:8000 python -m deploy.compose.welcome",
    )
    home = Path("/var/lib/ticketing/secrets")
    parser.add_argument("--secrets", type=Path, default=home, help="where prepare wrote them")
    print(table(os.environ["PUBLIC_URL"], parser.parse_args().secrets))


if __name__ == "__main__":
    main()
