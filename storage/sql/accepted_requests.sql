-- name: insert_accepted
-- In key order; what comes back is new. A row of `events` is an array written as text, because
-- rows of different length are no array.
INSERT INTO accepted_requests (bucket, source, scope, key, fingerprint, body, events, problem,
                               accepted_at)
SELECT v.bucket, v.source, v.scope, v.key, v.fingerprint, v.body, v.events::bytea[], v.problem,
       :now::timestamptz
FROM unnest(:buckets::smallint[], :sources::text[], :scopes::text[], :keys::text[],
            :fingerprints::text[], :bodies::bytea[], :events::text[], :problems::text[])
  AS v(bucket, source, scope, key, fingerprint, body, events, problem)
ON CONFLICT DO NOTHING
RETURNING bucket, source, scope, key, fingerprint;

-- name: read_accepted
-- All that is known under these keys, whatever its fingerprint. A statement of its own: it sees
-- what the insert waited for.
SELECT a.bucket, a.source, a.scope, a.key, a.fingerprint, a.published_at IS NOT NULL AS published
FROM accepted_requests a
JOIN unnest(:buckets::smallint[], :sources::text[], :scopes::text[], :keys::text[])
  AS k(bucket, source, scope, key)
  ON a.bucket = k.bucket AND a.source = k.source AND a.scope = k.scope AND a.key = k.key
WHERE a.bucket = ANY(:distinct_buckets::smallint[]);

-- name: mark_published
-- The first confirm counts.
UPDATE accepted_requests a
SET published_at = :now::timestamptz
FROM unnest(:buckets::smallint[], :sources::text[], :scopes::text[], :keys::text[],
            :fingerprints::text[])
  AS k(bucket, source, scope, key, fingerprint)
WHERE a.bucket = k.bucket
  AND a.source = k.source
  AND a.scope = k.scope
  AND a.key = k.key
  AND a.fingerprint = k.fingerprint
  AND a.bucket = ANY(:distinct_buckets::smallint[])
  AND a.published_at IS NULL;

-- name: lock_unpublished
-- The backlog of an outage, oldest first; several producers share it without waiting.
SELECT bucket, source, scope, key, fingerprint, events
FROM accepted_requests
WHERE published_at IS NULL
  AND bucket = ANY(:buckets::smallint[])
ORDER BY accepted_at
LIMIT :limit::integer
FOR UPDATE SKIP LOCKED;
