"""Inserting one row into PostgreSQL by a statement that is composed once.

Django composes an INSERT anew for each row, which costs several times what sending it does; and it
does not say whether a row was left out (`ignore_conflicts`).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from django.db import connection, connections

if TYPE_CHECKING:
    from django.db.models import Model


def insert(row: Model, *, unless_there: bool = False) -> bool:
    """Insert a new row, and say whether it is there by this.

    Nothing but the INSERT happens: no signal is sent, and no field sets itself (`auto_now`).
    PostgreSQL alone; the key is the row's own.

    Args:
        row: has not been saved.
        unless_there: a row that a unique index refuses is left out, instead of ending the
            transaction.

    Raises:
        IntegrityError: it breaks a constraint.
    """
    # Itself, since `connection` finds out anew whose thread it is for each field.
    own = connections[connection.alias]
    values = [
        field.get_db_prep_save(getattr(row, field.attname), own)
        for field in row._meta.concrete_fields  # noqa: SLF001 (Django's documented API)
    ]
    with own.cursor() as cursor:
        cursor.execute(_statement(type(row), unless_there), values)
        is_new: bool = cursor.rowcount == 1
    row._state.adding, row._state.db = False, own.alias  # noqa: SLF001
    return is_new


@cache
def _statement(model: type[Model], unless_there: bool) -> str:  # noqa: FBT001
    quote, meta = connection.ops.quote_name, model._meta  # noqa: SLF001
    columns = [quote(str(field.column)) for field in meta.concrete_fields]
    values = ["%s"] * len(columns)
    insertion = f"INSERT INTO {quote(meta.db_table)} ({', '.join(columns)})"
    statement = f"{insertion} VALUES ({', '.join(values)})"
    return f"{statement} ON CONFLICT DO NOTHING" if unless_there else statement
