"""What containers, systemd and Kubernetes are given: it is well-formed, and what it starts runs."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml  # type: ignore[import-untyped]

from meshhook import SyncQueueService
from meshhook.testing import QueueUnderTest
from meshhook_local.waiting import wait_until
from tests.docs.snippets import ROOT
from tests.examples.conftest import EXAMPLES, MailService
from tests.jobs import job_data

DEPLOY = EXAMPLES / "deploy"
MESHHOOK = Path(sys.executable).with_name("meshhook")
GRACE_SECONDS = 30
STARTED_WITHIN_SECONDS = 50.0


def dockerfile() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile, each with its arguments."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def argument_of(instruction: str) -> str:
    (argument,) = [argument for name, argument in dockerfile() if name == instruction]
    return argument


def container_command() -> list[str]:
    return [str(word) for word in json.loads(argument_of("CMD"))]


def health_check() -> list[str]:
    return [str(word) for word in json.loads(argument_of("HEALTHCHECK").partition("CMD ")[2])]


def unit() -> configparser.ConfigParser:
    """Return the systemd unit."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(DEPLOY / "shop-worker.service", encoding="utf-8")
    return parser


def unit_command() -> list[str]:
    return shlex.split(unit()["Service"]["ExecStart"])


def test_the_dockerfile_copies_what_there_is_and_installs_extras_that_there_are() -> None:
    for name, argument in dockerfile():
        if name == "COPY":
            for source in argument.split()[:-1]:
                assert (EXAMPLES / source).is_file(), f"COPY {argument}"
    requirements = (DEPLOY / "requirements.txt").read_text(encoding="utf-8")
    extras = re.findall(r"meshhook\[(.*)\]", requirements)[0].split(",")
    known = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert all(re.search(rf"^{extra} = \[", known, re.MULTILINE) for extra in extras)


def test_the_container_does_not_run_as_root_and_gets_its_signals() -> None:
    instructions = [name for name, _ in dockerfile()]

    assert int(argument_of("USER")) > 0
    assert instructions.index("USER") < instructions.index("CMD")
    assert argument_of("CMD").startswith('["meshhook"')


def test_the_compose_file_builds_that_image_and_waits_for_the_grace_period() -> None:
    worker = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"][
        "worker"
    ]

    context = DEPLOY / worker["build"]["context"]
    assert (context / worker["build"]["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
    assert "command" not in worker
    assert set(worker["environment"]) == {"SUPABASE_URL", "SUPABASE_KEY", "MAIL_URL"}
    assert seconds(worker["stop_grace_period"]) > GRACE_SECONDS


def test_kubernetes_probes_what_the_worker_serves_and_waits_for_the_grace_period() -> None:
    manifest = yaml.safe_load((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8"))

    labels = manifest["spec"]["template"]["metadata"]["labels"]
    assert manifest["spec"]["selector"]["matchLabels"] == labels
    pod = manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["terminationGracePeriodSeconds"] > GRACE_SECONDS
    assert not {"command", "args"} & set(container)
    (port,) = container["ports"]
    assert str(port["containerPort"]) == option(container_command(), "--monitoring-port")
    probes = {
        container[name]["httpGet"]["path"]: container[name]["httpGet"]["port"]
        for name in ("livenessProbe", "readinessProbe")
    }
    assert probes == {"/healthz": port["name"], "/readyz": port["name"]}
    assert container["securityContext"]["runAsUser"] == int(argument_of("USER"))


def test_the_systemd_unit_is_well_formed_and_waits_for_the_grace_period(tmp_path: Path) -> None:
    service = unit()["Service"]

    assert int(service["TimeoutStopSec"]) > GRACE_SECONDS
    assert (service["KillSignal"], service["KillMode"]) == ("SIGTERM", "mixed")
    assert unit()["Install"]["WantedBy"] == "multi-user.target"
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        return  # no systemd here; what it would say of the unit is said where there is one
    text = (DEPLOY / "shop-worker.service").read_text(encoding="utf-8")
    copy = tmp_path / "shop-worker.service"
    copy.write_text(text.replace("/opt/shop/.venv/bin/meshhook", str(MESHHOOK)), encoding="utf-8")
    done = subprocess.run([analyze, "verify", copy], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("argv", [container_command(), unit_command()], ids=["docker", "systemd"])
def test_what_is_started_works_is_probed_and_stops_in_order(
    argv: list[str],
    meshhook_queue: QueueUnderTest,
    meshhook_sync_queue_service: SyncQueueService,
    mail: MailService,
) -> None:
    port = free_port()
    order = {"number": 17, "email": "ada@example.com"}
    job = meshhook_sync_queue_service.enqueue(job_data(metadata={"order": order}))

    with worker([str(MESHHOOK), *replaced(argv[1:], "--monitoring-port", str(port))]) as process:
        wait_for(f"http://127.0.0.1:{port}/readyz")
        assert wait_until(lambda: bool(mail.receipts), timeout_seconds=STARTED_WITHIN_SECONDS)
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
        assert "meshhook_jobs_succeeded" in httpx.get(f"http://127.0.0.1:{port}/metrics").text
        check = [word.replace(":8080", f":{port}") for word in health_check()]
        subprocess.run([sys.executable, *check[1:]], check=True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=40) == 0

    assert list(mail.receipts.values()) == [order]
    record = meshhook_sync_queue_service.get_job(job.msg_id)
    assert record is not None
    assert record.state == "completed"
    meshhook_queue.refute_enqueued()


@contextmanager
def worker(argv: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker in the folder of the examples, and let nothing of it be left."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(argv, cwd=EXAMPLES, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def option(argv: list[str], name: str) -> str:
    return argv[argv.index(name) + 1]


def replaced(argv: list[str], name: str, value: str) -> list[str]:
    position = argv.index(name) + 1
    return [*argv[:position], value, *argv[position + 1 :]]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(url: str) -> None:
    """Wait until a page answers with 200."""

    def answers() -> bool:
        try:
            return httpx.get(url).status_code == 200
        except httpx.TransportError:
            return False

    assert wait_until(answers, timeout_seconds=STARTED_WITHIN_SECONDS), url


def seconds(duration: str) -> int:
    """Return the seconds of a duration such as ``45s``."""
    match = re.fullmatch(r"(\d+)s", duration)
    assert match is not None, duration
    return int(match[1])
