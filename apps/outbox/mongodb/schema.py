"""Unique indexes that lookups can use."""

from __future__ import annotations

from typing import Any

from django.db.models import Field, Index, Model
from django_mongodb_backend.schema import DatabaseSchemaEditor as BackendSchemaEditor
from pymongo import ASCENDING, DESCENDING
from pymongo.operations import IndexModel


class DatabaseSchemaEditor(BackendSchemaEditor):  # type: ignore[misc]
    def add_index(  # noqa: PLR0913 (the backend's own signature)
        self,
        model: type[Model],
        index: Index,
        *,
        field: Field[Any, Any] | None = None,
        unique: bool = False,
        column_prefix: str = "",
        parent_model: type[Model] | None = None,
    ) -> None:
        """Make a unique index plain where it can be.

        The backend makes each one partial on the columns' types, so that several nulls may stand
        beside each other; the planner then never uses it for `{column: value}` and reads the whole
        collection. Columns that cannot be null need no such condition.
        """
        columns = _never_null_columns(model, index, field) if unique else None
        if columns is None or column_prefix or parent_model is not None:
            super().add_index(
                model,
                index,
                field=field,
                unique=unique,
                column_prefix=column_prefix,
                parent_model=parent_model,
            )
            return
        plain = IndexModel(columns, name=index.name, unique=True)
        self.get_collection(model._meta.db_table).create_indexes([plain])  # noqa: SLF001


def _never_null_columns(
    model: type[Model], index: Index, field: Field[Any, Any] | None
) -> list[tuple[str, int]] | None:
    """Return the index's columns, or None when one may be null or the index has a condition."""
    if index.contains_expressions or index.condition:
        return None
    fields: list[tuple[Any, str]] = [
        (model._meta.get_field(name), order)  # noqa: SLF001
        for name, order in index.fields_orders
    ]
    if field is not None:
        fields = [(field, "")]
    if any(each.null for each, _ in fields):
        return None
    return [(each.column, DESCENDING if order else ASCENDING) for each, order in fields]
