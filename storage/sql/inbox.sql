-- name: insert_commands
-- First of all: only what comes back is new, and only that is done.
INSERT INTO inbox (bucket, consumer, command_id, order_id, body, received_at)
SELECT v.bucket, :consumer, v.command_id, v.order_id, v.body, :now
FROM unnest(:buckets::smallint[], :command_ids::uuid[], :order_ids::uuid[], :bodies::bytea[])
  v(bucket, command_id, order_id, body)
ON CONFLICT DO NOTHING
RETURNING command_id;

-- name: read_commands
-- What was rendered and answered before.
SELECT i.command_id, i.body, i.answer
FROM inbox i
JOIN unnest(:buckets::smallint[], :command_ids::uuid[]) k(bucket, command_id)
  ON i.bucket = k.bucket AND i.command_id = k.command_id
WHERE i.bucket = ANY(:distinct_buckets::smallint[])
  AND i.consumer = :consumer;

-- name: answer_commands
-- The first answer stays.
UPDATE inbox i
SET answer = v.answer, answered_at = :now
FROM unnest(:buckets::smallint[], :command_ids::uuid[], :answers::jsonb[]) v(bucket, command_id, answer)
WHERE i.bucket = v.bucket
  AND i.consumer = :consumer
  AND i.command_id = v.command_id
  AND i.bucket = ANY(:distinct_buckets::smallint[])
  AND i.answer IS NULL
RETURNING i.command_id;

-- name: unclear_commands
-- Asked when their time is up: a copy of the command may have made a call that this one knows nothing of.
SELECT DISTINCT d.command_id
FROM deliveries d
JOIN unnest(:buckets::smallint[], :command_ids::uuid[]) k(bucket, command_id)
  ON d.bucket = k.bucket AND d.command_id = k.command_id
WHERE d.bucket = ANY(:distinct_buckets::smallint[])
  AND d.outcome <> 'not_done';

-- name: insert_deliveries
-- A log of every outbound call, one row an attempt.
INSERT INTO deliveries (bucket, command_id, attempt_id, order_id, queue, destination, attempt, outcome, status,
                        error, started_at, seconds)
SELECT v.bucket, v.command_id, v.attempt_id, v.order_id, :queue, v.destination, v.attempt, v.outcome, v.status,
       v.error, v.started_at, v.seconds
FROM unnest(
  :buckets::smallint[], :command_ids::uuid[], :attempt_ids::uuid[], :order_ids::uuid[], :destinations::text[],
  :attempts::integer[], :outcomes::text[], :statuses::smallint[], :errors::text[], :started_at::timestamptz[],
  :seconds::real[]
) v(bucket, command_id, attempt_id, order_id, destination, attempt, outcome, status, error, started_at, seconds)
ON CONFLICT DO NOTHING;
