"""Settings that others can reach: what is refused, and what `check --deploy` says of the rest."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys

import pytest
from confluent_kafka import Producer
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from kombu import Connection
from pymongo import MongoClient

from apps.outbox.clients import client_settings
from apps.outbox.registry import Registry
from ticketing.env import env_kafka, env_postgresql, env_registry, env_secret
from ticketing.security import is_local, refuse_unsafe

ORIGIN = "https://tickets.example"
SERVICES = ("auth", "tickets", "orders", "payments", "expiration")
# What a production environment gives; the rest has defaults that are fit for it.
PRODUCTION = {
    "PUBLIC_URL": ORIGIN,
    "KAFKA_BOOTSTRAP_SERVERS": "kafka.invalid:9092",
    "SCHEMA_REGISTRY_URL": "https://registry.invalid",
    "MONGODB_URI": "mongodb://user:word@mongodb.invalid/?tls=true",
    "DATABASE_URL": "postgresql://user:word@postgresql.invalid/orders?sslmode=verify-full",
    "CONNECT_URL": "https://connect.invalid",
    "REDIS_URL": "rediss://:word@redis.invalid/0",
    "PATH": os.environ["PATH"],
}


def start(service, **environment):
    """Run `manage.py check --deploy` of the service as a production environment would."""
    made = {
        name: secrets.token_urlsafe(48)
        for name in ("SECRET_KEY", "JWT_KEY", "STRIPE_KEY", "STRIPE_WEBHOOK_SECRET")
    }
    environment = PRODUCTION | made | environment
    environment["DJANGO_SETTINGS_MODULE"] = f"ticketing.settings.{service}"
    return subprocess.run(
        (sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"),
        cwd=settings.BASE_DIR,
        env={name: value for name, value in environment.items() if value is not None},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("service", SERVICES)
def test_djangos_own_check_finds_nothing_in_production(service):
    run = start(service)

    assert run.returncode == 0, run.stderr
    assert "no issues" in run.stdout


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ({"PUBLIC_URL": None}, "PUBLIC_URL is not set"),
        ({"PUBLIC_URL": "http://tickets.example"}, "set PUBLIC_URL=https://tickets.example"),
        ({"DEBUG": "true"}, "DEBUG shows settings and source to visitors: unset it"),
        ({"SECRET_KEY": "asdf"}, "SECRET_KEY has 4 characters and needs at least 50"),
        ({"JWT_KEY": "changeme" * 2}, "JWT_KEY has 16 characters and needs at least 32"),
    ],
)
def test_a_process_refuses_to_start_and_says_what_to_do(change, advice):
    run = start("orders", **change)

    assert run.returncode != 0
    assert advice in run.stderr


@pytest.mark.parametrize(
    ("public_url", "answer"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://localhost", True),
        ("http://[::1]:8000", True),
        ("https://tickets.example", False),
        ("http://192.168.1.7:8000", False),
        ("http://127.0.0.1.evil.example", False),
        ("http://localhost.evil.example", False),
    ],
)
def test_only_an_address_of_the_machine_itself_is_a_local_stack(public_url, answer):
    assert is_local(public_url) is answer


@pytest.mark.parametrize("public_url", ["", "tickets.example", "ftp://x.example", f"{ORIGIN}/a"])
def test_a_public_address_is_an_origin(public_url):
    with pytest.raises(ImproperlyConfigured, match="PUBLIC_URL must be the origin"):
        is_local(public_url)


@pytest.mark.parametrize(
    ("hosts", "advice"),
    [
        ((), "ALLOWED_HOSTS lacks the host of PUBLIC_URL: add tickets.example"),
        (("other.example",), "add tickets.example"),
        (("*",), "believes any Host header: set ALLOWED_HOSTS=tickets.example"),
    ],
)
def test_hosts_that_fit_nothing_or_everything_are_refused(hosts, advice):
    with pytest.raises(ImproperlyConfigured, match=advice.replace("*", r"\*")):
        refuse_unsafe(ORIGIN, debug=False, allowed_hosts=hosts)


@pytest.mark.parametrize("hosts", [("tickets.example", "10.0.0.1"), (".example",)])
def test_hosts_that_name_the_public_one_are_taken(hosts):
    refuse_unsafe(ORIGIN, debug=False, allowed_hosts=hosts)


def test_all_faults_are_named_at_once():
    with pytest.raises(ImproperlyConfigured) as refusal:
        refuse_unsafe("http://tickets.example", debug=True, allowed_hosts=["*"])

    assert str(refusal.value).count("\n  - ") == 3


@pytest.mark.parametrize("value", ["ab" * 32, "django-insecure-" + "x1y2z3w4v5u6" * 4])
def test_a_long_secret_that_can_be_guessed_is_refused(monkeypatch, value):
    monkeypatch.setenv("JWT_KEY", value)

    with pytest.raises(ImproperlyConfigured, match="JWT_KEY is an example or a repetition"):
        env_secret("JWT_KEY")


def given(monkeypatch, **values):
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_kafkas_clients_prove_who_they_are(monkeypatch, settings, tmp_path):
    given(
        monkeypatch,
        KAFKA_SECURITY_PROTOCOL="sasl_ssl",
        KAFKA_SASL_USERNAME="orders",
        KAFKA_SASL_PASSWORD="a secret word",
        KAFKA_SSL_CA=str(tmp_path / "ca.pem"),
    )

    settings.KAFKA_SECURITY = env_kafka()
    used = client_settings()

    assert used["security.protocol"] == "SASL_SSL"
    assert used["sasl.mechanism"] == "SCRAM-SHA-512"
    assert (used["sasl.username"], used["sasl.password"]) == ("orders", "a secret word")
    assert used["ssl.ca.location"] == str(tmp_path / "ca.pem")
    # librdkafka knows each of the words.
    Producer(used | {"ssl.ca.location": "probe"})


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": "TLS"}, "must be PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "KAFKA_SASL_USERNAME is not set"),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "NTLM"},
            "KAFKA_SASL_MECHANISM must be PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
        ),
    ],
)
def test_what_kafka_could_not_use_is_refused(monkeypatch, values, advice):
    given(monkeypatch, **values)

    with pytest.raises(ImproperlyConfigured, match=advice):
        env_kafka()


def test_without_a_word_kafka_is_plain():
    assert env_kafka() == {}


def test_the_registrys_client_proves_who_it_is(monkeypatch, settings):
    given(monkeypatch, SCHEMA_REGISTRY_USER="orders", SCHEMA_REGISTRY_PASSWORD="a:word")

    settings.SCHEMA_REGISTRY_SECURITY = env_registry()
    registry = Registry.from_settings()

    assert registry.client._rest_client.session.auth is not None
    registry.close()


def test_postgresql_is_asked_for_its_certificate(monkeypatch):
    given(monkeypatch, DATABASE_URL=f"{PRODUCTION['DATABASE_URL']}&sslrootcert=/etc/ca.pem")

    connections.settings["secured"] = connections.configure_settings(
        {"default": settings.DATABASES["default"], "secured": env_postgresql("DATABASE_URL")}
    )["secured"]
    try:
        parameters = connections["secured"].get_connection_params()
    finally:
        del connections.settings["secured"]

    assert parameters["sslmode"] == "verify-full"
    assert parameters["sslrootcert"] == "/etc/ca.pem"
    assert (parameters["user"], parameters["password"]) == ("user", "word")


def test_mongodbs_uri_carries_tls_and_the_account():
    with MongoClient(PRODUCTION["MONGODB_URI"], connect=False) as client:
        options = client.options.pool_options

    assert options._ssl_context is not None
    assert options._credentials.username == "user"


def test_redis_uri_carries_tls_and_the_password():
    connection = Connection(f"{PRODUCTION['REDIS_URL']}?ssl_cert_reqs=CERT_REQUIRED")

    assert connection.transport_cls == "rediss"
    assert connection.password == "word"
    assert connection.ssl
