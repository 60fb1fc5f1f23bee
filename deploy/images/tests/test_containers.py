"""Every process of every service in a container of the image, from its start to its stop."""

from __future__ import annotations

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

import httpx
import pytest

from deploy.images.tests.containers import GRACE_SECONDS, JOBS, PROCESSES
from deploy.local.entries import environment_of_service
from prove import load
from prove.report import is_failure
from prove.verdict import Judge
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


def test_every_process_is_replaced_while_people_buy_and_nobody_notices(containers, front, capsys):
    """A rolling restart as Kubernetes does it: the new process is ready before the old one goes."""
    now = containers
    with load.running(containers.config.public_url, seed=1, sellers=2, buyers=6) as market:
        eventually(lambda: paid(market.told), within=SECONDS_TO_SETTLE, what="a purchase")
        began = time.time()
        for entry in PROCESSES:
            now = now.roll(entry, front)
        ended = time.time()
    judge = Judge(
        config=now.config,
        environment_of=lambda name: os.environ | environment_of_service(now.config, name),
        told=market.told,
    )
    verdict = judge.wait(since=time.time())

    meanwhile = [each for each in market.told if began <= each.at <= ended]
    with capsys.disabled():
        print(f"\n{summary(meanwhile, ended - began, verdict)}")
    assert [each for each in market.told if is_failure(each)] == []
    assert verdict.violations == []
    assert verdict.counts["sent again"] == 0
    assert paid(meanwhile)


def paid(told):
    return [each for each in told if each.what == "pay" and each.status == HTTPStatus.CREATED]


def summary(told, seconds, verdict):
    took = sorted(each.took for each in told)
    return (
        f"{len(PROCESSES)} processes replaced in {seconds:.0f} s: {len(told):,} requests, "
        f"{sum(map(is_failure, told))} without an answer or 5xx, p50 {took[len(took) // 2]:.3f} s, "
        f"p99 {took[len(took) * 99 // 100]:.3f} s, longest {took[-1]:.2f} s; "
        f"{len(paid(told)):,} payments; {verdict.counts['events']:,} events, "
        f"{verdict.counts['sent again']} sent again, {len(verdict.violations)} violations"
    )


def test_every_process_ends_well_within_its_grace_when_it_is_asked_to(containers):
    with ThreadPoolExecutor(max_workers=4) as pool:
        seconds = list(pool.map(containers.stop, PROCESSES))

    ends = {each.name: int(containers.inspect(each, "{{.State.ExitCode}}")) for each in PROCESSES}
    assert ends == dict.fromkeys(ends, 0)
    assert max(seconds) < GRACE_SECONDS
