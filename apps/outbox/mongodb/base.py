"""What Django loads for ENGINE = "….mongodb"."""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError
from django.db.backends.utils import debug_transaction
from django_mongodb_backend.base import DatabaseWrapper as BackendWrapper
from django_mongodb_backend.operations import DatabaseOperations as BackendOperations
from pymongo.errors import PyMongoError

from .schema import DatabaseSchemaEditor


class DatabaseOperations(BackendOperations):  # type: ignore[misc]
    compiler_module = f"{__package__}.compiler"


class DatabaseWrapper(BackendWrapper):  # type: ignore[misc]
    ops_class = DatabaseOperations
    SchemaEditorClass = DatabaseSchemaEditor

    def commit_mongo(self) -> None:
        """Commit the backend's own transaction, and leave the thread clean when that fails.

        The backend lets the driver's error through and keeps the session: every later transaction
        on the thread then runs without one and writes halves.
        """
        if self.session:
            try:
                with debug_transaction(self, "session.commit_transaction()"):
                    self.session.commit_transaction()
            except PyMongoError as exc:
                self.run_on_commit: list[Any] = []
                raise DatabaseError(str(exc)) from exc
            finally:
                self._end_session()
        self.run_and_clear_commit_hooks()
