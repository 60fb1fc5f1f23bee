from __future__ import annotations

import json

import pytest

from deploy.local.config import INJECTED, ROOT, SERVICES, directories, load, load_secrets
from deploy.local.entries import (
    environment_of_service,
    environment_of_system,
    environment_of_tests,
)
from deploy.local.errors import CannotContinue


@pytest.fixture
def environ(tmp_path):
    return {"TICKETING_DIR": str(tmp_path / "dir"), "TICKETING_CACHE": str(tmp_path / "cache")}


def test_data_lie_in_the_checkout_and_downloads_in_a_shared_cache(tmp_path):
    assert directories({"XDG_CACHE_HOME": str(tmp_path)}) == (
        ROOT / ".local",
        tmp_path / "ticketing",
    )


def test_secrets_are_generated_once_and_for_their_owner_alone(environ):
    first = load(environ)
    second = load(environ)

    assert first.secrets == second.secrets
    assert (first.directory / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_two_checkouts_share_no_secret(tmp_path):
    one = load({"TICKETING_DIR": str(tmp_path / "1"), "TICKETING_CACHE": str(tmp_path)})
    other = load({"TICKETING_DIR": str(tmp_path / "2"), "TICKETING_CACHE": str(tmp_path)})

    assert not set(one.secrets.values()) & set(other.secrets.values())


def test_a_secret_that_came_later_is_added_and_the_others_stay(tmp_path):
    path = tmp_path / "secrets.json"
    path.write_text(json.dumps({"JWT_KEY": "kept"}))

    secrets = load_secrets(path)

    assert secrets["JWT_KEY"] == "kept"
    assert secrets["POSTGRES_PASSWORD"]
    assert json.loads(path.read_text()) == secrets


def test_a_broken_file_of_secrets_is_told_and_not_replaced(tmp_path):
    path = tmp_path / "secrets.json"
    path.write_text("{")

    with pytest.raises(CannotContinue, match="not JSON"):
        load_secrets(path)
    assert path.read_text() == "{"


def test_settings_of_the_shell_reach_the_services_by_name_only(environ):
    given = {"EXPIRATION_WINDOW_SECONDS": "5", "DATABASE_URL": "postgresql://elsewhere/db"}

    environment = environment_of_service(load(environ | given), "orders")

    assert environment["EXPIRATION_WINDOW_SECONDS"] == "5"
    assert "elsewhere" not in environment["DATABASE_URL"]


def test_no_service_gets_another_services_database_or_secrets(environ):
    config = load(environ)
    environments = {service: environment_of_service(config, service) for service in SERVICES}

    assert [name for name in SERVICES if "DATABASE_URL" in environments[name]] == ["orders"]
    assert [name for name in SERVICES if "STRIPE_KEY" in environments[name]] == ["payments"]
    assert len({each["SECRET_KEY"] for each in environments.values()}) == len(SERVICES)
    assert len({each["JWT_KEY"] for each in environments.values()}) == 1


def test_without_a_key_of_stripe_payments_talk_to_the_sandbox(environ):
    config = load(environ)

    environment = environment_of_service(config, "payments")

    assert environment["STRIPE_API_BASE"] == f"http://127.0.0.1:{config.ports['provider']}"


def test_with_a_key_of_stripe_payments_talk_to_stripe(environ):
    environment = environment_of_service(load(environ | {"STRIPE_KEY": "sk_live"}), "payments")

    assert environment["STRIPE_KEY"] == "sk_live"
    assert "STRIPE_API_BASE" not in environment


def test_mails_land_in_a_directory_of_the_stack_unless_a_server_is_named(environ):
    config = load(environ)
    named = load(environ | {"EMAIL_URL": "smtp://mail.example.com"})

    assert environment_of_service(config, "auth")["EMAIL_URL"] == f"file://{config.directory}/mail"
    assert environment_of_service(named, "auth")["EMAIL_URL"] == "smtp://mail.example.com"


def test_the_public_address_follows_the_port_unless_it_is_given(environ):
    assert load(environ | {"PORT": "8123"}).public_url == "http://127.0.0.1:8123"
    assert load(environ | {"PUBLIC_URL": "https://x.example"}).public_url == "https://x.example"


def test_a_process_gets_the_systems_variables_and_the_mark_of_its_stack(environ):
    config = load(environ)

    environment = environment_of_system(config, {"PATH": "/bin", "MONGODB_DATABASE": "other"})

    assert environment["PATH"] == "/bin"
    assert environment["TICKETING_STACK"] == str(config.directory)
    assert "MONGODB_DATABASE" not in environment


def test_shells_python_path_stays_outside_unless_a_run_injects_its_own(environ):
    config = load(environ)

    stray = environment_of_system(config, {"PYTHONPATH": "/stray"})
    injected = environment_of_system(config, {"PYTHONPATH": "/stray", INJECTED: "/injected"})

    assert "PYTHONPATH" not in stray
    assert injected["PYTHONPATH"] == "/injected"


def test_tests_can_reach_every_server(environ):
    environment = environment_of_tests(load(environ))

    assert {"MONGODB_URI", "DATABASE_URL", "REDIS_URL", "STRIPE_API_BASE"} <= set(environment)
    assert "DJANGO_SETTINGS_MODULE" not in environment


def test_databases_get_the_sizes_that_the_environment_gives_them(environ):
    usual = load(environ)
    given = load(environ | {"MONGOD_CACHE_GB": "4", "POSTGRES_SHARED_BUFFERS": "2GB"})

    assert (usual.sizes["MONGOD_CACHE_GB"], given.sizes["MONGOD_CACHE_GB"]) == ("0.5", "4")
    assert usual.sizes["POSTGRES_SHARED_BUFFERS"] == "128MB"
    assert given.sizes["POSTGRES_SHARED_BUFFERS"] == "2GB"


def test_services_reach_a_server_through_what_stands_before_it(environ):
    config = load(environ | {"KAFKA_FRONT_PORT": "20001"})

    environment = environment_of_service(config, "orders")

    assert environment["KAFKA_BOOTSTRAP_SERVERS"] == "127.0.0.1:20001"
    assert config.ports["kafka"] != 20001
    assert config.address("postgres") == f"127.0.0.1:{config.ports['postgres']}"
