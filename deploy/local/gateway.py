"""The gateway: one origin in front of the five services, as the ingress is in Kubernetes."""

from __future__ import annotations

from pathlib import Path

from deploy.local.config import Config

TEMPLATE = Path(__file__).parent / "Caddyfile"


def caddyfile(config: Config) -> str:
    """Return the Caddyfile of this checkout: the committed one with its ports filled in."""
    values = {
        "BIND": config.bind,
        "PAGES": str(TEMPLATE.parent / "pages"),
        **{name.upper().replace("-", "_"): str(port) for name, port in config.ports.items()},
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"<{name}>", value)
    return text
