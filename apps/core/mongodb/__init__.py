"""Django's own apps on MongoDB: their keys, and their migrations. The engine is the outbox's."""
