-- name: arm_deadlines
-- A deadline armed anew replaces the one of that name.
INSERT INTO deadlines (bucket, instance_id, name, due, epoch)
SELECT v.bucket, v.instance_id, v.name, v.due, v.epoch
FROM unnest(:buckets::smallint[], :instance_ids::uuid[], :names::text[], :dues::timestamptz[], :epochs::integer[])
  v(bucket, instance_id, name, due, epoch)
ON CONFLICT (bucket, instance_id, name) DO UPDATE
SET due = excluded.due, epoch = excluded.epoch;

-- name: disarm_deadlines
-- Fired, or their state is left.
DELETE FROM deadlines d
USING unnest(:buckets::smallint[], :instance_ids::uuid[], :names::text[]) v(bucket, instance_id, name)
WHERE d.bucket = v.bucket
  AND d.instance_id = v.instance_id
  AND d.name = v.name
  AND d.bucket = ANY(:distinct_buckets::smallint[]);
