from __future__ import annotations

import json
import re

from deploy.local import config
from deploy.local.gateway import TEMPLATE
from deploy.local.ports import OBSERVED
from deploy.local.stack import SERVERS_ALONE, STACK


def test_each_process_of_ours_serves_its_metrics_on_a_port_of_its_own(tmp_path):
    system = config.load({"TICKETING_DIR": str(tmp_path), "TICKETING_CACHE": str(tmp_path)})

    addresses = {
        entry.name: entry.program.launch(system).environment["METRICS_ADDRESS"]
        for entry in STACK
        if not entry.once and entry.name not in (*SERVERS_ALONE, "gateway")
    }

    assert set(addresses) == set(OBSERVED)
    assert len(set(addresses.values())) == len(OBSERVED)


def test_connections_are_let_go_by_the_gateway_and_not_by_the_web_servers(tmp_path):
    system = config.load({"TICKETING_DIR": str(tmp_path), "TICKETING_CACHE": str(tmp_path)})
    command = (
        next(each for each in STACK if each.name == "orders-web").program.launch(system).command
    )
    image = re.search(r"^CMD (.*)$", (config.ROOT / "Dockerfile").read_text(), re.MULTILINE)

    by_gateway = [int(each) for each in re.findall(r"keepalive (\d+)s", TEMPLATE.read_text())]
    by_servers = [
        int(words[words.index("--keep-alive") + 1]) for words in (command, json.loads(image[1]))
    ]

    assert by_gateway
    assert max(by_gateway) + 10 < min(by_servers)
