"""The process environment, read strictly: the only place where settings come from.

Each reader also understands NAME_FILE, a path to a file that holds the value, which is how
Kubernetes and Docker hand out secrets.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off", ""})
SHORTEST_SECRET = 32
SHORTEST_DJANGO_SECRET = 50  # as `manage.py check --deploy` asks
FEWEST_CHARACTERS = 8
EXAMPLE_PREFIX = "django-insecure-"
MAIL_TIMEOUT_SECONDS = 20


def env_str(name: str, default: str | None = None) -> str:
    """Return the text of NAME or of the file NAME_FILE.

    Raises:
        ImproperlyConfigured: neither is set and there is no default, or the file cannot be read.
    """
    if (path := os.environ.get(f"{name}_FILE")) is not None:
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as exc:
            message = f"{name}_FILE points to {path}, which cannot be read: {exc.strerror}."
            raise ImproperlyConfigured(message) from exc
    value = os.environ.get(name, default)
    if value is None:
        message = f"{name} is not set. Set {name}, or {name}_FILE to a file that holds it."
        raise ImproperlyConfigured(message)
    return value


def env_int(name: str, default: int | None = None) -> int:
    """Return NAME as a whole number."""
    value = env_str(name, None if default is None else str(default))
    try:
        return int(value)
    except ValueError as exc:
        message = f"{name} must be a whole number, and is {value!r}."
        raise ImproperlyConfigured(message) from exc


def env_bool(name: str, *, default: bool | None = None) -> bool:
    """Return NAME as a truth value: 1, true, yes, on or 0, false, no, off."""
    value = env_str(name, None if default is None else str(default)).lower()
    if value in TRUE:
        return True
    if value in FALSE:
        return False
    message = f"{name} must be true or false, and is {value!r}."
    raise ImproperlyConfigured(message)


def env_list(name: str, default: str | None = None) -> tuple[str, ...]:
    """Return NAME, separated by commas, without empty parts."""
    return tuple(part.strip() for part in env_str(name, default).split(",") if part.strip())


def env_secret(name: str, *, shortest: int = SHORTEST_SECRET) -> str:
    """Return a secret that has no default and is too long and too varied to be guessed."""
    value = env_str(name)
    fault = ""
    if len(value) < shortest:
        fault = f"has {len(value)} characters and needs at least {shortest}"
    elif len(set(value)) < FEWEST_CHARACTERS or value.startswith(EXAMPLE_PREFIX):
        fault = "is an example or a repetition, which can be guessed"
    if fault:
        message = (
            f"{name} {fault}. Make one: "
            "python -c 'import secrets; print(secrets.token_urlsafe(48))'"
        )
        raise ImproperlyConfigured(message)
    return value


def env_optional_secret(name: str) -> str:
    """Return a secret that need not be there; if it is, it must be a good one."""
    return env_secret(name) if env_str(name, "") else ""


def env_kafka() -> dict[str, str]:
    """Return how Kafka's clients prove who they are, in librdkafka's words; nothing if unset.

    KAFKA_SECURITY_PROTOCOL is PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL. With SASL come
    KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD; with SSL, KAFKA_SSL_CA (a
    file; without it the system's authorities) and, for a certificate of the client's own,
    KAFKA_SSL_CERT, KAFKA_SSL_KEY and KAFKA_SSL_KEY_PASSWORD.
    """
    protocol = env_str("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT").upper()
    if protocol not in {"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"}:
        message = (
            "KAFKA_SECURITY_PROTOCOL must be PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL, and is "
            f"{protocol!r}."
        )
        raise ImproperlyConfigured(message)
    if protocol == "PLAINTEXT":
        return {}
    found = {"security.protocol": protocol}
    if protocol.startswith("SASL"):
        mechanism = env_str("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512").upper()
        if mechanism not in {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}:
            message = (
                "KAFKA_SASL_MECHANISM must be PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512, and is "
                f"{mechanism!r}."
            )
            raise ImproperlyConfigured(message)
        found |= {
            "sasl.mechanism": mechanism,
            "sasl.username": env_str("KAFKA_SASL_USERNAME"),
            "sasl.password": env_str("KAFKA_SASL_PASSWORD"),
        }
    if protocol.endswith("SSL"):
        found |= _given(
            {
                "ssl.ca.location": "KAFKA_SSL_CA",
                "ssl.certificate.location": "KAFKA_SSL_CERT",
                "ssl.key.location": "KAFKA_SSL_KEY",
                "ssl.key.password": "KAFKA_SSL_KEY_PASSWORD",
            }
        )
    return found


def env_registry() -> dict[str, str]:
    """Return how the schema registry's client proves who it is, in confluent-kafka's words.

    SCHEMA_REGISTRY_USER and SCHEMA_REGISTRY_PASSWORD are sent as basic authentication;
    SCHEMA_REGISTRY_CA is a file of authorities to trust.
    """
    found = _given({"ssl.ca.location": "SCHEMA_REGISTRY_CA"})
    if user := env_str("SCHEMA_REGISTRY_USER", ""):
        found["basic.auth.user.info"] = f"{user}:{env_str('SCHEMA_REGISTRY_PASSWORD')}"
    return found


def _given(names: dict[str, str]) -> dict[str, str]:
    values = {option: env_str(name, "") for option, name in names.items()}
    return {option: value for option, value in values.items() if value}


def env_email(name: str, default: str) -> dict[str, Any]:
    """Return how mail is sent, as the arguments of Django's get_connection, by a URL.

    smtp://user:password@host:25 is not encrypted; smtp+tls:// demands STARTTLS, and smtps:// speaks
    TLS from the first byte on. file:///a/directory puts each mail into a file instead.
    """
    url = urlsplit(env_str(name, default))
    if url.scheme == "file" and url.path.startswith("/"):
        return {"backend": "apps.auth.mail.files.MailFiles", "directory": unquote(url.path)}
    ports = {"smtp": 25, "smtp+tls": 587, "smtps": 465}
    if url.scheme not in ports or not url.hostname:
        message = (
            f"{name} must look like smtp+tls://user:password@host:587 (or smtp://, smtps://), or "
            "like file:///a/directory."
        )
        raise ImproperlyConfigured(message)
    return {
        "backend": "django.core.mail.backends.smtp.EmailBackend",
        "host": url.hostname,
        "port": url.port or ports[url.scheme],
        "username": unquote(url.username or ""),
        "password": unquote(url.password or ""),
        "use_tls": url.scheme == "smtp+tls",
        "use_ssl": url.scheme == "smtps",
        "timeout": MAIL_TIMEOUT_SECONDS,
    }


def env_postgresql(name: str) -> dict[str, Any]:
    """Return the DATABASES entry of a URL such as postgresql://user:password@host:5432/orders.

    Query parameters that libpq does not know are left out: other clients' URLs carry some,
    Prisma's `?schema=public` among them.
    """
    url = urlsplit(env_str(name))
    if url.scheme not in {"postgres", "postgresql"} or not url.path.strip("/"):
        message = f"{name} must look like postgresql://user:password@host:5432/database."
        raise ImproperlyConfigured(message)
    known = {
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "sslpassword",
        "connect_timeout",
        "application_name",
    }
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(url.path.strip("/")),
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "HOST": url.hostname or "",
        "PORT": url.port or "",
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            "connect_timeout": 3,
            **{key: value for key, value in parse_qsl(url.query) if key in known},
        },
    }
