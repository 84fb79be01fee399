"""No container engine runs in the tests, so compose.yaml and the Dockerfile are read instead."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.cli.main import COMMANDS
from ops.settings import known_names

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {
    name: service for name, service in SERVICES.items() if service["image"].startswith("system2")
}
ONE_SHOT = {name for name, service in SERVICES.items() if service["restart"] == "no"}
PROCESSES = {
    "dispatcher": "run dispatcher",
    "stock": "run consumer stock",
    "pos": "run consumer pos",
    "takeaway": "run consumer takeaway",
    "producer": "run producer",
    "http": "run http",
}

each_service = pytest.mark.parametrize("name", sorted(SERVICES))


@each_service
def test_a_service_tells_whether_it_is_well_unless_it_ends_by_itself(name: str) -> None:
    assert ("test" in SERVICES[name]["healthcheck"]) is (name not in ONE_SHOT)


@each_service
def test_an_image_is_pinned_to_a_release(name: str) -> None:
    assert re.search(r":v?\d+\.\d+", SERVICES[name]["image"])


def test_the_servers_are_those_we_support() -> None:
    assert SERVICES["postgres"]["image"].startswith("postgres:17.")
    assert re.match(r"rabbitmq:4\.\d+\.\d+-management$", SERVICES["rabbitmq"]["image"])


@each_service
def test_ports_are_open_to_this_machine_only(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:")


@each_service
def test_what_is_mounted_exists(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source = volume.split(":")[0]
        assert (ROOT / source).exists() if source.startswith("./") else source in COMPOSE["volumes"]


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_variable_is_a_setting(name: str) -> None:
    assert set(OURS[name]["environment"]) <= set(known_names())


def test_every_password_has_a_line_in_the_example_file() -> None:
    example = (ROOT / ".env.example").read_text()
    for password in re.findall(r"\$\{(\w+)", (ROOT / "compose.yaml").read_text()):
        assert re.search(rf"^(# )?{password}=", example, re.MULTILINE), password


def test_processes_wait_for_the_schema_and_the_topology() -> None:
    migrate = SERVICES["migrate"]
    assert migrate["command"] == ["system2 db migrate && system2 topology apply"]
    assert {wait["condition"] for wait in migrate["depends_on"].values()} == {"service_healthy"}
    for name in PROCESSES:
        waits = SERVICES[name]["depends_on"]
        assert waits["migrate"]["condition"] == "service_completed_successfully"


@pytest.mark.parametrize(("name", "command"), PROCESSES.items())
def test_each_process_of_the_pipeline_has_a_service(name: str, command: str) -> None:
    assert shlex.join(SERVICES[name]["command"]) == command
    assert "profiles" not in SERVICES[name]


@pytest.mark.parametrize("name", sorted(set(OURS) - {"meituan", "opendelivery", "tills"}))
def test_every_command_exists(name: str) -> None:
    words = " ".join(OURS[name]["command"]).replace("system2 ", "").split(" && ")
    assert {word.split()[0] for word in words} <= set(COMMANDS)


def test_simulators_stay_out_unless_asked_for() -> None:
    for name in ("meituan", "opendelivery", "tills"):
        assert SERVICES[name]["profiles"] == ["demo"]


def test_the_image_does_not_run_as_root() -> None:
    users = re.findall(r"^USER (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert users
    assert users[-1] not in {"root", "0"}


def test_the_image_holds_every_package() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    packages = re.search(r"^packages =\n((?:    .+\n)+)", (ROOT / "setup.cfg").read_text(), re.M)
    assert packages
    for package in {line.strip().split(".")[0] for line in packages[1].splitlines()}:
        assert f"COPY {package} {package}\n" in dockerfile
