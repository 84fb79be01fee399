"""The private RabbitMQ: own node name, cookie and port mapper, every socket on loopback."""

import os
import secrets
import signal
import subprocess
import time
from pathlib import Path

from ops.stack import amqp_probe
from ops.stack.binaries import epmd, rabbitmq_server
from ops.stack.errors import ProgramMissing, ServerFailed
from ops.stack.home import Stack
from ops.stack.processes import Account, Server, account, give, running, start

USER = "system2"
READY_SECONDS = 120.0

# wal_max_size_bytes: quorum queues keep their log in memory until it is rolled over.
# disk_free_limit: below it the broker blocks publishers; the default of 50 MB comes too late.
SETTINGS = """\
# Written by `system2 up` at every start.
listeners.tcp.1 = 127.0.0.1:{amqp}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
prometheus.tcp.ip = 127.0.0.1
prometheus.tcp.port = {prometheus}
default_user = {user}
default_pass = {password}
default_user_tags.administrator = true
raft.wal_max_size_bytes = 64000000
disk_free_limit.absolute = 512MB
log.console = false
"""

PLUGINS = "[rabbitmq_management,rabbitmq_prometheus].\n"


def server(stack: Stack) -> Server:
    return Server(
        name="RabbitMQ",
        lock=stack.data / "rabbitmq.lock",
        log=stack.data / "rabbitmq.log",
        stop_signal=signal.SIGTERM,
        stop_seconds=30.0,
    )


def port_mapper(stack: Stack) -> Server:
    """Erlang's epmd: started by us, because the one Erlang starts would outlive the broker."""
    return Server(
        name="epmd",
        lock=stack.data / "epmd.lock",
        log=stack.data / "epmd.log",
        stop_signal=signal.SIGTERM,
        stop_seconds=5.0,
    )


def owner() -> Account | None:
    return account("rabbitmq")


def url(stack: Stack, vhost: str = "") -> str:
    return f"amqp://{USER}:{stack.broker_password}@127.0.0.1:{stack.ports.amqp}/{vhost}"


def management_url(stack: Stack) -> str:
    return f"http://{USER}:{stack.broker_password}@127.0.0.1:{stack.ports.management}"


def ensure_running(stack: Stack) -> bool:
    """Start RabbitMQ and wait until it shakes hands; returns whether it had to be started."""
    program, mapper = rabbitmq_server(), epmd()
    if program is None or mapper is None:
        raise ProgramMissing("rabbitmq-server", "SYSTEM2_AMQP_URL")
    if running(server(stack)):
        _wait_until_ready(stack, None)
        return False
    home = stack.data / "rabbitmq"
    _configure(stack, home)
    environ = _environment(stack, home)
    if not running(port_mapper(stack)):
        start(port_mapper(stack), [mapper], owner(), environ)
    _wait_until_ready(stack, start(server(stack), [program], owner(), environ))
    return True


def _configure(stack: Stack, home: Path) -> None:
    home.mkdir(mode=0o700, exist_ok=True)
    give(home, owner())
    ports = stack.ports._asdict()
    settings = SETTINGS.format(**ports, user=USER, password=stack.broker_password)
    _write(home / "rabbitmq.conf", settings, mode=0o600)
    _write(home / "enabled_plugins", PLUGINS, mode=0o600)
    cookie = home / ".erlang.cookie"
    if not cookie.exists():
        _write(cookie, secrets.token_urlsafe(30), mode=0o400)


def _write(path: Path, text: str, *, mode: int) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
    path.chmod(mode)
    give(path, owner())


def _environment(stack: Stack, home: Path) -> dict[str, str]:
    """Nothing of the caller's or the system's RabbitMQ settings reaches ours."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C.UTF-8",
        "HOME": str(home),
        "ERL_EPMD_PORT": str(stack.ports.epmd),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        # for every Erlang that is started on the way, not only for the broker
        "ERL_AFLAGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "RABBITMQ_NODENAME": stack.node,
        "RABBITMQ_DIST_PORT": str(stack.ports.distribution),
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
        "RABBITMQ_CONFIG_FILES": str(home / "conf.d"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced.config"),
        "RABBITMQ_CONF_ENV_FILE": str(home / "rabbitmq-env.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(home / "data"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_PID_FILE": str(home / "pid"),
    }


def _wait_until_ready(stack: Stack, process: subprocess.Popen[bytes] | None) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            amqp_probe.shake_hands(url(stack))
        except OSError as error:
            if process and process.poll() is not None:
                raise ServerFailed("RabbitMQ", "ended", server(stack).log) from error
            if time.monotonic() > deadline:
                raise ServerFailed("RabbitMQ", str(error), server(stack).log) from error
            time.sleep(0.2)
        else:
            return
