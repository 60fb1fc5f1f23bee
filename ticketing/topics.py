"""Every topic of the system: what create_topics makes, here and in the cluster."""

from __future__ import annotations

from apps.outbox.topics import Topic

DAY_MS = 24 * 60 * 60 * 1000

TOPICS: tuple[Topic, ...] = (
    Topic(
        "ticketing.users",
        partitions=3,
        namespace="ticketing.auth",
        meaning="Users, keyed by user id.",
    ),
    Topic("ticketing.tickets", partitions=3, meaning="Listings, keyed by ticket id."),
    Topic("ticketing.orders", partitions=3, meaning="Orders, keyed by order id."),
    Topic("ticketing.payments", partitions=3, meaning="Payments, keyed by order id."),
    Topic("ticketing.expiration", partitions=3, meaning="Passed deadlines, keyed by order id."),
    Topic(
        "ticketing.mails",
        partitions=3,
        namespace="ticketing.auth",
        records=("MailSent", "MailGivenUp"),
        meaning="Mails about orders that were sent or given up, keyed by mail id.",
    ),
    Topic(
        "ticketing.orders.raw",
        partitions=3,
        retention_ms=7 * DAY_MS,
        meaning="Outbox rows of orders as Debezium read them: JSON, keyed by order id.",
    ),
)

CONSUMERS: dict[str, tuple[str, ...]] = {
    "ticketing.auth": ("ticketing.orders", "ticketing.payments"),
    "ticketing.tickets": ("ticketing.orders",),
    "ticketing.orders": (
        *("ticketing.tickets", "ticketing.expiration", "ticketing.payments", "ticketing.mails"),
    ),
    "ticketing.payments": ("ticketing.orders",),
    "ticketing.expiration": ("ticketing.orders",),
}
"""What each consumer group reads, so that its retry and dead-letter topics exist beforehand."""
