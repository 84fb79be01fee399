"""What System2 reads and writes in one transaction: instances, events, deadlines and births."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic_core import to_json

from dispatcher.engine import Armed, Instance, Recorded
from dispatcher.envelope import TYPES, Envelope, decode, encode
from dispatcher.identity import bucket_of
from dispatcher.letters import letter
from dispatcher.loop import Changes, Key, Stored, Work
from dispatcher.messages import Event
from storage import orders, quarantine
from storage.database import Database, Record, Transaction
from storage.queries import load

INSTANCES, EVENTS, DEADLINES = load("instances"), load("events"), load("deadlines")


class DispatchStore:
    """Implements dispatcher.loop.Store on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Work]:
        async with self._database.transaction() as tx:
            yield _Work(tx)


class _Work:
    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    async def lock(self, keys: Sequence[Key], now: datetime) -> dict[UUID, Instance]:
        columns = {
            "buckets": [bucket for bucket, _ in keys],
            "instance_ids": [identifier for _, identifier in keys],
        }
        new = await self._tx.fetch(INSTANCES["insert_placeholders"], **columns, now=now)
        instances = {row["instance_id"]: Instance(row["instance_id"]) for row in new}
        known = [(bucket, identifier) for bucket, identifier in keys if identifier not in instances]
        return instances | await self._lock(known) if known else instances

    async def _lock(self, keys: Sequence[Key]) -> dict[UUID, Instance]:
        rows = await self._tx.fetch(
            INSTANCES["lock_instances"],
            buckets=[bucket for bucket, _ in keys],
            instance_ids=[identifier for _, identifier in keys],
        )
        instances = {row["instance_id"]: _instance(row) for row in rows}
        await self._read_early([row["instance_id"] for row in rows if row["early"]], instances)
        return instances

    async def stored(
        self, events: Sequence[Envelope[Event]], instances: Mapping[UUID, Instance]
    ) -> dict[UUID, Stored]:
        # Nothing is recorded of an order without a revision: its placeholder is new.
        known = [event for event in events if instances[event.instance].revision]
        if not known:
            return {}
        rows = await self._tx.fetch(
            EVENTS["read_stored"],
            buckets=[event.bucket for event in known],
            instance_ids=[event.instance for event in known],
            event_ids=[event.id for event in known],
        )
        return {row["event_id"]: _stored(row) for row in rows}

    async def _read_early(self, waiting: list[UUID], instances: dict[UUID, Instance]) -> None:
        if not waiting:
            return
        rows = await self._tx.fetch(
            EVENTS["read_early"],
            buckets=[bucket_of(identifier) for identifier in waiting],
            instance_ids=waiting,
        )
        for row in rows:
            instance = instances[row["instance_id"]]
            early = (*instance.early, event_of(row))
            instances[row["instance_id"]] = replace(instance, early=early)

    async def write(self, changes: Changes) -> None:
        if changes.instances:
            await self._update_instances(changes)
            await self._insert_events(changes)
        await self._release(changes)
        await self._deadlines(changes)
        if changes.orders:
            placed = [event.data.order for event in changes.orders]
            await orders.insert(self._tx, placed, changes.now)
        if changes.odd:
            await quarantine.insert(
                self._tx,
                [
                    letter(odd.event, "dispatcher", odd.reason, odd.error, changes.now)
                    for odd in changes.odd
                ],
            )

    async def _update_instances(self, changes: Changes) -> None:
        instances = changes.instances
        await self._tx.execute(
            INSTANCES["update_instances"],
            now=changes.now,
            buckets=[bucket_of(i.instance_id) for i in instances],
            instance_ids=[i.instance_id for i in instances],
            workflows=[i.workflow for i in instances],
            versions=[i.version for i in instances],
            states=[i.state for i in instances],
            revisions=[i.revision for i in instances],
            owed=["{" + ",".join(map(str, i.owed)) + "}" for i in instances],
            armed=[_armed_json(i) for i in instances],
            contexts=[i.context for i in instances],
            early=[len(i.early) for i in instances],
        )

    async def _insert_events(self, changes: Changes) -> None:
        records = sorted(changes.records, key=lambda r: (*r.event.key, r.revision))
        final = {identifier: fate for identifier, (_, fate) in changes.released.items()}
        await self._tx.execute(
            EVENTS["insert_events"],
            now=changes.now,
            buckets=[r.event.bucket for r in records],
            instance_ids=[r.event.instance for r in records],
            event_ids=[r.event.id for r in records],
            revisions=[r.revision for r in records],
            types=[r.event.type for r in records],
            fates=[final.get(r.event.id, r.fate) for r in records],
            sources=[r.event.source for r in records],
            causes=[r.event.cause for r in records],
            fingerprints=[r.event.fingerprint for r in records],
            payloads=[r.event.data.stored() for r in records],
            caused=[_caused(r) for r in records],
            happened_at=[r.event.time for r in records],
            traceparents=[r.event.traceparent for r in records],
        )

    async def _release(self, changes: Changes) -> None:
        fresh = {record.event.id for record in changes.records}
        released = sorted(
            (event.key, event.id, fate)
            for event, fate in changes.released.values()
            if event.id not in fresh
        )
        if released:
            await self._tx.execute(
                EVENTS["release_events"],
                buckets=[key[0] for key, _, _ in released],
                instance_ids=[key[1] for key, _, _ in released],
                event_ids=[identifier for _, identifier, _ in released],
                fates=[str(fate) for _, _, fate in released],
            )

    async def _deadlines(self, changes: Changes) -> None:
        armed = sorted((bucket_of(i), i, name, at) for i, name, at in changes.armed)
        if armed:
            await self._tx.execute(
                DEADLINES["arm_deadlines"],
                buckets=[bucket for bucket, _, _, _ in armed],
                instance_ids=[identifier for _, identifier, _, _ in armed],
                names=[name for _, _, name, _ in armed],
                dues=[at.due for _, _, _, at in armed],
                epochs=[at.epoch for _, _, _, at in armed],
            )
        disarmed = sorted((bucket_of(i), i, name) for i, name in changes.disarmed)
        if disarmed:
            await self._tx.execute(
                DEADLINES["disarm_deadlines"],
                buckets=[bucket for bucket, _, _ in disarmed],
                instance_ids=[identifier for _, identifier, _ in disarmed],
                names=[name for _, _, name in disarmed],
            )


