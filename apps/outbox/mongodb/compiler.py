"""Compilers whose sorted queries can use an index."""

from __future__ import annotations

from typing import Any

from django_mongodb_backend import compiler
from django_mongodb_backend.query import MongoQuery as BackendQuery


class MongoQuery(BackendQuery):  # type: ignore[misc]
    def get_pipeline(self) -> list[dict[str, Any]]:
        """Leave out `$addFields` entries that rename a field to itself.

        The backend adds one for each sorted field, and behind a computed field MongoDB sorts all
        matches in memory instead of walking an index.
        """
        pipeline: list[dict[str, Any]] = []
        for stage in super().get_pipeline():
            if "$addFields" not in stage:
                pipeline.append(stage)
                continue
            computed = {
                name: value for name, value in stage["$addFields"].items() if value != f"${name}"
            }
            if computed:
                pipeline.append({"$addFields": computed})
        return pipeline


class SQLCompiler(compiler.SQLCompiler):  # type: ignore[misc]
    query_class = MongoQuery


class SQLInsertCompiler(compiler.SQLInsertCompiler):  # type: ignore[misc]
    query_class = MongoQuery


class SQLDeleteCompiler(compiler.SQLDeleteCompiler):  # type: ignore[misc]
    query_class = MongoQuery


class SQLUpdateCompiler(compiler.SQLUpdateCompiler):  # type: ignore[misc]
    query_class = MongoQuery


class SQLAggregateCompiler(compiler.SQLAggregateCompiler):  # type: ignore[misc]
    query_class = MongoQuery
