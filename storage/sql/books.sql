-- Read whole, after the work is done: for comparing our books with those of others.

-- name: list_orders
-- Every order with where it ended. A ticket was pushed once its body was rendered; it has certainly
-- arrived if the till answered a call, or spoke about it later.
SELECT i.instance_id, i.state, o.channel, o.channel_order_id, o.order_no, o.store_id,
       EXISTS (
         SELECT 1
         FROM inbox x
         WHERE x.bucket = i.bucket
           AND x.consumer = 'pos.push'
           AND x.order_id = i.instance_id
       ) AS pushed,
       EXISTS (
         SELECT 1
         FROM deliveries d
         WHERE d.bucket = i.bucket
           AND d.order_id = i.instance_id
           AND d.queue = 'pos.push'
           AND d.outcome = 'answered'
       ) OR EXISTS (
         SELECT 1
         FROM events e
         WHERE e.bucket = i.bucket
           AND e.instance_id = i.instance_id
           AND e.source LIKE '/tills/%'
       ) AS arrived
FROM instances i
LEFT JOIN orders o ON o.bucket = i.bucket AND o.order_id = i.instance_id;

-- name: count_states
-- How many orders are in each state now.
SELECT i.state, count(*) AS orders
FROM instances i
GROUP BY i.state;

-- name: list_ledger
-- Every movement of stock by an order.
SELECT l.store_id, l.order_id, l.movement, l.quantities
FROM stock_ledger l
WHERE l.movement <> 'received';

-- name: list_levels
-- What is on the shelves, and what they were opened with.
SELECT s.store_id, s.sku, s.on_hand, coalesce(r.quantity, 0) AS received
FROM stock_levels s
LEFT JOIN (
  SELECT l.bucket, l.store_id, e.key AS sku, sum(e.value::bigint) AS quantity
  FROM stock_ledger l
  CROSS JOIN LATERAL jsonb_each_text(l.quantities) e(key, value)
  WHERE l.movement = 'received'
  GROUP BY l.bucket, l.store_id, e.key
) r ON r.bucket = s.bucket AND r.store_id = s.store_id AND r.sku = s.sku;
