"""Set-up on a fresh machine, with a fake apt-get that looks around instead of installing."""

import io
import os
import sys
from pathlib import Path

import pytest

from ops.bootstrap import __main__ as conversation
from ops.bootstrap import needs
from ops.bootstrap.install import Machine, install

# Asks the policy as invoke-rc.d would, and reads what pg_createcluster would.
APT = """#!/bin/sh
echo "apt-get $*" >> {log}
case "$*" in
*' install '*)
    {policy} rabbitmq-server start; echo "policy answers $?" >> {log}
    grep create_main_cluster {createcluster} >> {log} 2>/dev/null
    echo "needrestart suspended: $NEEDRESTART_SUSPEND" >> {log}
    exit {code} ;;
esac
"""
OTHERS = '#!/bin/sh\necho "$(basename "$0") $*" >> {log}\n'
SHIPPED = "#create_main_cluster = true\nssl = on\n"


class FreshMachine:
    """A machine whose programs write down what they were asked."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = root / "log"
        self.changed = Machine(
            policy=root / "policy-rc.d",
            createcluster=root / "createcluster.conf",
            lock=root / "setup.lock",
        )
        self.changed.createcluster.write_text(SHIPPED)
        self.apt_ends_with(0)
        for name in ("systemctl", "update-rc.d"):
            self.program(root / "bin" / name, OTHERS.format(log=self.log))

    def apt_ends_with(self, code: int) -> None:
        paths = {"policy": self.changed.policy, "createcluster": self.changed.createcluster}
        text = APT.format(log=self.log, code=code, **paths)
        self.program(self.root / "bin" / "apt-get", text)

    def has_policy(self, code: int) -> str:
        text = f"#!/bin/sh\nexit {code}\n"
        self.program(self.changed.policy, text)
        return text

    @staticmethod
    def program(path: Path, text: str) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def said(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FreshMachine:
    machine = FreshMachine(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return machine


def test_no_service_may_start_and_no_cluster_is_made_while_installing(fresh: FreshMachine) -> None:
    assert install(["postgresql", "rabbitmq-server"], fresh.changed) == 0
    assert "policy answers 101" in fresh.said()
    assert "create_main_cluster = false" in fresh.said()
    assert "needrestart suspended: 1" in fresh.said()


@pytest.mark.parametrize("code", [0, 100])
def test_the_machine_is_as_before_whether_or_not_it_worked(fresh: FreshMachine, code: int) -> None:
    fresh.apt_ends_with(code)
    assert install(["postgresql", "rabbitmq-server"], fresh.changed) == code
    assert not fresh.changed.policy.exists()
    assert fresh.changed.createcluster.read_text() == SHIPPED
    assert {path.name for path in fresh.root.iterdir()} == {
        "bin",
        "createcluster.conf",
        "log",
        "setup.lock",
    }


def test_a_policy_that_denies_is_left_alone(fresh: FreshMachine) -> None:
    own = fresh.has_policy(101)
    before = fresh.changed.policy.stat().st_ino
    install(["rabbitmq-server"], fresh.changed)
    assert fresh.changed.policy.read_text() == own
    assert fresh.changed.policy.stat().st_ino == before


def test_a_policy_that_allows_steps_aside_and_comes_back(fresh: FreshMachine) -> None:
    own = fresh.has_policy(0)
    install(["rabbitmq-server"], fresh.changed)
    assert "policy answers 101" in fresh.said()
    assert "policy answers 0" not in fresh.said()
    assert fresh.changed.policy.read_text() == own
    assert os.access(fresh.changed.policy, os.X_OK)


def test_what_a_killed_setup_left_behind_is_put_back(fresh: FreshMachine) -> None:
    own = fresh.has_policy(0)
    killed = fresh.changed.policy.rename(fresh.root / "policy-rc.d.system2-kept")
    fresh.has_policy(101)
    install(["postgresql"], fresh.changed)
    assert fresh.changed.policy.read_text() == own
    assert not killed.exists()


def test_without_postgresql_common_it_is_installed_first(fresh: FreshMachine) -> None:
    fresh.changed.createcluster.unlink()
    assert install(["postgresql"], fresh.changed) == 0
    installs = [line.split()[-1] for line in fresh.said() if " install " in line]
    assert installs == ["postgresql-common", "postgresql"]
    assert not fresh.changed.createcluster.exists()


def test_new_services_stay_off_at_the_next_boot_and_nothing_is_stopped(fresh: FreshMachine) -> None:
    install(["rabbitmq-server"], fresh.changed)
    asked = [line for line in fresh.said() if line.startswith(("systemctl", "update-rc.d"))]
    assert asked == [
        "systemctl --quiet disable rabbitmq-server.service",
        "systemctl --quiet disable epmd.service",
        "systemctl --quiet disable epmd.socket",
        "update-rc.d rabbitmq-server disable",
    ]


def test_services_that_were_there_are_not_touched(fresh: FreshMachine) -> None:
    install(["postgresql"], fresh.changed)
    assert not [line for line in fresh.said() if "disable" in line]


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without servers."""
    monkeypatch.setattr(needs, "postgres_directory", lambda: None)
    monkeypatch.setattr(needs, "rabbitmq_server", lambda: None)


@pytest.mark.usefixtures("bare")
def test_servers_given_by_url_are_not_installed() -> None:
    given = {"SYSTEM2_AMQP_URL": "amqp://broker.example"}
    assert needs.missing_packages(given, servers=True) == ["postgresql"]
    assert needs.missing_packages({}, servers=True) == ["postgresql", "rabbitmq-server"]
    assert needs.missing_packages({}, servers=False) == []


@pytest.mark.usefixtures("bare")
def test_without_rights_one_sentence_names_packages_and_containers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(conversation, "privileges", lambda *, ask: None)
    monkeypatch.delenv("SYSTEM2_DATABASE_URL", raising=False)
    monkeypatch.delenv("SYSTEM2_AMQP_URL", raising=False)
    assert conversation.main([]) == 69
    said = capsys.readouterr().err
    assert "postgresql rabbitmq-server" in said
    assert "docker compose" in said


@pytest.mark.parametrize(
    ("password_needed", "ask", "may"), [(0, False, True), (1, False, False), (1, True, True)]
)
def test_a_plain_user_installs_through_sudo(
    fresh: FreshMachine, monkeypatch: pytest.MonkeyPatch, password_needed: int, ask: bool, may: bool
) -> None:
    sudo = fresh.root / "bin" / "sudo"
    fresh.program(sudo, f"#!/bin/sh\nexit {password_needed}\n")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert needs.privileges(ask=ask) == ([str(sudo)] if may else None)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("answer", "agreed"), [("\n", True), ("y\n", True), ("n\n", False), ("", False)]
)
def test_on_a_terminal_it_asks(monkeypatch: pytest.MonkeyPatch, answer: str, agreed: bool) -> None:
    monkeypatch.delenv("YES", raising=False)
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert conversation._agreed() is agreed


def test_yes_and_the_absence_of_a_terminal_skip_the_question(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.delenv("YES", raising=False)
    assert conversation._agreed()
    assert "No terminal" in capsys.readouterr().err
    monkeypatch.setenv("YES", "1")
    assert conversation._agreed()
    assert capsys.readouterr().err == ""
