#!/usr/bin/env python
"""Run a management command of the service that DJANGO_SETTINGS_MODULE names."""

from __future__ import annotations

import os
import sys


def main() -> None:
    if "DJANGO_SETTINGS_MODULE" not in os.environ and not any(
        argument.startswith("--settings") for argument in sys.argv
    ):
        sys.exit(
            "manage.py: which service? Set DJANGO_SETTINGS_MODULE to ticketing.settings.auth, "
            "tickets, orders, payments or expiration (or run `make manage S=orders C=check`)."
        )

    from django.core.management import execute_from_command_line  # noqa: PLC0415

    from ticketing import telemetry  # noqa: PLC0415

    if "DJANGO_SETTINGS_MODULE" in os.environ:  # processes have it; only a person types --settings
        telemetry.set_up()
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
