"""How each server is set up and started. All of them listen on the loopback address alone."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

from deploy.local import fetch
from deploy.local.config import Config
from deploy.local.entries import Launch, Program, python
from deploy.local.errors import CannotContinue
from deploy.local.gateway import caddyfile

NOBODY = 65_534
# PostgreSQL refuses to run as root, so root hands it to `nobody`, who keeps one capability: to pass
# through directories such as /root that are closed to others.
AS_NOBODY = (
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    # access(2), by which initdb looks at its siblings, would not count the capability otherwise.
    "--securebits=+no_setuid_fixup",
    "--inh-caps=+dac_override",
    "--ambient-caps=+dac_override",
    # A change of user clears the parent-death signal, so it is set once more.
    *("setpriv", "--pdeathsig", "KILL", "--"),
)


def unprivileged() -> tuple[str, ...]:
    return AS_NOBODY if os.geteuid() == 0 else ()


def prepare_postgres(config: Config) -> None:
    data = config.data / "postgres"
    if (data / "PG_VERSION").exists():
        return
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(data, NOBODY, NOBODY)
    password = config.run / "postgres-password"
    password.write_text(config.secrets["POSTGRES_PASSWORD"], encoding="utf-8")
    password.chmod(0o600)
    try:
        run_to_end(
            "initdb",
            *unprivileged(),
            str(fetch.postgres(config.cache) / "initdb"),
            *("--pgdata", str(data), "--username", "ticketing", "--pwfile", str(password)),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8"),
            "--no-sync",
        )
    finally:
        password.unlink()


def postgres(config: Config) -> Launch:
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": config.ports["postgres"],
        "unix_socket_directories": "",
        "wal_level": "logical",  # Debezium reads the orders' outbox from the log
        "max_connections": 200,
        "shared_buffers": config.sizes["POSTGRES_SHARED_BUFFERS"],
        "timezone": "UTC",
        "log_timezone": "UTC",
        "max_slot_wal_keep_size": config.sizes["POSTGRES_MAX_SLOT_WAL_KEEP_SIZE"],
    }
    if not config.lasting:
        settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    return Launch(
        (
            *unprivileged(),
            str(fetch.postgres(config.cache) / "postgres"),
            *("-D", str(config.data / "postgres")),
            *(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
        )
    )


def prepare_mongod(config: Config) -> None:
    (config.data / "mongod").mkdir(exist_ok=True)


def mongod(config: Config) -> Launch:
    return Launch(
        (
            str(fetch.mongod(config.cache)),
            *("--dbpath", str(config.data / "mongod"), "--port", str(config.ports["mongod"])),
            *("--bind_ip", "127.0.0.1", "--nounixsocket", "--replSet", "rs0", "--quiet"),
            *("--wiredTigerCacheSizeGB", config.sizes["MONGOD_CACHE_GB"], "--oplogSize", "512"),
            *("--slowms", "2000"),
            # What a killed process had written in its transaction is locked for so long; ours end
            # within ten seconds.
            *("--setParameter", "transactionLifetimeLimitSeconds=15"),
            # The crash tests inject failures through mongod's fail points.
            *(() if config.lasting else ("--setParameter", "enableTestCommands=1")),
        )
    )


def prepare_redis(config: Config) -> None:
    (config.data / "redis").mkdir(exist_ok=True)


def redis(config: Config) -> Launch:
    return Launch(
        (
            str(fetch.redis(config.cache)),
            *("--port", str(config.ports["redis"]), "--bind", "127.0.0.1"),
            *("--dir", str(config.data / "redis"), "--appendonly", "yes", "--save", ""),
            *("--loglevel", "warning"),
        )
    )


LOG4J = """\
status=error
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{HH:mm:ss.SSS} %p %c{1}: %m%n
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
"""


def java(config: Config, name: str, heap: str) -> tuple[str, ...]:
    """Return a small JVM that starts quickly: one collector, one compiler, an archive of classes.

    The archive is written when the JVM first ends well and halves its later starts.
    """
    archive = config.cache / "archives" / f"{name}-{fetch.digest_of_locks()}.jsa"
    return (
        str(fetch.java(config.cache)),
        "--enable-native-access=ALL-UNNAMED",
        *(f"-Xmx{heap}", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
        *("-XX:+ExitOnOutOfMemoryError", "-XX:+AutoCreateSharedArchive"),
        *(f"-XX:SharedArchiveFile={archive}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"),
        f"-Dlog4j2.configurationFile={config.generated / 'log4j2.properties'}",
    )


def write_properties(config: Config, name: str, properties: dict[str, object]) -> None:
    config.generated.mkdir(exist_ok=True)
    (config.cache / "archives").mkdir(exist_ok=True)
    (config.generated / "log4j2.properties").write_text(LOG4J, encoding="utf-8")
    lines = (f"{key}={value}\n" for key, value in properties.items())
    (config.generated / f"{name}.properties").write_text("".join(lines), encoding="utf-8")


def prepare_kafka(config: Config) -> None:
    broker, controller = config.ports["kafka"], config.ports["kafka-controller"]
    write_properties(
        config,
        "kafka",
        {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://{config.address('kafka')}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": config.data / "kafka",
            # A misspelt topic must be an error, not a new topic.
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            "log.segment.bytes": 64 * 1024 * 1024,
        },
    )
    if not (config.data / "kafka" / "meta.properties").exists():
        shutil.rmtree(config.data / "kafka", ignore_errors=True)
        run_to_end(
            "kafka's storage tool",
            *java(config, "kafka", "256m"),
            *("-cp", fetch.classpath(config.cache, "kafka"), "kafka.tools.StorageTool"),
            *("format", f"--cluster-id={config.secrets['KAFKA_CLUSTER_ID']}"),
            *("--config", str(config.generated / "kafka.properties")),
        )


def kafka(config: Config) -> Launch:
    return Launch(
        (
            *java(config, "kafka", "512m"),
            *("-cp", fetch.classpath(config.cache, "kafka"), "kafka.Kafka"),
            str(config.generated / "kafka.properties"),
        )
    )


def prepare_connect(config: Config) -> None:
    storage = {
        f"{kind}.storage.{name}": value
        for kind in ("config", "offset", "status")
        for name, value in {"topic": f"connect.{kind}", "replication.factor": 1}.items()
    }
    write_properties(
        config,
        "connect",
        {
            "bootstrap.servers": config.address("kafka"),
            "group.id": "connect",
            "listeners": f"http://127.0.0.1:{config.ports['connect']}",
            "rest.advertised.host.name": "127.0.0.1",
            "key.converter": "org.apache.kafka.connect.storage.StringConverter",
            "value.converter": "org.apache.kafka.connect.json.JsonConverter",
            **storage,
            "offset.storage.partitions": 1,
            "status.storage.partitions": 1,
            "offset.flush.interval.ms": 1000,
            # A worker that has lost the group for a while, with Kafka, gets its connector back at
            # once. By default its tasks wait five minutes for it, though it is there again.
            "scheduled.rebalance.max.delay.ms": 0,
            # Connectors name a password and Connect looks it up, so that REST shows the name.
            "config.providers": "env",
            "config.providers.env.class": (
                "org.apache.kafka.common.config.provider.EnvVarConfigProvider"
            ),
            "config.providers.env.param.allowlist.pattern": "CONNECT_.*",
            "plugin.path": fetch.connect_plugins(config.cache),
            "plugin.discovery": "service_load",
        },
    )


def connect(config: Config) -> Launch:
    return Launch(
        (
            *java(config, "connect", "512m"),
            *("-cp", fetch.classpath(config.cache, "kafka")),
            "org.apache.kafka.connect.cli.ConnectDistributed",
            str(config.generated / "connect.properties"),
        ),
        {"CONNECT_ORDERS_PASSWORD": config.secrets["POSTGRES_PASSWORD"]},
    )


def prepare_registry(config: Config) -> None:
    (config.cache / "archives").mkdir(exist_ok=True)


def registry(config: Config) -> Launch:
    home = fetch.registry(config.cache)
    url = f"jdbc:postgresql://127.0.0.1:{config.ports['postgres']}/registry"
    return Launch(
        (*java(config, "registry", "384m"), "-jar", str(home / "quarkus-run.jar")),
        {
            "QUARKUS_HTTP_HOST": "127.0.0.1",
            "QUARKUS_HTTP_PORT": str(config.ports["registry"]),
            "QUARKUS_MANAGEMENT_HOST": "127.0.0.1",
            "QUARKUS_MANAGEMENT_PORT": str(config.ports["registry-management"]),
            "QUARKUS_LOG_LEVEL": "WARN",
            "QUARKUS_BANNER_ENABLED": "false",
            # In memory, its default, every schema id would change with a restart.
            "APICURIO_STORAGE_KIND": "sql",
            "APICURIO_STORAGE_SQL_KIND": "postgresql",
            "APICURIO_DATASOURCE_URL": url,
            "APICURIO_DATASOURCE_USERNAME": "ticketing",
            "APICURIO_DATASOURCE_PASSWORD": config.secrets["POSTGRES_PASSWORD"],
        },
        home,
    )


def provider(config: Config) -> Launch:
    return Launch(
        python(
            *("-m", "deploy.sandbox", "--bind", f"127.0.0.1:{config.ports['provider']}"),
            *("--data", str(config.data / "provider")),
            *("--webhook-url", f"{config.public_url}/payments/webhook/"),
            *("--public-url", f"{config.public_url}/sandbox"),
        ),
        {
            "STRIPE_KEY": config.secrets["STRIPE_KEY"],
            "STRIPE_WEBHOOK_SECRET": config.secrets["STRIPE_WEBHOOK_SECRET"],
        },
    )


def prepare_provider(config: Config) -> None:
    (config.data / "provider").mkdir(exist_ok=True)


def prepare_gateway(config: Config) -> None:
    config.generated.mkdir(exist_ok=True)
    (config.generated / "Caddyfile").write_text(caddyfile(config), encoding="utf-8")


def gateway(config: Config) -> Launch:
    return Launch(
        (
            *(str(fetch.caddy(config.cache)), "run", "--adapter", "caddyfile"),
            *("--config", str(config.generated / "Caddyfile")),
        ),
        # Caddy keeps state in the home directory of its user unless told otherwise.
        {
            "XDG_DATA_HOME": str(config.data / "caddy"),
            "XDG_CONFIG_HOME": str(config.data / "caddy"),
        },
    )


POSTGRES = Program(postgres, prepare_postgres, stop_signal="INT")  # its fast shutdown
MONGOD = Program(mongod, prepare_mongod)
REDIS = Program(redis, prepare_redis)
KAFKA = Program(kafka, prepare_kafka)
CONNECT = Program(connect, prepare_connect)
REGISTRY = Program(registry, prepare_registry)
PROVIDER = Program(provider, prepare_provider)
GATEWAY = Program(gateway, prepare_gateway)


def run_to_end(what: str, *command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-1500:]
        raise CannotContinue(f"{what} failed with status {done.returncode}: {said}")


def remove_stale_locks(config: Config) -> None:
    """Remove what a killed PostgreSQL leaves; called when nothing of this stack is running.

    Its pid may belong to another process by now, and PostgreSQL would then refuse to start.
    """
    with contextlib.suppress(FileNotFoundError):
        Path(config.data / "postgres" / "postmaster.pid").unlink()
