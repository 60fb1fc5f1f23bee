"""The rows behind sending and receiving, the same on PostgreSQL and MongoDB.

Every key is named explicitly and stored as `_id`: MongoDB looks a document up by no other column
without a second index, and an app migrated on both stores may not have an implicit key.
"""

from __future__ import annotations

from typing import ClassVar

import uuid6
from django.db import models


class OutboxEvent(models.Model):
    """An event that was committed with the business data and is on its way to its topic."""

    class State(models.TextChoices):
        PENDING = "pending", "waiting for the relay"
        CAPTURED = "captured", "handed to change data capture"
        PUBLISHED = "published", "acknowledged by the broker"
        DEAD = "dead", "dead-lettered"

    id = models.UUIDField(primary_key=True, db_column="_id", default=uuid6.uuid7)
    topic = models.CharField(max_length=249)
    key = models.CharField(max_length=255)
    slot = models.PositiveSmallIntegerField(default=0)
    """Which share of the keys this one belongs to, by `slots.slot_of`; relays divide the slots."""
    aggregate_type = models.CharField(max_length=64)
    aggregate_id = models.CharField(max_length=255)
    version = models.BigIntegerField()
    type = models.CharField(max_length=255)
    record = models.CharField(max_length=255)
    payload = models.BinaryField()
    """The Avro record as JSON in UTF-8: instants are milliseconds, unions are bare values."""
    headers = models.TextField(default="{}")
    """Extra Kafka headers as a JSON object of strings: correlation, causation, traceparent."""
    occurred_at = models.DateTimeField()
    state = models.CharField(max_length=16, choices=State, default=State.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField()
    last_error = models.TextField(default="", blank=True)
    published_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "outbox_event"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["aggregate_type", "aggregate_id", "version"], name="outbox_event_version"
            ),
        ]
        indexes: ClassVar = [
            # Only what waits is in the relay's index, however many rows are published.
            models.Index(
                fields=["slot", "aggregate_id", "version"],
                name="outbox_event_waiting",
                condition=models.Q(state="pending"),
            ),
            # What blocks its key or is dead; each index here costs every event that is marked.
            models.Index(
                fields=["state", "occurred_at"],
                name="outbox_event_failed",
                condition=models.Q(attempts__gt=0),
            ),
            # Not on MongoDB (migration 0005), where nothing is handed to change data capture.
            models.Index(
                fields=["occurred_at"],
                name="outbox_event_captured",
                condition=models.Q(state="captured"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.aggregate_id} v{self.version}"


class ReceivedEvent(models.Model):
    """An event that has taken effect in a consumer group: written in the effect's transaction."""

    id = models.CharField(primary_key=True, max_length=320, db_column="_id")
    """<consumer group>/<event id>: one event, one effect."""
    type = models.CharField(max_length=255)
    topic = models.CharField(max_length=249)
    partition = models.IntegerField()
    offset = models.BigIntegerField()
    key = models.CharField(max_length=255)
    version = models.BigIntegerField(null=True)
    received_at = models.DateTimeField()

    class Meta:
        db_table = "outbox_received_event"

    def __str__(self) -> str:
        return self.id


class DeadLetter(models.Model):
    """A record that could not be handled, kept until somebody replays or discards it."""

    class Stage(models.TextChoices):
        RELAY = "relay", "sending"
        RAW = "raw", "raw worker"
        CONSUMER = "consumer", "receiving"

    class State(models.TextChoices):
        OPEN = "open", "open"
        REQUESTED = "requested", "replay requested"
        REPLAYED = "replayed", "replayed"
        DISCARDED = "discarded", "discarded"

    id = models.UUIDField(primary_key=True, db_column="_id")
    """Derived from stage, group and the record's place, so that writing it twice is harmless."""
    stage = models.CharField(max_length=16, choices=Stage)
    group = models.CharField(max_length=255, blank=True)
    topic = models.CharField(max_length=249)
    partition = models.IntegerField(null=True)
    offset = models.BigIntegerField(null=True)
    key = models.BinaryField(null=True)
    value = models.BinaryField(null=True)
    headers = models.TextField(default="[]")
    """The record's own headers: a JSON array of [name, value as base64 or null]."""
    event_id = models.CharField(max_length=64, blank=True)
    error_kind = models.CharField(max_length=32)
    error_message = models.TextField()
    attempts = models.PositiveIntegerField(default=1)
    first_failed_at = models.DateTimeField()
    last_failed_at = models.DateTimeField()
    state = models.CharField(max_length=16, choices=State, default=State.OPEN)
    replays = models.PositiveIntegerField(default=0)
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.CharField(max_length=255, blank=True)
    resolution = models.TextField(blank=True)
    """Why it was discarded, or what was done before it was replayed."""

    class Meta:
        db_table = "outbox_dlq"
        indexes: ClassVar = [
            models.Index(fields=["state", "last_failed_at"], name="outbox_dlq_open"),
        ]

    def __str__(self) -> str:
        return f"{self.topic} {self.event_id or self.id}: {self.error_message[:80]}"


class RelayMember(models.Model):
    """A relay that is at work. Who has no row, or a row whose time is up, may change nothing."""

    owner = models.CharField(primary_key=True, max_length=128, db_column="_id")
    """<host>:<process id>:<random>: never used twice."""
    started_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "outbox_relay_member"

    def __str__(self) -> str:
        return self.owner


class RelaySlot(models.Model):
    """Which relay publishes the keys of one slot; each new owner has a higher epoch."""

    number = models.PositiveSmallIntegerField(primary_key=True, db_column="_id")
    owner = models.CharField(max_length=128, blank=True)
    epoch = models.BigIntegerField(default=0)

    class Meta:
        db_table = "outbox_relay_slot"

    def __str__(self) -> str:
        return f"slot {self.number}: {self.owner or 'nobody'} (epoch {self.epoch})"


class ParkedRecord(models.Model):
    """A record that waits for another try, or behind one of its key that does (ordering=key)."""

    id = models.CharField(primary_key=True, max_length=560, db_column="_id")
    """<consumer group>/<topic>/<partition>/<offset>, so that parking it twice is harmless."""
    group = models.CharField(max_length=255)
    topic = models.CharField(max_length=249)
    partition = models.IntegerField()
    offset = models.BigIntegerField()
    key = models.BinaryField(null=True)
    key_hash = models.CharField(max_length=32)
    """Of the key's bytes, to find what waits behind it."""
    value = models.BinaryField(null=True)
    headers = models.TextField(default="[]")
    event_id = models.CharField(max_length=64, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField()
    error_kind = models.CharField(max_length=32, blank=True)
    error_message = models.TextField(blank=True)
    """Empty for a record that has not failed itself, but waits behind one that has."""
    first_failed_at = models.DateTimeField(null=True)
    parked_at = models.DateTimeField()

    class Meta:
        db_table = "outbox_parked_record"
        indexes: ClassVar = [
            models.Index(
                fields=["group", "topic", "partition", "offset"], name="outbox_parked_in_order"
            ),
        ]

    def __str__(self) -> str:
        return self.id


class ReplicationSlot(models.Model):
    """What was last seen of the replication slot that change data capture reads (PostgreSQL)."""

    name = models.CharField(primary_key=True, max_length=63, db_column="_id")
    confirmed_lsn = models.CharField(max_length=32)
    """How far Debezium has confirmed, as PostgreSQL writes it: 0/1A2B3C4D."""
    checkpoint_lsn = models.CharField(max_length=32)
    checkpoint_at = models.DateTimeField()
    """All rows committed before `checkpoint_at` lie before `checkpoint_lsn`."""
    confirmed_at = models.DateTimeField(null=True)
    """All rows committed before this are on the raw topic."""
    observed_at = models.DateTimeField()
    facts = models.TextField(default="{}")
    """Counters of the slot as a JSON object, by which a recreated slot is told from the old one."""
    fault = models.TextField(blank=True)
    """Why nobody may go on as if nothing was lost; empty while all is well."""

    class Meta:
        db_table = "outbox_replication_slot"

    def __str__(self) -> str:
        return f"{self.name} at {self.confirmed_lsn}"


class OperatorAction(models.Model):
    """Who did what to events, keys and dead letters, and why: an audit trail, only added to."""

    id = models.UUIDField(primary_key=True, db_column="_id", default=uuid6.uuid7)
    at = models.DateTimeField()
    by = models.CharField(max_length=255)
    action = models.CharField(max_length=64)
    """Such as replay, discard, retry_now, switch_transport, accept_slot_loss."""
    target = models.CharField(max_length=600)
    note = models.TextField(blank=True)

    class Meta:
        db_table = "outbox_operator_action"
        indexes: ClassVar = [models.Index(fields=["target", "at"], name="outbox_action_of_target")]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.by}: {self.action} {self.target}"
