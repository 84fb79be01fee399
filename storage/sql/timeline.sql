-- name: list_found
-- Orders by their ids, as a list shows them.
SELECT o.order_id, o.order_no, o.channel, o.account, o.channel_order_id, o.store_id, o.daily_number, o.placed_at,
       i.state
FROM orders o
JOIN unnest(:buckets::smallint[], :order_ids::uuid[]) k(bucket, order_id)
  ON o.bucket = k.bucket AND o.order_id = k.order_id
LEFT JOIN instances i
  ON i.bucket = o.bucket AND i.instance_id = o.order_id AND i.bucket = ANY(:distinct_buckets::smallint[])
WHERE o.bucket = ANY(:distinct_buckets::smallint[])
ORDER BY o.placed_at DESC, o.order_id;

-- name: orders_of_alias
-- A channel may call one order by several ids.
SELECT order_id
FROM order_aliases
WHERE alias = :alias;

-- name: orders_of_store
-- A store's orders of a span of time, newest first, those before one that was shown already.
SELECT o.order_id, o.order_no, o.channel, o.account, o.channel_order_id, o.store_id, o.daily_number, o.placed_at,
       i.state
FROM orders o
LEFT JOIN instances i
  ON i.bucket = o.bucket AND i.instance_id = o.order_id
WHERE o.store_id = :store_id
  AND o.placed_at >= :since::timestamptz
  AND o.placed_at < :until::timestamptz
  AND (o.placed_at < :before::timestamptz OR (o.placed_at = :before::timestamptz AND o.order_id > :beyond::uuid))
ORDER BY o.placed_at DESC, o.order_id
LIMIT :limit::integer;

-- name: read_instance
-- Where it stands.
SELECT workflow, version, state, revision, owed
FROM instances
WHERE bucket = :bucket AND instance_id = :order_id;

-- name: list_aliases
-- Its other names.
SELECT alias
FROM order_aliases
WHERE bucket = :bucket AND order_id = :order_id
ORDER BY alias;

-- name: list_deadlines
-- What must happen by when.
SELECT name, due, epoch
FROM deadlines
WHERE bucket = :bucket AND instance_id = :order_id
ORDER BY due;

-- name: list_requests
-- When what it is made of entered, and when the broker had it. Looked for within these buckets.
SELECT a.source, a.key, a.accepted_at, a.published_at
FROM accepted_requests a
WHERE a.bucket = ANY(:buckets::smallint[])
  AND EXISTS (SELECT 1 FROM unnest(a.events) AS u(body) WHERE position(:named::bytea IN u.body) > 0)
ORDER BY a.accepted_at;

-- name: list_events
-- All that happened to it.
SELECT event_id, revision, type, fate, source, payload, caused, happened_at, recorded_at
FROM events
WHERE bucket = :bucket AND instance_id = :order_id
ORDER BY revision;

-- name: list_commands
-- When consumers took its commands, and what they answered.
SELECT n.consumer, n.command_id, n.received_at, n.answered_at, n.answer->>'type' AS answer
FROM inbox n
JOIN unnest(:buckets::smallint[], :consumers::text[], :command_ids::uuid[]) k(bucket, consumer, command_id)
  ON n.bucket = k.bucket AND n.consumer = k.consumer AND n.command_id = k.command_id
WHERE n.bucket = ANY(:distinct_buckets::smallint[])
ORDER BY n.received_at;

-- name: list_calls
-- Every attempt at a partner.
SELECT d.command_id, d.queue, d.destination, d.attempt, d.outcome, d.status, d.error, d.started_at, d.seconds
FROM deliveries d
JOIN unnest(:buckets::smallint[], :command_ids::uuid[]) k(bucket, command_id)
  ON d.bucket = k.bucket AND d.command_id = k.command_id
WHERE d.bucket = ANY(:distinct_buckets::smallint[])
ORDER BY d.started_at;

-- name: list_letters_of_order
-- What of it nobody could handle.
SELECT type, queue, reason, recorded_at
FROM quarantine
WHERE bucket = :bucket AND order_id = :order_id
ORDER BY recorded_at;
