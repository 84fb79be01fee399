-- name: insert_orders
-- Amounts are frozen at placing; only a degraded order is ever completed.
INSERT INTO orders (bucket, order_id, order_no, channel, account, channel_order_id, store_id, daily_number,
                    kind, placed_at, wanted_at, remark, currency, goods_minor, packing_minor,
                    delivery_minor, platform_discount_minor, store_discount_minor, paid_minor, flags,
                    extension, recorded_at)
SELECT v.bucket, v.order_id, v.order_no, v.channel, v.account, v.channel_order_id, v.store_id,
       v.daily_number, v.kind, v.placed_at, v.wanted_at, v.remark, v.currency, v.goods_minor,
       v.packing_minor, v.delivery_minor, v.platform_discount_minor, v.store_discount_minor, v.paid_minor,
       string_to_array(v.flags, ','), v.extension, :now
FROM unnest(
  :buckets::smallint[], :order_ids::uuid[], :order_nos::text[], :channels::text[], :accounts::text[],
  :channel_order_ids::text[], :store_ids::text[], :daily_numbers::integer[], :kinds::text[],
  :placed_at::timestamptz[], :wanted_at::timestamptz[], :remarks::text[], :currencies::text[],
  :goods::bigint[], :packing::bigint[], :delivery::bigint[], :platform_discounts::bigint[],
  :store_discounts::bigint[], :paid::bigint[], :flags::text[], :extensions::jsonb[]
) v(bucket, order_id, order_no, channel, account, channel_order_id, store_id, daily_number, kind, placed_at,
    wanted_at, remark, currency, goods_minor, packing_minor, delivery_minor, platform_discount_minor,
    store_discount_minor, paid_minor, flags, extension)
ON CONFLICT (bucket, order_id) DO UPDATE
SET goods_minor = excluded.goods_minor,
    packing_minor = excluded.packing_minor,
    delivery_minor = excluded.delivery_minor,
    platform_discount_minor = excluded.platform_discount_minor,
    store_discount_minor = excluded.store_discount_minor,
    paid_minor = excluded.paid_minor,
    remark = CASE WHEN excluded.remark = '' THEN orders.remark ELSE excluded.remark END,
    flags = excluded.flags,
    extension = excluded.extension;

-- name: insert_lines
-- One row per item.
INSERT INTO order_lines (bucket, order_id, line, sku, name, quantity, unit_price_minor, paid_minor, options)
SELECT v.bucket, v.order_id, v.line, v.sku, v.name, v.quantity, v.unit_price_minor, v.paid_minor, v.options
FROM unnest(
  :buckets::smallint[], :order_ids::uuid[], :lines::smallint[], :skus::text[], :names::text[],
  :quantities::integer[], :unit_prices::bigint[], :paid::bigint[], :options::text[]
) v(bucket, order_id, line, sku, name, quantity, unit_price_minor, paid_minor, options)
ON CONFLICT (bucket, order_id, line) DO UPDATE
SET sku = excluded.sku,
    name = excluded.name,
    quantity = excluded.quantity,
    unit_price_minor = excluded.unit_price_minor,
    paid_minor = excluded.paid_minor,
    options = excluded.options;

-- name: insert_recipients
-- Personal data, in a table of its own.
INSERT INTO recipients (bucket, order_id, name, phone, address)
SELECT v.bucket, v.order_id, v.name, v.phone, v.address
FROM unnest(:buckets::smallint[], :order_ids::uuid[], :names::text[], :phones::text[], :addresses::text[])
  v(bucket, order_id, name, phone, address)
ON CONFLICT (bucket, order_id) DO UPDATE
SET name = excluded.name, phone = excluded.phone, address = excluded.address;

-- name: insert_aliases
-- Further ids of the same order on its channel.
INSERT INTO order_aliases (bucket, order_id, alias)
SELECT v.bucket, v.order_id, v.alias
FROM unnest(:buckets::smallint[], :order_ids::uuid[], :aliases::text[]) v(bucket, order_id, alias)
ON CONFLICT DO NOTHING;

-- name: read_tickets
-- All that tickets are rendered from, for a whole batch: order, recipient, and the store's till.
SELECT o.order_id, o.order_no, o.channel, o.account, o.channel_order_id, o.store_id, o.daily_number, o.kind,
       o.placed_at, o.wanted_at, o.remark, o.currency, o.goods_minor, o.packing_minor, o.delivery_minor,
       o.platform_discount_minor, o.store_discount_minor, o.paid_minor, o.flags, r.name, r.phone, r.address
FROM orders o
JOIN unnest(:buckets::smallint[], :order_ids::uuid[]) k(bucket, order_id)
  ON o.bucket = k.bucket AND o.order_id = k.order_id
LEFT JOIN recipients r
  ON r.bucket = o.bucket AND r.order_id = o.order_id AND r.bucket = ANY(:distinct_buckets::smallint[])
WHERE o.bucket = ANY(:distinct_buckets::smallint[]);

-- name: read_lines
-- The items of a whole batch of orders.
SELECT l.order_id, l.line, l.sku, l.name, l.quantity, l.unit_price_minor, l.paid_minor, l.options
FROM order_lines l
JOIN unnest(:buckets::smallint[], :order_ids::uuid[]) k(bucket, order_id)
  ON l.bucket = k.bucket AND l.order_id = k.order_id
WHERE l.bucket = ANY(:distinct_buckets::smallint[])
ORDER BY l.bucket, l.order_id, l.line;

-- name: order_of_number
-- A till calls an order by its number; the bucket is inside.
SELECT order_id, store_id
FROM orders
WHERE bucket = :bucket AND order_no = :order_no;
