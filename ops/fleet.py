"""Starts, watches, kills and restarts processes of the pipeline and its simulators on this machine:
what the demo, the benchmarks and the kill tests have in common.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Self

import aiohttp

READY_SECONDS = 30.0
STOP_SECONDS = 20.0


class NotReady(Exception):
    """A process did not become ready in time, or ended by itself."""


@dataclass
class Member:
    """One process. `url` is its health server's, or the simulator's own."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    url: str
    ready_path: str
    log: Path
    told_to_end: bool = False
    process: asyncio.subprocess.Process | None = field(default=None, repr=False)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.returncode is None


class Fleet:
    """Use as an async context manager: whatever still runs at its end is stopped."""

    def __init__(self, environment: Mapping[str, str], logs: Path) -> None:
        self.environment = {**os.environ, **environment}
        self.members: dict[str, Member] = {}
        self._logs = logs
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.stop()
        finally:
            self._leave_none()
            if self._http is not None:
                await self._http.close()

    async def run(
        self, name: str, *role: str, environment: Mapping[str, str] | None = None
    ) -> Member:
        """Start `system2 run ROLE…` under this name and wait until it is ready."""
        port = free_port()
        extra = {"SYSTEM2_METRICS_PORT": str(port), **(environment or {})}
        command = (sys.executable, "-m", "ops", "run", *role)
        return await self._start(name, command, extra, f"http://127.0.0.1:{port}", "/readyz")

    async def simulate(self, name: str, chain: Path, port: int, *options: str) -> Member:
        """Start one of the simulators."""
        command = (
            *(sys.executable, "-m", "ops.simulators", name),
            *("--chain", str(chain), "--port", str(port), *options),
        )
        return await self._start(name, command, {}, f"http://127.0.0.1:{port}", "/_sim/summary")

    async def _start(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        url: str,
        ready_path: str,
    ) -> Member:
        log = self._logs / f"{name}.log"
        member = Member(name, command, environment, url, ready_path, log)
        self.members[name] = member
        await self.start_again(name)
        return member

    async def start_again(self, name: str, environment: Mapping[str, str] | None = None) -> None:
        """Start a member that has ended, as before or with other variables."""
        member = self.members[name]
        with member.log.open("ab") as log:
            member.process = await asyncio.create_subprocess_exec(
                *member.command,
                env={**self.environment, **member.environment, **(environment or {})},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is ours to pass on, in the right order
            )
        member.told_to_end = False
        await self.ready(name)

    async def ready(self, name: str, seconds: float = READY_SECONDS) -> None:
        """Wait until the member says that it is ready. Raises NotReady with its last words."""
        member = self.members[name]
        until = monotonic() + seconds
        while monotonic() < until:
            if not member.alive:
                raise NotReady(self.obituary(name))
            if await self._is_ready(member):
                return
            await asyncio.sleep(0.05)
        raise NotReady(f"{name} is not ready after {seconds:.0f} s: {last_words(member.log)}")

    def obituary(self, name: str) -> str:
        """What is known about a member that ended by itself."""
        process, log = self.members[name].process, self.members[name].log
        code = process.returncode if process is not None else None
        return f"{name} ended by itself ({code}); the end of {log}: {last_words(log)}"

    async def _is_ready(self, member: Member) -> bool:
        assert self._http is not None
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with self._http.get(member.url + member.ready_path) as answer:
                return answer.status == 200
        return False

    async def get(self, name: str, path: str) -> Any:
        """A member's JSON."""
        assert self._http is not None
        async with self._http.get(self.members[name].url + path) as answer:
            answer.raise_for_status()
            return await answer.json()

    async def post(self, name: str, path: str, body: Any) -> Any:
        """Tell a member something in JSON; its JSON answer, if it gives one."""
        assert self._http is not None
        async with self._http.post(self.members[name].url + path, json=body) as answer:
            answer.raise_for_status()
            return await answer.json() if answer.content_type == "application/json" else None

    async def kill(self, name: str) -> None:
        """SIGKILL: no warning, no chance to finish."""
        await self._signal(name, signal.SIGKILL)

    async def terminate(self, name: str) -> None:
        """SIGTERM: finish what is in hand."""
        await self._signal(name, signal.SIGTERM)

    async def ended(self, name: str) -> int:
        """Wait until a member has ended; its exit code (negative: the signal)."""
        process = self.members[name].process
        assert process is not None
        return await process.wait()

    def ended_by_themselves(self) -> list[str]:
        """Members that are down although nobody here ended them."""
        return [name for name, m in self.members.items() if not (m.alive or m.told_to_end)]

    async def _signal(self, name: str, number: signal.Signals) -> None:
        process = self.members[name].process
        self.members[name].told_to_end = True
        if process is None or process.returncode is not None:
            return
        process.send_signal(number)
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def stop(self) -> None:
        """Stop everything that still runs, the pipeline before its partners."""
        pipeline = [m.name for m in self.members.values() if m.ready_path == "/readyz"]
        await asyncio.gather(*(self.terminate(name) for name in pipeline))
        others = [name for name in self.members if name not in pipeline]
        await asyncio.gather(*(self.terminate(name) for name in others))

    def _leave_none(self) -> None:
        """Whoever is too impatient to wait for an orderly end must not leave processes behind."""
        for member in self.members.values():
            if member.alive and member.process is not None:
                with contextlib.suppress(ProcessLookupError):
                    member.process.kill()


def free_port() -> int:
    """A loopback port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def last_words(log: Path, characters: int = 600) -> str:
    """The end of a log, for an error message."""
    text = log.read_text("utf-8", "replace").strip().replace("\n", " | ")
    return ("… " if len(text) > characters else "") + text[-characters:] or "nothing"
