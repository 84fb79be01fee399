"""The private PostgreSQL: durable (fsync on), scram passwords, loopback and its own socket only."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ops.stack.binaries import postgres_directory
from ops.stack.errors import ProgramMissing, ServerFailed, StackError
from ops.stack.home import Stack
from ops.stack.processes import Account, Server, account, give, run, running, start

USER = DATABASE = "system2"
READY_SECONDS = 60.0
LONGEST_SOCKET_PATH = 90  # Linux allows 107 bytes, file name included

SETTINGS = """\
# Written by `system2 up` at every start; change postgresql.auto.conf (ALTER SYSTEM) instead.
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{sockets}'
shared_preload_libraries = 'pg_stat_statements'
password_encryption = 'scram-sha-256'
fsync = on
full_page_writes = on
synchronous_commit = on
max_connections = 200
shared_buffers = 512MB
effective_cache_size = 2GB
max_wal_size = 4GB
checkpoint_timeout = 15min
wal_compression = on
random_page_cost = 1.1
jit = off
timezone = 'UTC'
log_line_prefix = '%m [%p] %q%u@%d '
"""

ACCESS = """\
local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
"""


class QueryFailed(StackError):
    """The database did not answer a query."""


def server(stack: Stack) -> Server:
    return Server(
        name="PostgreSQL",
        lock=stack.data / "postgresql.lock",
        log=stack.data / "postgresql.log",
        stop_signal=signal.SIGINT,  # "fast": transactions are rolled back, a checkpoint is written
        stop_seconds=20.0,
    )


def owner() -> Account | None:
    """PostgreSQL refuses to run as root."""
    return account("postgres") or account("nobody")


def url(stack: Stack, database: str = DATABASE) -> str:
    return (
        f"postgresql://{USER}:{stack.database_password}@127.0.0.1:{stack.ports.database}/{database}"
    )


def ensure_running(stack: Stack) -> bool:
    """Start PostgreSQL and wait until it answers a query; returns whether it had to be started."""
    binaries = postgres_directory()
    if binaries is None:
        raise ProgramMissing("postgresql", "SYSTEM2_DATABASE_URL")
    if running(server(stack)):
        _wait_until_ready(stack, None)
        return False
    home = stack.data / "postgresql"
    if not (home / "cluster" / "PG_VERSION").exists():
        _create_cluster(stack, home, binaries)
    _configure(stack, home)
    process = start(
        server(stack), [binaries / "postgres", "-D", home / "cluster"], owner(), _environment()
    )
    _wait_until_ready(stack, process)
    _create_database(stack)
    return True


def _create_cluster(stack: Stack, home: Path, binaries: Path) -> None:
    """Built beside its place and moved there whole: a killed initdb leaves nothing half-made."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(mode=0o700)
    give(home, owner())
    password, draft = home / "password", home / "draft"
    password.touch(mode=0o600)
    password.write_text(stack.database_password)
    give(password, owner())
    files: list[str | Path] = ["-D", draft, "--pwfile", password]
    options = ["-U", USER, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"]
    made = run([binaries / "initdb", *files, *options], owner(), _environment())
    password.unlink()
    if made.returncode:
        server(stack).log.write_text(made.stderr)
        raise ServerFailed("PostgreSQL", "could not create its data directory", server(stack).log)
    (draft / "pg_hba.conf").write_text(ACCESS)
    with (draft / "postgresql.conf").open("a") as conf:
        conf.write("include 'system2.conf'\n")
    draft.rename(home / "cluster")


def _configure(stack: Stack, home: Path) -> None:
    """Write our settings, and forget process ids that a killed server left behind.

    Nobody holds the lock, so those numbers mean nothing; but they would stop the start if another
    program had got one of them meanwhile.
    """
    sockets = home / "socket"
    shutil.rmtree(sockets, ignore_errors=True)
    sockets.mkdir(mode=0o700)
    give(sockets, owner())
    fits = len(str(sockets).encode()) <= LONGEST_SOCKET_PATH
    conf = home / "cluster" / "system2.conf"
    conf.write_text(SETTINGS.format(port=stack.ports.database, sockets=sockets if fits else ""))
    (home / "cluster" / "postmaster.pid").unlink(missing_ok=True)


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}


def _wait_until_ready(stack: Stack, process: subprocess.Popen[bytes] | None) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            query(url(stack, "postgres"), "SELECT 1")
        except QueryFailed as error:
            if process and process.poll() is not None:
                raise ServerFailed("PostgreSQL", "ended", server(stack).log) from error
            if time.monotonic() > deadline:
                raise ServerFailed("PostgreSQL", str(error), server(stack).log) from error
            time.sleep(0.1)
        else:
            return


def _create_database(stack: Stack) -> None:
    known = query(url(stack, "postgres"), f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'")
    if not known:
        query(url(stack, "postgres"), f"CREATE DATABASE {DATABASE}")
    query(url(stack), "CREATE EXTENSION IF NOT EXISTS pg_stat_statements")


def query(database_url: str, statement: str) -> list[str]:
    """Rows of one statement, columns separated by `|`; the password stays out of the process list.

    Raises QueryFailed when the server cannot be reached, refuses us or refuses the statement.
    """
    binaries = postgres_directory()
    psql = str(binaries / "psql") if binaries else shutil.which("psql")
    if psql is None:
        raise ProgramMissing("postgresql-client", "PATH")
    parts = urlsplit(database_url)
    environ = _environment() | {"PGPASSWORD": _decoded(parts.password), "PGCONNECT_TIMEOUT": "5"}
    address = (
        database_url.replace(f":{parts.password}@", "@", 1) if parts.password else database_url
    )
    command = [psql, "-X", "-A", "-t", "-q", "-w", "-v", "ON_ERROR_STOP=1", "-c", statement]
    said = subprocess.run([*command, "-d", address], env=environ, capture_output=True, text=True)
    if said.returncode:
        raise QueryFailed(_first_line(said.stderr))
    return said.stdout.splitlines()


def _decoded(password: str | None) -> str:
    return unquote(password or "")


def _first_line(text: str) -> str:
    lines = text.strip().splitlines() or ["no answer"]
    return re.sub(r"^psql: (error: )?", "", lines[0])
