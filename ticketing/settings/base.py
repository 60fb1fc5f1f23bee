"""What every service shares: no database, no service's app, no ROOT_URLCONF."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ticketing.env import (
    env_bool,
    env_int,
    env_kafka,
    env_list,
    env_optional_secret,
    env_registry,
    env_secret,
    env_str,
)
from ticketing.security import is_local, refuse_unsafe
from ticketing.topics import CONSUMERS, TOPICS

BASE_DIR = Path(__file__).resolve().parent.parent.parent

DEBUG = env_bool("DEBUG", default=False)
JWT_KEY = env_secret("JWT_KEY")
JWT_KEY_PREVIOUS = env_optional_secret("JWT_KEY_PREVIOUS")
JWT_LIFETIME_SECONDS = env_int("JWT_LIFETIME_SECONDS", 14 * 24 * 3600)
TOKEN_RENEWAL = ""

SERVICES: tuple[str, ...] = ("auth", "tickets", "orders", "payments", "expiration")
SITE_NAME = env_str("SITE_NAME", "Gatefold")
# The origin that browsers see. One of this machine alone is a local stack; any other is production,
# and must be safe (docs/adr/0030).
PUBLIC_URL = env_str("PUBLIC_URL").rstrip("/")
IS_LOCAL = is_local(PUBLIC_URL)
ALLOWED_HOSTS: tuple[str, ...] = env_list(
    "ALLOWED_HOSTS", f"{urlsplit(PUBLIC_URL).hostname},127.0.0.1,localhost"
)
refuse_unsafe(PUBLIC_URL, debug=DEBUG, allowed_hosts=ALLOWED_HOSTS)
CSRF_TRUSTED_ORIGINS: tuple[str, ...] = (PUBLIC_URL,)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
COOKIES_SECURE = PUBLIC_URL.startswith("https://")
SESSION_COOKIE_SECURE = COOKIES_SECURE
CSRF_COOKIE_SECURE = COOKIES_SECURE
# Probes, Prometheus and the sandbox's webhooks, which are signed, come from inside, without TLS.
SECURE_SSL_REDIRECT = env_bool("HTTPS_REDIRECT", default=COOKIES_SECURE)
SECURE_REDIRECT_EXEMPT = (r"^(healthz|readyz|metrics)$", r"^payments/webhook/$")
SECURE_HSTS_SECONDS = env_int("HSTS_SECONDS", 365 * 24 * 3600) if COOKIES_SECURE else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = env_bool("HSTS_INCLUDE_SUBDOMAINS", default=False)
SECURE_HSTS_PRELOAD = env_bool("HSTS_PRELOAD", default=False)
# What else lives under the domain, and whether browsers are to be built with its name in them, is
# for its owner to say, by the two variables above.
SILENCED_SYSTEM_CHECKS: tuple[str, ...] = ("security.W005", "security.W021")
DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024

BASE_APPS: tuple[str, ...] = (
    "django.contrib.messages",
    "django.contrib.sessions",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "apps.core",
)
# MongoDB cannot hold the integer keys of Django's own apps: apps.core.mongodb has the same apps
# with ObjectId keys and their migrations (docs/adr/0003).
SQL_APPS: tuple[str, ...] = (
    "apps.core.apps.BrandedAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
)
MONGODB_APPS: tuple[str, ...] = (
    "apps.core.mongodb.apps.MongoAdminConfig",
    "apps.core.mongodb.apps.MongoAuthConfig",
    "apps.core.mongodb.apps.MongoContentTypesConfig",
)
MONGODB_MIGRATION_MODULES: dict[str, str] = {
    "admin": "apps.core.mongodb.migrations.admin",
    "auth": "apps.core.mongodb.migrations.auth",
    "contenttypes": "apps.core.mongodb.migrations.contenttypes",
}

MIDDLEWARE: tuple[str, ...] = (
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "apps.core.middleware.ContentSecurityPolicyMiddleware",
    "apps.core.middleware.RequestContextMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "apps.core.middleware.PrincipalMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
)
TEMPLATES: tuple[dict[str, Any], ...] = (
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # Before Django's own, whose admin takes its head from here.
        "DIRS": (BASE_DIR / "apps" / "core" / "templates",),
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": (
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "apps.core.context_processors.site",
            ),
        },
    },
)
WSGI_APPLICATION = "ticketing.wsgi.application"

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
# Every service's files, whichever service collects them: all of them share one /static/.
STATICFILES_DIRS: tuple[Path, ...] = tuple(sorted(BASE_DIR.glob("apps/*/static")))
STATIC_ROOT = Path(env_str("STATIC_ROOT", str(BASE_DIR / "staticfiles")))
STORAGES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "apps.core.staticfiles.StaticStorage"},
}
# Compressing costs most of the first start. Source maps are read by developers' tools alone, and
# only the hashed name of a file is ever linked to.
WHITENOISE_SKIP_COMPRESS_EXTENSIONS = (
    *("jpg", "jpeg", "png", "gif", "webp", "zip", "gz", "br", "swf", "woff", "woff2", "map"),
)
WHITENOISE_KEEP_ONLY_HASHED_FILES = True

SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
SESSION_COOKIE_AGE = 12 * 3600
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "apps.core.http.csrf_failure"
MESSAGE_STORAGE = "apps.core.messages.SharedCookieStorage"

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": ("apps.core.identity.JWTAuthentication",),
    "DEFAULT_PERMISSION_CLASSES": ("rest_framework.permissions.AllowAny",),
    "DEFAULT_RENDERER_CLASSES": ("apps.core.http.CamelCaseJSONRenderer",),
    "DEFAULT_PARSER_CLASSES": ("apps.core.http.CamelCaseJSONParser",),
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "apps.core.http.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "NUM_PROXIES": env_int("NUM_PROXIES", 1),
    "DEFAULT_THROTTLE_RATES": {
        "signin": env_str("THROTTLE_SIGNIN", "600/min" if IS_LOCAL else "30/min"),
        "signup": env_str("THROTTLE_SIGNUP", "600/min" if IS_LOCAL else "20/min"),
        "orders": env_str("THROTTLE_ORDERS", "6000/min" if IS_LOCAL else "120/min"),
        "payments": env_str("THROTTLE_PAYMENTS", "6000/min" if IS_LOCAL else "60/min"),
    },
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Ticketing",
    "DESCRIPTION": "Errors have one shape; names are in camelCase. Sign in at the auth service.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "CAMELIZE_NAMES": False,
    "POSTPROCESSING_HOOKS": (
        "drf_spectacular.hooks.postprocess_schema_enums",
        "apps.core.schema.camelize_properties",
    ),
}

CURRENCY = "usd"
# The least that Stripe charges in this currency: a cheaper order could not be paid (ADR 0034).
MIN_PRICE_CENTS = 50
MAX_PRICE_CENTS = 100_000_00

KAFKA_BOOTSTRAP_SERVERS = env_str("KAFKA_BOOTSTRAP_SERVERS")
KAFKA_SECURITY = env_kafka()
SCHEMA_REGISTRY_URL = env_str("SCHEMA_REGISTRY_URL")
SCHEMA_REGISTRY_SECURITY = env_registry()
AVRO_DIR = BASE_DIR / "avro"
OUTBOX_TOPICS = TOPICS
OUTBOX_CONSUMERS = CONSUMERS
OUTBOX_TRANSPORT = "relay"
OUTBOX_RELAY_FENCING = env_str("OUTBOX_RELAY_FENCING", "lease")
EVENT_HANDLERS = ""
READ_MODELS: dict[str, str] = {}
CONSUMER_GROUP = ""
CONSUMER_ATTEMPTS = env_int("CONSUMER_ATTEMPTS", 3)
CONSUMER_BATCH = env_int("CONSUMER_BATCH", 500)
CONSUMER_ORDERING = env_str("CONSUMER_ORDERING", "key")
CONSUMER_DLQ_LIMIT = env_int("CONSUMER_DLQ_LIMIT", 100)
CONSUMER_DLQ_LIMIT_WINDOW_SECONDS = env_int("CONSUMER_DLQ_LIMIT_WINDOW_SECONDS", 60)
OUTBOX_RETRY_DELAYS_SECONDS: tuple[int, ...] = (5, 60, 600)
OUTBOX_RETRY_DEADLINE_SECONDS = env_int("OUTBOX_RETRY_DEADLINE_SECONDS", 3600)
OUTBOX_RETENTION_SECONDS = env_int("OUTBOX_RETENTION_SECONDS", 7 * 24 * 3600)
INBOX_RETENTION_SECONDS = env_int("INBOX_RETENTION_SECONDS", 30 * 24 * 3600)
LIVENESS_FILE = env_str("LIVENESS_FILE", "")
LIVENESS_SECONDS = env_int("LIVENESS_SECONDS", 60)
STOP_GRACE_SECONDS = env_int("STOP_GRACE_SECONDS", 25)
METRICS_ADDRESS = env_str("METRICS_ADDRESS", "")

LOG_LEVEL = env_str("LOG_LEVEL", "INFO")
LOG_FORMAT = env_str("LOG_FORMAT", "console")
LOGGING_CONFIG = "apps.core.logging.configure"
LOGGING: dict[str, Any] = {"level": LOG_LEVEL, "format": LOG_FORMAT}
