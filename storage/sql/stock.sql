-- name: claim_deductions
-- Phase 1 of an order happens once: whose row comes back may deduct, unless it turns out short.
INSERT INTO stock_ledger (bucket, store_id, order_id, phase, movement, quantities, moved_at)
SELECT v.bucket, v.store_id, v.order_id, 1, 'deducted', v.quantities, :now
FROM unnest(:buckets::smallint[], :store_ids::text[], :order_ids::uuid[], :quantities::jsonb[])
  v(bucket, store_id, order_id, quantities)
ON CONFLICT DO NOTHING
RETURNING order_id;

-- name: lock_levels
-- In the order of the key, so that two batches never wait for each other.
SELECT l.store_id, l.sku, l.on_hand
FROM stock_levels l
JOIN unnest(:buckets::smallint[], :store_ids::text[], :skus::text[]) k(bucket, store_id, sku)
  ON l.bucket = k.bucket AND l.store_id = k.store_id AND l.sku = k.sku
WHERE l.bucket = ANY(:distinct_buckets::smallint[])
ORDER BY l.bucket, l.store_id, l.sku
FOR UPDATE OF l;

-- name: move_levels
-- One row a SKU, however many orders moved it.
UPDATE stock_levels l
SET on_hand = l.on_hand + v.moved
FROM unnest(:buckets::smallint[], :store_ids::text[], :skus::text[], :moved::integer[])
  v(bucket, store_id, sku, moved)
WHERE l.bucket = v.bucket
  AND l.store_id = v.store_id
  AND l.sku = v.sku
  AND l.bucket = ANY(:distinct_buckets::smallint[]);

-- name: correct_claims
-- What was claimed but not moved: a short order's claim becomes its tombstone.
UPDATE stock_ledger s
SET movement = v.movement, quantities = v.quantities
FROM unnest(:buckets::smallint[], :store_ids::text[], :order_ids::uuid[], :movements::text[], :quantities::jsonb[])
  v(bucket, store_id, order_id, movement, quantities)
WHERE s.bucket = v.bucket
  AND s.store_id = v.store_id
  AND s.order_id = v.order_id
  AND s.phase = 1
  AND s.bucket = ANY(:distinct_buckets::smallint[]);

-- name: bury
-- A tombstone for what was never deducted: a deduction that comes later finds it.
INSERT INTO stock_ledger (bucket, store_id, order_id, phase, movement, quantities, moved_at)
SELECT v.bucket, v.store_id, v.order_id, 1, 'given_up', '{}', :now
FROM unnest(:buckets::smallint[], :store_ids::text[], :order_ids::uuid[]) v(bucket, store_id, order_id)
ON CONFLICT DO NOTHING;

-- name: return_deductions
-- Phase 2 happens once, and only after a deduction.
INSERT INTO stock_ledger (bucket, store_id, order_id, phase, movement, quantities, moved_at)
SELECT s.bucket, s.store_id, s.order_id, 2, 'returned', s.quantities, :now
FROM stock_ledger s
JOIN unnest(:buckets::smallint[], :store_ids::text[], :order_ids::uuid[]) v(bucket, store_id, order_id)
  ON s.bucket = v.bucket AND s.store_id = v.store_id AND s.order_id = v.order_id
WHERE s.bucket = ANY(:distinct_buckets::smallint[])
  AND s.phase = 1
  AND s.movement = 'deducted'
ON CONFLICT DO NOTHING
RETURNING store_id, quantities;
