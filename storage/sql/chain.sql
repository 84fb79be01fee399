-- name: upsert_accounts
INSERT INTO platform_accounts (account, platform, base_url, currency, credentials, options)
SELECT v.*
FROM unnest(:accounts::text[], :platforms::text[], :base_urls::text[], :currencies::text[],
            :credentials::jsonb[], :options::jsonb[]) AS v
ON CONFLICT (account) DO UPDATE
SET platform = EXCLUDED.platform,
    base_url = EXCLUDED.base_url,
    currency = EXCLUDED.currency,
    credentials = EXCLUDED.credentials,
    options = EXCLUDED.options;

-- name: upsert_stores
-- A row of `till_networks` is an array written as text: rows of different length are no array.
INSERT INTO stores (store_id, name, timezone, till_url, till_secret, till_networks)
SELECT v.store_id, v.name, v.timezone, v.till_url, v.till_secret, v.till_networks::text[]
FROM unnest(:store_ids::text[], :names::text[], :timezones::text[], :till_urls::text[],
            :till_secrets::text[], :till_networks::text[])
  AS v(store_id, name, timezone, till_url, till_secret, till_networks)
ON CONFLICT (store_id) DO UPDATE
SET name = EXCLUDED.name,
    timezone = EXCLUDED.timezone,
    till_url = EXCLUDED.till_url,
    till_secret = EXCLUDED.till_secret,
    till_networks = EXCLUDED.till_networks;

-- name: free_codes
-- A code may have moved to another store, and a store to another code.
DELETE FROM store_codes c
USING unnest(:accounts::text[], :codes::text[], :store_ids::text[]) AS v(account, code, store_id)
WHERE c.account = v.account
  AND (c.code = v.code OR c.store_id = v.store_id);

-- name: insert_codes
INSERT INTO store_codes (account, code, store_id)
SELECT v.*
FROM unnest(:accounts::text[], :codes::text[], :store_ids::text[]) AS v;

-- name: upsert_items
INSERT INTO items (sku, name, price_minor)
SELECT v.*
FROM unnest(:skus::text[], :names::text[], :prices_minor::bigint[]) AS v
ON CONFLICT (sku) DO UPDATE
SET name = EXCLUDED.name,
    price_minor = EXCLUDED.price_minor;

-- name: receive_opening_stock
-- Once for each store and SKU, whatever the file says later: its id follows from both.
INSERT INTO stock_ledger (bucket, store_id, order_id, phase, movement, quantities, moved_at)
SELECT v.bucket, v.store_id, v.order_id, 1, 'received', v.quantities, :now::timestamptz
FROM unnest(:buckets::smallint[], :store_ids::text[], :order_ids::uuid[], :quantities::jsonb[])
  AS v(bucket, store_id, order_id, quantities)
ON CONFLICT DO NOTHING
RETURNING order_id;

-- name: raise_levels
INSERT INTO stock_levels (bucket, store_id, sku, on_hand)
SELECT v.*
FROM unnest(:buckets::smallint[], :store_ids::text[], :skus::text[], :quantities::integer[]) AS v
ON CONFLICT (bucket, store_id, sku) DO UPDATE
SET on_hand = stock_levels.on_hand + EXCLUDED.on_hand;

-- name: list_accounts
SELECT account, platform, base_url, currency, credentials, options
FROM platform_accounts
ORDER BY account;

-- name: list_stores
SELECT store_id, name, timezone, till_url, till_secret, till_networks
FROM stores
ORDER BY store_id;

-- name: list_codes
SELECT account, code, store_id
FROM store_codes
ORDER BY account, code;

-- name: list_items
SELECT sku, name, price_minor
FROM items
ORDER BY sku;
