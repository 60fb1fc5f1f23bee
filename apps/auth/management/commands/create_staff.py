"""Make somebody a member of staff."""

from __future__ import annotations

import getpass
import os
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from apps.auth import selectors, services
from apps.auth.models import LONGEST_PASSWORD, SHORTEST_PASSWORD
from apps.outbox.management.base import OutboxCommand


class Command(OutboxCommand):
    help = (
        "Let a person use the admin of every service. Makes the account where there is none; an "
        "account that exists keeps its password, unless --reset-password is given."
    )
    examples = """\
example:
  STAFF_PASSWORD=… manage.py create_staff --email ops@example.com \\
      --password-from-env STAFF_PASSWORD
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--email", required=True, help="whose account it is, or will be")
        parser.add_argument(
            "--password-from-env",
            metavar="NAME",
            help="the environment variable that holds the password; without it you are asked",
        )
        parser.add_argument(
            "--reset-password", action="store_true", help="give the account that exists a new one"
        )

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ANN401, ARG002
        email = options["email"]
        user = selectors.find_user_by_email(email=email)
        if user is None:
            password = _read_password(options["password_from_env"])
            services.create_staff(email=email, password=password, now=timezone.now())
            self.stdout.write(self.style.SUCCESS(f"{email} is staff now; the account is new."))
            return
        services.set_staff(user_id=str(user.pk), is_staff=True)
        if options["reset_password"]:
            password = _read_password(options["password_from_env"])
            services.reset_password(user=user, password=password)
        self.stdout.write(self.style.SUCCESS(f"{email} is staff."))


def _read_password(variable: str | None) -> str:
    if variable is None:
        password = getpass.getpass("Password: ").strip()
    else:
        # The variable is named on the command line, so no setting can hold it.
        password = os.environ.get(variable, "").strip()
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        source = f"The password in {variable}" if variable else "The password"
        raise CommandError(
            f"{source} must be between {SHORTEST_PASSWORD} and {LONGEST_PASSWORD} characters."
        )
    return password
