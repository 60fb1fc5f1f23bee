"""Everything that runs, in one list: this is the whole system on one screen.

An entry starts as soon as all that it comes `after` is ready (a one-shot: has succeeded), and is
stopped before them. words.py says what the words mean; servers.py how each server is started.
"""

from __future__ import annotations

# ruff: noqa: E501 - one line an entry is what makes this a list
from deploy.local import probes, servers
from deploy.local.config import SERVICES
from deploy.local.entries import Entry
from deploy.local.words import beat, manage, migrate, once, process, seed, server, web, worker

WEBS = tuple(f"{service}-web" for service in SERVICES)
EVENTS = ("topics", "schemas")  # nothing is sent or read before its topics and schemas are there
CODE = ("apps/**/*.py", "ticketing/**/*.py", "requirements/base.txt")

# fmt: off
STACK: tuple[Entry, ...] = (
    # Servers: the real ones, on the loopback address.
    server("postgres", servers.POSTGRES, ready=probes.postgresql),
    server("mongod", servers.MONGOD, ready=probes.replica_set),
    server("redis", servers.REDIS, ready=probes.redis),
    server("kafka", servers.KAFKA, ready=probes.kafka),
    server("registry", servers.REGISTRY, "postgres", ready=probes.answers("registry", "/apis/ccompat/v7/subjects")),
    server("connect", servers.CONNECT, "kafka", ready=probes.answers("connect", "/connectors")),
    server("provider", servers.PROVIDER, ready=probes.accepts("provider"), wanted=lambda config: config.sandboxed),
    server("gateway", servers.GATEWAY, *WEBS, ready=probes.answers("gateway", "/healthz")),

    # Done at each start, and skipped where nothing they depend on has changed.
    migrate("auth", "mongod"),
    migrate("tickets", "mongod"),
    migrate("orders", "postgres"),
    migrate("payments", "mongod"),
    migrate("expiration", "mongod"),
    once("topics", manage("auth", "create_topics"), "kafka", unless_changed=("ticketing/topics.py", "apps/outbox/**/*.py")),
    once("schemas", manage("auth", "register_schemas"), "registry", unless_changed=("avro/**/*.avsc", "apps/outbox/**/*.py")),
    once("connector", manage("orders", "apply_connector"), "connect", "migrate-orders", *EVENTS),
    once("collectstatic", manage("tickets", "collectstatic", "--no-input", "--verbosity=0", "--ignore=redoc", "--ignore=rest_framework"), unless_changed=("apps/**/static/**/*", *CODE)),
    once("accounts", manage("auth", "create_demo_accounts"), "migrate-auth", unless_changed=("apps/auth/management/**/*.py",)),
    once("seed", seed, "migrate-tickets", "accounts", unless_changed=("apps/tickets/management/**/*.py",)),

    # auth: who somebody is, and the mails to them.
    web("auth", "migrate-auth", "collectstatic"),
    process("auth-relay", manage("auth", "relay_outbox"), "migrate-auth", *EVENTS),
    process("auth-consumer", manage("auth", "consume_events"), "migrate-auth", *EVENTS),
    process("auth-mailer", manage("auth", "send_mails"), "migrate-auth"),
    # tickets: what is for sale.
    web("tickets", "migrate-tickets", "collectstatic"),
    process("tickets-relay", manage("tickets", "relay_outbox"), "migrate-tickets", *EVENTS),
    process("tickets-consumer", manage("tickets", "consume_events"), "migrate-tickets", *EVENTS),
    # orders: who may have which ticket. Debezium reads its outbox from PostgreSQL's log.
    web("orders", "migrate-orders", "collectstatic"),
    process("orders-raw", manage("orders", "consume_raw_orders"), "migrate-orders", "connector", *EVENTS),
    process("orders-consumer", manage("orders", "consume_events"), "migrate-orders", *EVENTS),
    # payments: the money.
    web("payments", "migrate-payments", "collectstatic"),
    process("payments-relay", manage("payments", "relay_outbox"), "migrate-payments", *EVENTS),
    process("payments-consumer", manage("payments", "consume_events"), "migrate-payments", *EVENTS),
    process("payments-settler", manage("payments", "settle_payments"), "migrate-payments", "provider"),
    # expiration: when time is up.
    web("expiration", "migrate-expiration", "collectstatic"),
    process("expiration-relay", manage("expiration", "relay_outbox"), "migrate-expiration", *EVENTS),
    process("expiration-consumer", manage("expiration", "consume_events"), "migrate-expiration", "redis", *EVENTS),
    process("expiration-worker", worker("expiration"), "migrate-expiration", "redis"),
    process("expiration-beat", beat("expiration"), "migrate-expiration", "redis"),
)
# fmt: on
SERVERS_ALONE = ("postgres", "mongod", "redis", "kafka", "registry", "connect", "provider")
