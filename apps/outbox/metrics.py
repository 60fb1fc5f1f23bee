"""What Prometheus is told. Each process counts its own; `monitoring` serves them over HTTP."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)

# Sending.
published = Counter(
    "outbox_published",
    "Rows that left the outbox, by outcome: published, dead, delayed or repeated (a copy of it was "
    "found on its topic after a take-over, so that it was not sent again).",
    ("topic", "outcome", "error_kind"),
)
publish_latency = Histogram(
    "outbox_publish_latency_seconds",
    "From the event's occurrence to the broker's acknowledgement.",
    ("topic",),
    buckets=SECONDS,
)
batch_size = Histogram(
    "outbox_batch_size",
    "Rows in one batch of a relay.",
    buckets=(1, 2, 5, 10, 50, 100, 500, 1000, 2000, 5000),
)
lease_lost = Counter("outbox_lease_lost", "Times a relay found that it had been replaced.")
partitions_owned = Gauge("outbox_partitions_owned", "Slots of keys that this relay publishes.")
outages = Counter("outbox_outages", "Rounds in which a server was away.", ("worker",))

# The store, as it is when it is looked at.
pending = Gauge("outbox_pending", "Rows that wait.")
oldest_pending_age = Gauge("outbox_oldest_pending_age_seconds", "Age of the oldest row that waits.")
keys_blocked = Gauge("outbox_keys_blocked", "Keys whose first row could not be sent yet.")
dlq_depth = Gauge("outbox_dlq_depth", "Dead letters that nobody has decided upon.", ("stage",))
slot_lag = Gauge("replication_slot_lag_bytes", "What Debezium has not confirmed.", ("slot",))
slot_fault = Gauge("replication_slot_fault", "1 while the slot was lost or recreated.", ("slot",))

# Receiving.
received = Counter(
    "outbox_received",
    "Records that a consumer has dealt with: processed, duplicate, skipped, retried, parked, dead.",
    ("group", "topic", "outcome"),
)
handling = Histogram(
    "outbox_handling_seconds", "One record or batch, its transaction included.", ("group",)
)
inbox_duplicates = Counter("inbox_duplicates", "Events that had taken effect before.", ("group",))
version_gaps = Counter(
    "inbox_version_gaps", "Events that came without the version before theirs.", ("group", "topic")
)
consumer_lag = Gauge(
    "consumer_lag",
    "Records of this consumer's partitions that it has not read.",
    ("group", "topic"),
)
retry_tier = Counter("consumer_retry_tier", "Records put into a retry tier.", ("group", "tier"))
redriven = Counter("outbox_redriven", "Dead letters sent again.", ("stage",))
