-- name: insert_placeholders
-- A row that does not exist cannot be locked; what comes back is new, and ours until we commit.
INSERT INTO instances (bucket, instance_id, changed_at)
SELECT k.bucket, k.instance_id, :now
FROM unnest(:buckets::smallint[], :instance_ids::uuid[]) k(bucket, instance_id)
ON CONFLICT DO NOTHING
RETURNING instance_id;

-- name: lock_instances
-- One dispatcher moves an order at a time; the others wait here, in the order of the key.
SELECT i.instance_id, i.workflow, i.version, i.state, i.revision, i.owed, i.armed, i.context, i.early
FROM instances i
JOIN unnest(:buckets::smallint[], :instance_ids::uuid[]) k(bucket, instance_id)
  ON i.bucket = k.bucket AND i.instance_id = k.instance_id
WHERE i.bucket = ANY(:distinct_buckets::smallint[])
ORDER BY i.bucket, i.instance_id
FOR UPDATE OF i;

-- name: update_instances
-- Each order as the engine left it.
UPDATE instances i
SET workflow = v.workflow,
    version = v.version,
    state = v.state,
    revision = v.revision,
    owed = v.owed::uuid[],
    armed = v.armed,
    context = v.context,
    early = v.early,
    changed_at = :now
FROM unnest(
  :buckets::smallint[], :instance_ids::uuid[], :workflows::text[], :versions::smallint[], :states::text[],
  :revisions::integer[], :owed::text[], :armed::jsonb[], :contexts::jsonb[], :early::smallint[]
) v(bucket, instance_id, workflow, version, state, revision, owed, armed, context, early)
WHERE i.bucket = v.bucket
  AND i.instance_id = v.instance_id
  AND i.bucket = ANY(:distinct_buckets::smallint[]);
