"""python -m deploy.compose.prepare: what compose needs before its first start, made once.

Generates the secrets, each in a file of its own, and writes the gateway's configuration: the local
stack's Caddyfile with the names of containers in the place of ports. Files that exist stay.
"""

from __future__ import annotations

import argparse
import re
import secrets
import shutil
import sys
from pathlib import Path
from urllib.parse import quote

LOCAL = Path(__file__).resolve().parent.parent / "local"
SERVICES = ("auth", "tickets", "orders", "payments", "expiration")
WEB_PORT = 8000
PROVIDER = "provider:8111"


def generate_secrets() -> dict[str, str]:
    """Return a value for every secret of the system, in the shapes of `make run`."""
    made = {
        "JWT_KEY": secrets.token_urlsafe(48),
        "POSTGRES_PASSWORD": secrets.token_urlsafe(24),
        "STRIPE_KEY": f"sk_test_{secrets.token_hex(24)}",
        "STRIPE_WEBHOOK_SECRET": f"whsec_{secrets.token_hex(24)}",
        "DEMO_STAFF_PASSWORD": secrets.token_urlsafe(9),
        "DEMO_SELLER_PASSWORD": secrets.token_urlsafe(9),
        "DEMO_BUYER_PASSWORD": secrets.token_urlsafe(9),
    }
    return made | {f"{name.upper()}_SECRET_KEY": secrets.token_urlsafe(48) for name in SERVICES}


def write_secrets(directory: Path) -> int:
    """Write the secrets that are missing, and return how many that were."""
    new = 0
    for name, value in generate_secrets().items():
        new += write_once(directory / name, value)
    password = (directory / "POSTGRES_PASSWORD").read_text(encoding="utf-8")
    url = f"postgresql://ticketing:{quote(password)}@postgres:5432/ticketing_orders"
    return new + write_once(directory / "DATABASE_URL", url)


def write_once(path: Path, value: str) -> int:
    if path.exists():
        return 0
    # Whole or not at all; each server's image reads it as another user.
    temporary = path.with_suffix(".new")
    temporary.write_text(value, encoding="utf-8")
    temporary.chmod(0o444)
    temporary.replace(path)
    return 1


def caddyfile(pages: Path) -> str:
    """Return the local stack's Caddyfile for containers: each web process by its name."""
    text = (LOCAL / "Caddyfile").read_text(encoding="utf-8")
    values = {"BIND": "0.0.0.0", "GATEWAY": str(WEB_PORT), "PAGES": str(pages)}  # noqa: S104
    for name, value in values.items():
        text = text.replace(f"<{name}>", value)
    text = text.replace("127.0.0.1:{args[0]}", "{args[0]}").replace("127.0.0.1:<", "<")
    text = text.replace("<PROVIDER>", PROVIDER)
    return re.sub(
        r"<([A-Z_]+_WEB)>",
        lambda match: f"{match[1].lower().replace('_', '-')}:{WEB_PORT}",
        text,
    )


def write_gateway(directory: Path) -> None:
    shutil.copytree(LOCAL / "pages", directory / "pages", dirs_exist_ok=True)
    (directory / "Caddyfile").write_text(caddyfile(directory / "pages"), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.compose.prepare",
        description="Generate the secrets that are missing, and write the gateway's configuration.",
        epilog="example: python -m deploy.compose.prepare --secrets /tmp/s --gateway /tmp/g",
    )
    home = Path("/var/lib/ticketing")
    parser.add_argument("--secrets", type=Path, default=home / "secrets", help="a directory")
    parser.add_argument("--gateway", type=Path, default=home / "gateway", help="a directory")
    options = parser.parse_args()
    for directory in (options.secrets, options.gateway):
        if not directory.is_dir():
            sys.exit(f"prepare: {directory} is no directory.")
    new = write_secrets(options.secrets)
    write_gateway(options.gateway)
    print(f"prepare: {new} secrets are new; the rest were there.")


if __name__ == "__main__":
    main()
