"""What an event is to the outbox: any frozen dataclass of this shape."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol


class Event(Protocol):
    """A fact about one aggregate, carrying the whole state that a reader needs.

    Its Avro record is `<namespace>.<class name>`, from AVRO_DIR; its fields are the record's. A
    service that only reads an event declares the fields it needs and leaves the rest out.
    """

    topic: ClassVar[str]
    namespace: ClassVar[str]
    type: ClassVar[str]
    """CloudEvents type: <system>.<service>.<subject>.<action>.v1."""
    aggregate_type: ClassVar[str]

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def aggregate_id(self) -> str:
        """The aggregate's id, which is also the record's key."""
        ...

    @property
    def version(self) -> int:
        """The aggregate's version after the fact: 1, 2, 3 and so on, without gaps."""
        ...


def record_name(event: Event | type[Event]) -> str:
    """Return the full name of the event's Avro record."""
    cls = event if isinstance(event, type) else type(event)
    return f"{cls.namespace}.{cls.__name__}"
