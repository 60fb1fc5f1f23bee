"""Write jars.txt anew: every Java file the stack needs, by coordinates and SHA-256.

Needs Maven (which resolves what depends on what); `make run` itself does not.
Example: python -m deploy.local.lock_jars
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import tempfile
from pathlib import Path

from deploy.local.fetch import JARS, Jar, pom

KAFKA = "4.3.1"
WANTED: dict[str, tuple[Jar, ...]] = {
    "kafka": (
        Jar("kafka", "org.apache.kafka", "kafka_2.13", "jar", "", KAFKA),
        Jar("kafka", "org.apache.kafka", "connect-runtime", "jar", "", KAFKA),
        Jar("kafka", "org.apache.kafka", "connect-json", "jar", "", KAFKA),
        Jar("kafka", "org.apache.kafka", "connect-transforms", "jar", "", KAFKA),
        # The binding from slf4j to log4j that Kafka's own distribution adds.
        Jar("kafka", "org.apache.logging.log4j", "log4j-slf4j-impl", "jar", "", "2.25.4"),
    ),
    # 3.6.0 and 3.6.1 can lose rows that share one LSN (dbz#1554).
    "debezium": (
        Jar("debezium", "io.debezium", "debezium-connector-postgres", "jar", "", "3.7.0.Final"),
    ),
    "registry": (
        Jar("registry", "io.apicurio", "apicurio-registry-app", "tar.gz", "all", "3.3.3"),
    ),
}
# group:artifact:type[:classifier]:version:scope, as dependency:list prints it.
LISTED = re.compile(
    r"^\s+(?P<group>[\w.-]+):(?P<artifact>[\w.-]+):(?P<kind>[\w.]+)(?::(?P<classifier>[\w-]+))?"
    r":(?P<version>[\w.-]+):(?:compile|runtime)"
)


def resolve(name: str, wanted: tuple[Jar, ...], directory: Path) -> list[Jar]:
    """Return the wanted files and what they need, downloaded into `directory`."""
    project, listing = directory / f"{name}.xml", directory / f"{name}.list"
    # The registry's archive holds its own libraries.
    project.write_text(pom(wanted, transitive=name != "registry"), encoding="utf-8")
    subprocess.run(
        [
            *("mvn", "-q", "-B", "-f", str(project), "dependency:copy-dependencies"),
            *("dependency:list", f"-DoutputFile={listing}", "-DincludeScope=runtime"),
            f"-DoutputDirectory={directory / name}",
        ],
        check=True,
    )
    matches = map(LISTED.match, listing.read_text(encoding="utf-8").splitlines())
    return [
        Jar(name, m["group"], m["artifact"], m["kind"], m["classifier"] or "", m["version"])
        for m in matches
        if m
    ]


def main() -> None:
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        for name, wanted in WANTED.items():
            for jar in sorted(resolve(name, wanted, Path(temporary)), key=str):
                content = (Path(temporary) / name / jar.file_name).read_bytes()
                lines.append(f"{jar} {hashlib.sha256(content).hexdigest()}\n")
    JARS.write_text("".join(lines), encoding="utf-8")
    print(f"{JARS}: {len(lines)} files")


if __name__ == "__main__":
    main()
