-- name: read_stored
-- Which of these events are recorded already, and what they caused then.
SELECT e.event_id, e.fingerprint, e.caused
FROM events e
JOIN unnest(:buckets::smallint[], :instance_ids::uuid[], :event_ids::uuid[]) k(bucket, instance_id, event_id)
  ON e.bucket = k.bucket AND e.instance_id = k.instance_id AND e.event_id = k.event_id
WHERE e.bucket = ANY(:distinct_buckets::smallint[]);

-- name: read_early
-- The events of these orders that wait for their state, in order of arrival.
SELECT e.event_id, e.instance_id, e.type, e.payload, e.source, e.cause, e.fingerprint, e.happened_at,
       e.traceparent
FROM events e
JOIN unnest(:buckets::smallint[], :instance_ids::uuid[]) k(bucket, instance_id)
  ON e.bucket = k.bucket AND e.instance_id = k.instance_id
WHERE e.bucket = ANY(:distinct_buckets::smallint[])
  AND e.fate = 'early'
ORDER BY e.bucket, e.instance_id, e.revision;

-- name: insert_events
-- Each fact once; a second copy would be a bug, so there is no ON CONFLICT.
INSERT INTO events (bucket, instance_id, event_id, revision, type, fate, source, cause, fingerprint,
                    payload, caused, happened_at, recorded_at, traceparent)
SELECT v.bucket, v.instance_id, v.event_id, v.revision, v.type, v.fate, v.source, v.cause, v.fingerprint,
       v.payload, v.caused, v.happened_at, :now, v.traceparent
FROM unnest(
  :buckets::smallint[], :instance_ids::uuid[], :event_ids::uuid[], :revisions::integer[], :types::text[],
  :fates::text[], :sources::text[], :causes::uuid[], :fingerprints::text[], :payloads::jsonb[],
  :caused::jsonb[], :happened_at::timestamptz[], :traceparents::text[]
) v(bucket, instance_id, event_id, revision, type, fate, source, cause, fingerprint, payload, caused,
    happened_at, traceparent);

-- name: release_events
-- Early events that their state has come for.
UPDATE events e
SET fate = v.fate
FROM unnest(:buckets::smallint[], :instance_ids::uuid[], :event_ids::uuid[], :fates::text[])
  v(bucket, instance_id, event_id, fate)
WHERE e.bucket = v.bucket
  AND e.instance_id = v.instance_id
  AND e.event_id = v.event_id
  AND e.bucket = ANY(:distinct_buckets::smallint[]);
