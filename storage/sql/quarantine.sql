-- name: insert_letters
-- In key order, each once: whoever died between this and the acknowledgement comes again.
INSERT INTO quarantine (bucket, quarantine_id, reason, queue, type, order_id, event_id, body,
                        headers, error, recorded_at)
SELECT v.*
FROM unnest(:buckets::smallint[], :quarantine_ids::uuid[], :reasons::text[], :queues::text[],
            :types::text[], :order_ids::uuid[], :event_ids::uuid[], :bodies::bytea[],
            :headers::jsonb[], :errors::text[], :recorded_at::timestamptz[]) AS v
ON CONFLICT DO NOTHING
RETURNING quarantine_id;

-- name: count_letters
-- For the gauges: how much lies there, and how long the oldest has waited.
SELECT queue, reason, count(*) AS letters, min(recorded_at) AS oldest
FROM quarantine
GROUP BY queue, reason
ORDER BY queue, reason;

-- name: list_letters
-- The newest first; the bodies hold personal data.
SELECT quarantine_id, reason, queue, type, order_id, event_id, body, headers, error, recorded_at
FROM quarantine
WHERE :queue::text IS NULL OR queue = :queue
ORDER BY recorded_at DESC, quarantine_id
LIMIT :limit::integer;
