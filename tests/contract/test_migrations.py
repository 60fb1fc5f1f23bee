"""In a roll-out, the version before runs on a database that this version has migrated.

So a migration may only add what the version before need not know. What it takes away goes one
release later, when no process of any running version asks for it any more.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from django.db import models
from django.db.migrations import operations as ops

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(ROOT.glob("apps/*/migrations/[0-9]*.py"))

# What the version before still reads or writes under its name.
TAKING_AWAY = (
    *(ops.RemoveField, ops.DeleteModel, ops.RenameField, ops.RenameModel),
    *(ops.AlterModelTable, ops.AlterField, ops.RunSQL, ops.AlterUniqueTogether),
    *(ops.AddConstraint, ops.AlterOrderWithRespectTo),
)
# Migrations that take away all the same, each with the reason why no running version minds.
FIRST = "Of 0.1.0, the first version: none ran before it."
EXCUSED = {
    "apps.auth.migrations.0004_trace": FIRST,
    "apps.auth.migrations.0005_lock_out": FIRST,
    "apps.expiration.migrations.0002_trace": FIRST,
    "apps.orders.migrations.0002_refunds_in_parts": FIRST,
    "apps.orders.migrations.0004_timeline": FIRST,
    "apps.outbox.migrations.0002_slots_parking_and_guard": FIRST,
    "apps.outbox.migrations.0003_relays_share_the_slots": FIRST,
    "apps.payments.migrations.0002_refunds_ledger_disputes": FIRST,
    "apps.payments.migrations.0003_authentication": FIRST,
    "apps.payments.migrations.0004_trace": FIRST,
    "apps.tickets.migrations.0002_returned_orders": FIRST,
}


def module_of(file):
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)


def breaches(operations):
    """Name what the version before would trip over."""
    made = {
        operation.name_lower for operation in operations if isinstance(operation, ops.CreateModel)
    }
    found = []
    for operation in operations:
        # A table of this very migration is nobody's yet.
        if getattr(operation, "model_name_lower", None) in made:
            continue
        if isinstance(operation, ops.SeparateDatabaseAndState):
            found += breaches(operation.database_operations)
        elif isinstance(operation, TAKING_AWAY) or (
            isinstance(operation, ops.AddField) and not is_harmless(operation.field)
        ):
            found.append(operation.describe())
    return found


def is_harmless(field):
    """Tell whether rows that the version before writes without the field are good rows."""
    return field.null or field.many_to_many or field.db_default is not models.NOT_PROVIDED


@pytest.mark.parametrize(
    "operation",
    [
        ops.RemoveField("order", "price"),
        ops.RenameField("order", "price", "price_cents"),
        ops.DeleteModel("Order"),
        ops.AddField("order", "seat", models.CharField(default="")),
        ops.AlterField("order", "seat", models.CharField(max_length=3)),
        ops.SeparateDatabaseAndState(database_operations=[ops.RunSQL("DROP TABLE orders_order")]),
    ],
    ids=lambda operation: type(operation).__name__,
)
def test_what_the_version_before_would_trip_over_is_found(operation):
    assert len(breaches([operation])) == 1


def test_what_only_adds_is_fine():
    added = [
        ops.CreateModel("Seat", [("id", models.BigAutoField(primary_key=True))]),
        ops.AddConstraint("seat", models.UniqueConstraint(fields=["id"], name="unique_seat")),
        ops.AddField("order", "seat", models.CharField(null=True)),
        ops.AddField("order", "row", models.CharField(db_default="")),
        ops.AddIndex("order", models.Index(fields=["seat"], name="order_by_seat")),
        ops.RemoveIndex("order", "order_by_row"),
    ]

    assert breaches(added) == []


@pytest.mark.parametrize("name", [module_of(file) for file in FILES])
def test_the_version_before_runs_on_the_migrated_database(name):
    if re.search(r"\.0001_", name):
        return
    found = breaches(importlib.import_module(name).Migration.operations)

    assert bool(found) == (name in EXCUSED), (
        f"{name}: {'; '.join(found) or 'nothing to excuse'}. Add first (null, or db_default), and "
        "take away in the release after (docs/operations.md), or excuse it here with a reason."
    )
