"""Every process of every service in a container of the image, from its start to its stop."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from deploy.images.tests.containers import GRACE_SECONDS, JOBS, PROCESSES
from tests.e2e.people import signed_up
from tests.e2e.stack import eventually

SECONDS_TO_SETTLE = 240
# Building images and starting twenty processes takes its time on two cores.
pytestmark = pytest.mark.timeout(900)


def test_a_ticket_is_bought_through_the_containers(containers):
    url = containers.config.public_url
    with signed_up(url) as seller, signed_up(url) as buyer:
        ticket = seller.list_ticket(price=42)

        order = buyer.reserve(ticket["id"])
        paid = buyer.pay(order["id"])

        assert paid.status_code == 201, paid.text
        for who, path, expected in (
            (buyer, f"/api/orders/{order['id']}", ("status", "complete")),
            (seller, f"/api/tickets/{ticket['id']}", ("orderId", order["id"])),
        ):
            eventually(
                lambda who=who, path=path, expected=expected: (
                    expected in who.http.get(path).json().items()
                ),
                within=SECONDS_TO_SETTLE,
                what=f"{path} to have {expected}",
            )


def test_pages_come_with_the_static_files_of_the_image(containers):
    with httpx.Client(base_url=containers.config.public_url) as http:
        page = http.get("/").raise_for_status()
        links = re.findall(r'"(/static/[^"]+\.css)"', page.text)

        assert links
        for link in links:
            assert http.get(link).raise_for_status().headers["Content-Type"].startswith("text/css")


@pytest.mark.parametrize("entry", PROCESSES, ids=lambda entry: entry.name)
def test_a_process_is_not_root_and_writes_nothing_into_its_container(containers, entry):
    users = containers.engine.docker("exec", containers.name(entry), "id", "-u").split()
    changed = containers.engine.docker("diff", containers.name(entry)).split("\n")

    assert users == ["10001"]
    # Mount points are made by the engine itself.
    assert [line for line in changed if line and "/var/lib/ticketing" not in line] == []
    assert containers.inspect(entry, "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}}") == (
        "10001:10001 true"
    )


AGAIN = ("migrate-tickets", "migrate-orders", "schemas", "connector", "accounts")


@pytest.mark.parametrize("name", AGAIN)
def test_a_job_may_be_run_again(containers, name):
    [job] = [each for each in JOBS if each.name == name]

    containers.do(job)


def test_the_image_of_the_topics_creates_what_lacks_and_nothing_twice(containers):
    engine = containers.engine
    engine.docker(
        *("build", "--tag", "ticketing-kafka-topics-job:test"),
        *("--build-arg", f"SERVICE_IMAGE={containers.image}", "deploy/images/kafka-topics-job"),
    )
    [topics] = [entry for entry in JOBS if entry.name == "topics"]
    options = containers.options(topics)
    options = options[: options.index(containers.image)]

    said = engine.docker("run", "--rm", *options, "ticketing-kafka-topics-job:test")

    assert "topics exist" in said
    assert "+ " not in said


def test_every_process_ends_well_within_its_grace_when_it_is_asked_to(containers):
    with ThreadPoolExecutor(max_workers=4) as pool:
        seconds = list(pool.map(containers.stop, PROCESSES))

    ends = {each.name: int(containers.inspect(each, "{{.State.ExitCode}}")) for each in PROCESSES}
    assert ends == dict.fromkeys(ends, 0)
    assert max(seconds) < GRACE_SECONDS