def _instance(row: Record) -> Instance:
    return Instance(
        instance_id=row["instance_id"],
        workflow=row["workflow"],
        version=row["version"],
        state=row["state"],
        revision=row["revision"],
        owed=tuple(row["owed"]),
        armed={name: armed_of(pair) for name, pair in row["armed"].items()},
        context=row["context"],
    )


def armed_of(pair: Sequence[Any]) -> Armed:
    """[epoch, due] as it stands in JSON."""
    return Armed(pair[0], datetime.fromisoformat(pair[1]))


def _armed_json(instance: Instance) -> dict[str, list[Any]]:
    return {name: [at.epoch, at.due.isoformat()] for name, at in instance.armed.items()}


def _caused(record: Recorded) -> bytes | None:
    if not record.commands and not record.armed:
        return None
    deadlines = [[name, at.epoch, at.due] for name, at in record.armed.items()]
    commands = b",".join(encode(command) for command in record.commands)
    return b'{"commands":[%b],"deadlines":%b}' % (commands, to_json(deadlines))


def _stored(row: Record) -> Stored:
    caused = row["caused"] or {}
    commands = tuple(decode(event) for event in caused.get("commands", ()))
    armed = {name: armed_of(pair) for name, *pair in caused.get("deadlines", ())}
    return Stored(row["fingerprint"], commands, armed)  # type: ignore[arg-type]


def event_of(row: Record) -> Envelope[Event]:
    """A stored event as it came, personal data aside."""
    kind = TYPES[row["type"]]
    assert issubclass(kind, Event)
    return Envelope(
        id=row["event_id"],
        source=row["source"],
        subject=row["instance_id"],
        instance=row["instance_id"],
        time=row["happened_at"],
        data=kind.model_validate(row["payload"]),
        cause=row["cause"],
        fingerprint=row["fingerprint"],
        traceparent=row["traceparent"],
    )
