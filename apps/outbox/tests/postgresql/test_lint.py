from __future__ import annotations

import io

import pytest
from django.core.management import call_command
from django.db import connection

from apps.outbox.lint import lint
from apps.outbox.tests.sending import wait_for

pytestmark = pytest.mark.django_db(transaction=True)

DANGEROUS = {
    "snapshot.mode": "initial",
    "publication.autocreate.mode": "filtered",
    "slot.drop.on.stop": "true",
    "offset.mismatch.strategy": "no_validation",
    "skipped.operations": "t",
    "tombstones.on.delete": "true",
    "heartbeat.interval.ms": "0",
    "errors.tolerance": "all",
}


def findings(bench):
    return [str(finding) for finding in lint(bench.connect, bench.wanted())]


def check(bench):
    """Run the command, and return its exit code and what it said."""
    out = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        bench.apply(check=True, stdout=out)
    return ended.value.code, out.getvalue()


def test_what_apply_made_differs_in_nothing_but_the_open_password(captured):
    captured.apply()

    code, said = check(captured)

    assert code == 1
    [line] = said.splitlines()
    assert line.startswith("database.password is the password itself.")
    assert connection.settings_dict["PASSWORD"] not in said


def test_configuration_that_was_tampered_with_is_found_setting_by_setting(captured):
    captured.apply()
    captured.connect.apply(captured.wanted() | DANGEROUS)

    code, said = check(captured)

    assert code == 1
    for name, value in DANGEROUS.items():
        assert f"{name} is '{value}' and must be" in said
    captured.apply()
    wait_for(lambda: len(findings(captured)) == 1)


def test_publication_of_other_tables_and_operations_is_found(captured):
    captured.apply()
    with connection.cursor() as cursor:
        cursor.execute(f'ALTER PUBLICATION "{captured.slot}" ADD TABLE outbox_dlq')
        cursor.execute(f"ALTER PUBLICATION \"{captured.slot}\" SET (publish = 'insert, update')")

    said = " ".join(findings(captured))

    assert "outbox_dlq" in said
    assert "more or less than inserts" in said


def test_nothing_is_there_before_apply(captured):
    said = " ".join(findings(captured))

    assert "The connector does not exist." in said
    assert "There is no publication" in said
    assert "There is no slot" in said


def test_help_says_what_check_does(capsys):
    with pytest.raises(SystemExit):
        call_command("apply_connector", "--help")

    assert "--check" in capsys.readouterr().out
