from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command, load_command_class

COMMANDS = {
    "relay_outbox": "debezium",
    "consume_raw_orders": "relay",
    "apply_connector": "relay",
}


@pytest.mark.parametrize(("command", "transport"), COMMANDS.items())
def test_command_of_the_other_transport_is_refused(settings, command, transport):
    settings.OUTBOX_TRANSPORT = transport

    with pytest.raises(CommandError):
        call_command(command)


@pytest.mark.parametrize("command", [*COMMANDS, "register_schemas", "create_topics"])
def test_help_shows_an_example_on_lines_of_its_own(command):
    parser = load_command_class("apps.outbox", command).create_parser("manage.py", command)

    text = parser.format_help()

    assert f"manage.py {command}" in text.partition("example")[2]
