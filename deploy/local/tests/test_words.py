from __future__ import annotations

from deploy.local import config
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
