-- name: take_snapshot
-- Everything that a check reads is of one moment, and nothing can be written.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;

-- name: read_whole_tables
-- Buckets and ids look independent to the planner: it expects few rows and would look each up.
SET LOCAL enable_nestloop = off;

-- name: look_up_keys
-- For the pages of the walk, which are keyed.
SET LOCAL enable_nestloop = on;

-- name: unpublished_requests
-- Accepted, but nobody has confirmed that the broker has it.
WITH broken AS MATERIALIZED (
  SELECT coalesce(convert_from(a.events[1], 'UTF8')::jsonb->>'subject', a.key) AS subject,
         a.source || ' ' || a.key AS why
  FROM accepted_requests a
  WHERE a.published_at IS NULL
)
SELECT subject, why, count(*) OVER () AS total
FROM broken
ORDER BY subject, why
LIMIT :most::integer;

-- name: lost_requests
-- Published, but its event is neither recorded nor in quarantine. Letters about events that nobody
-- understood name no event: there the id stands in the body. OFFSET 0: each body is parsed once.
WITH broken AS MATERIALIZED (
  SELECT n.event->>'subject' AS subject,
         string_agg(n.event->>'type', ', ') AS why
  FROM accepted_requests a
  CROSS JOIN LATERAL unnest(a.events) AS u(body)
  CROSS JOIN LATERAL (SELECT convert_from(u.body, 'UTF8')::jsonb AS event OFFSET 0) n
  LEFT JOIN events e
    -- The order's bucket: a till's row lies in its store's.
    ON e.bucket = ('x' || left(n.event->>'subject', 3))::bit(12)::int >> 2
   AND e.instance_id = coalesce(n.event->>'instance', n.event->>'subject')::uuid
   AND e.event_id = (n.event->>'id')::uuid
  WHERE a.published_at IS NOT NULL
    AND e.event_id IS NULL
    AND NOT EXISTS (SELECT 1 FROM quarantine q WHERE q.event_id = (n.event->>'id')::uuid)
    AND NOT EXISTS (
      SELECT 1
      FROM quarantine q
      WHERE q.event_id IS NULL AND position(convert_to(n.event->>'id', 'UTF8') IN q.body) > 0
    )
  GROUP BY n.event->>'subject'
)
SELECT subject, why, count(*) OVER () AS total
FROM broken
ORDER BY subject, why
LIMIT :most::integer;

-- name: vanished_payloads
-- A payload that could not be read lies in quarantine, byte by byte.
WITH broken AS MATERIALIZED (
  SELECT a.key AS subject, a.problem AS why
  FROM accepted_requests a
  WHERE a.problem IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM quarantine q WHERE q.queue = a.source AND q.body = a.body)
)
SELECT subject, why, count(*) OVER () AS total
FROM broken
ORDER BY subject, why
LIMIT :most::integer;

-- name: balance
-- Per channel, what has become of the orders that were accepted. A pushed copy of a request lies in
-- another bucket than its order.
SELECT p.channel,
       count(*) AS accepted,
       count(*) FILTER (WHERE c.state IS NOT NULL) AS finished,
       count(*) FILTER (WHERE i.workflow IS NOT NULL AND c.state IS NULL) AS open,
       count(*) FILTER (WHERE i.workflow IS NULL AND q.event_id IS NOT NULL) AS quarantined
FROM (
  SELECT DISTINCT n.event->'data'->'order'->>'channel' AS channel,
         (n.event->>'subject')::uuid AS order_id,
         (n.event->>'id')::uuid AS event_id
  FROM accepted_requests a
  CROSS JOIN LATERAL unnest(a.events) AS u(body)
  CROSS JOIN LATERAL (SELECT convert_from(u.body, 'UTF8')::jsonb AS event OFFSET 0) n
  WHERE n.event->>'type' = 'system2.OrderPlaced'
) p
LEFT JOIN instances i
  ON i.instance_id = p.order_id
LEFT JOIN unnest(:workflows::text[], :versions::smallint[], :states::text[]) c(workflow, version, state)
  ON c.workflow = i.workflow AND c.version = i.version AND c.state = i.state
LEFT JOIN (SELECT DISTINCT event_id FROM quarantine) q
  ON q.event_id = p.event_id
GROUP BY p.channel
ORDER BY p.channel;

-- name: orders_from_nowhere
-- There is an order, but nothing that entered says so.
WITH broken AS MATERIALIZED (
  SELECT o.order_id::text AS subject, 'no accepted request brought it' AS why
  FROM orders o
  LEFT JOIN (
    SELECT DISTINCT (n.event->>'subject')::uuid AS order_id
    FROM accepted_requests a
    CROSS JOIN LATERAL unnest(a.events) AS u(body)
    CROSS JOIN LATERAL (SELECT convert_from(u.body, 'UTF8')::jsonb AS event OFFSET 0) n
    WHERE n.event->>'type' = 'system2.OrderPlaced'
  ) p
    ON p.order_id = o.order_id
  WHERE p.order_id IS NULL
)
SELECT subject, why, count(*) OVER () AS total
FROM broken
ORDER BY subject, why
LIMIT :most::integer;

-- name: widows
-- Orders, born instances and events that stand without one another.
WITH broken AS MATERIALIZED (
  SELECT w.instance_id::text AS subject, w.why
  FROM (
    SELECT coalesce(o.order_id, i.instance_id) AS instance_id,
           CASE WHEN o.order_id IS NULL THEN 'has no order row' ELSE 'has no born instance' END AS why
    FROM orders o
    FULL JOIN (SELECT bucket, instance_id FROM instances WHERE workflow IS NOT NULL) i
      ON i.bucket = o.bucket AND i.instance_id = o.order_id
    WHERE o.order_id IS NULL OR i.instance_id IS NULL
    UNION ALL
    SELECT DISTINCT e.instance_id, 'has events but no instance'
    FROM events e
    LEFT JOIN instances i
      ON i.bucket = e.bucket AND i.instance_id = e.instance_id
    WHERE i.instance_id IS NULL
  ) w
)
SELECT subject, why, count(*) OVER () AS total
FROM broken
ORDER BY subject, why
LIMIT :most::integer;

-- name: stock_differences
-- Received - deducted + returned is what is there, for every store and SKU.
WITH broken AS MATERIALIZED (
  SELECT coalesce(l.store_id, m.store_id) || ' ' || coalesce(l.sku, m.sku) AS subject,
         coalesce(l.on_hand, 0) || ' on hand, ' || coalesce(m.quantity, 0) || ' by the ledger' AS why
  FROM stock_levels l
  FULL JOIN (
    SELECT s.bucket,
           s.store_id,
           q.sku,
           sum(CASE s.movement WHEN 'deducted' THEN -q.quantity::bigint ELSE q.quantity::bigint END) AS quantity
    FROM stock_ledger s
    CROSS JOIN LATERAL jsonb_each_text(s.quantities) AS q(sku, quantity)
    GROUP BY s.bucket, s.store_id, q.sku
  ) m
    ON m.bucket = l.bucket AND m.store_id = l.store_id AND m.sku = l.sku
  WHERE coalesce(l.on_hand, 0) <> coalesce(m.quantity, 0)
     OR l.on_hand < 0
)
SELECT subject, why, count(*) OVER () AS total
FROM broken
ORDER BY subject, why
LIMIT :most::integer;

-- name: stray_movements
-- An order moves stock at its own store only, and gives back exactly what it took.
WITH broken AS MATERIALIZED (
  SELECT s.order_id::text AS subject,
         s.movement || ' at ' || s.store_id || ': '
           || CASE
                WHEN o.order_id IS NULL THEN 'there is no such order'
                WHEN o.store_id <> s.store_id THEN 'the order is for ' || o.store_id
                ELSE 'that is not what was deducted'
              END AS why
  FROM stock_ledger s
  LEFT JOIN orders o
    ON o.order_id = s.order_id
  LEFT JOIN stock_ledger d
    ON d.bucket = s.bucket
   AND d.store_id = s.store_id
   AND d.order_id = s.order_id
   AND d.phase = 1
   AND d.movement = 'deducted'
  WHERE s.movement <> 'received'
    AND (o.order_id IS NULL
         OR o.store_id <> s.store_id
         OR (s.movement = 'returned' AND s.quantities IS DISTINCT FROM d.quantities))
)
SELECT subject, why, count(*) OVER () AS total
FROM broken
ORDER BY subject, why
LIMIT :most::integer;

-- name: stock_still_held
-- An order that ended without a meal holds nothing.
WITH broken AS MATERIALIZED (
  SELECT i.instance_id::text AS subject,
         i.state || ', yet ' || d.store_id || ' still lacks ' || d.quantities::text AS why
  FROM instances i
  JOIN stock_ledger d
    ON d.order_id = i.instance_id
   AND d.phase = 1
   AND d.movement = 'deducted'
   AND d.quantities <> '{}'
  LEFT JOIN stock_ledger r
    ON r.bucket = d.bucket AND r.store_id = d.store_id AND r.order_id = d.order_id AND r.phase = 2
  WHERE i.state = ANY(:empty_handed::text[])
    AND r.order_id IS NULL
)
SELECT subject, why, count(*) OVER () AS total
FROM broken
ORDER BY subject, why
LIMIT :most::integer;

-- name: stock_not_deducted
-- What is cooked was deducted, as its command said and once; but what a store kept no stock of at
-- the time moves none.
WITH broken AS MATERIALIZED (
  SELECT k.instance_id::text AS subject,
         k.state || ', its command says ' || k.lines::text
           || CASE
                WHEN d.order_id IS NULL THEN ', nothing was deducted'
                WHEN r.order_id IS NOT NULL THEN ', and it was returned'
                ELSE ', deducted was ' || d.quantities::text
              END AS why
  FROM (
    SELECT i.bucket,
           i.instance_id,
           i.state,
           c.command->'data'->>'store_id' AS store_id,
           c.command->'data'->'lines' AS lines
    FROM instances i
    JOIN events e
      ON e.bucket = i.bucket AND e.instance_id = i.instance_id
    CROSS JOIN LATERAL jsonb_array_elements(e.caused->'commands') AS c(command)
    WHERE i.state = ANY(:holding::text[])
      AND c.command->>'type' = 'system2.DeductStock'
  ) k
  LEFT JOIN stock_ledger d
    ON d.store_id = k.store_id AND d.order_id = k.instance_id AND d.phase = 1 AND d.movement = 'deducted'
  LEFT JOIN stock_ledger r
    ON r.bucket = d.bucket AND r.store_id = d.store_id AND r.order_id = d.order_id AND r.phase = 2
  WHERE d.order_id IS NULL
     OR r.order_id IS NOT NULL
     OR EXISTS (
       SELECT 1
       FROM jsonb_to_recordset(k.lines) AS x(sku text, quantity integer)
       FULL JOIN jsonb_each_text(d.quantities) AS q(sku, quantity)
         ON q.sku = x.sku
       WHERE x.quantity IS DISTINCT FROM q.quantity::integer
         AND (q.sku IS NOT NULL
              OR EXISTS (
                SELECT 1
                FROM stock_ledger s
                WHERE s.bucket = d.bucket
                  AND s.store_id = d.store_id
                  AND s.movement = 'received'
                  AND s.quantities ? x.sku
                  AND s.moved_at <= d.moved_at
              ))
     )
)
SELECT subject, why, count(*) OVER () AS total
FROM broken
ORDER BY subject, why
LIMIT :most::integer;

-- name: deadline_differences
-- The rows that people see are what the instances have armed.
WITH broken AS MATERIALIZED (
  SELECT coalesce(d.instance_id, a.instance_id)::text AS subject,
         coalesce(d.name, a.name)
           || ': armed ' || coalesce(a.epoch || ' ' || a.due, 'not at all')
           || ', the row says ' || coalesce(d.epoch || ' ' || d.due, 'nothing') AS why
  FROM deadlines d
  FULL JOIN (
    SELECT i.bucket,
           i.instance_id,
           x.name,
           (x.standing->>0)::integer AS epoch,
           (x.standing->>1)::timestamptz AS due
    FROM instances i
    CROSS JOIN LATERAL jsonb_each(i.armed) AS x(name, standing)
  ) a
    ON a.bucket = d.bucket AND a.instance_id = d.instance_id AND a.name = d.name
  WHERE d.epoch IS DISTINCT FROM a.epoch
     OR d.due IS DISTINCT FROM a.due
)
SELECT subject, why, count(*) OVER () AS total
FROM broken
ORDER BY subject, why
LIMIT :most::integer;

-- name: closed_unsettled
-- Nothing is expected of an order that is over.
WITH broken AS MATERIALIZED (
  SELECT i.instance_id::text AS subject,
         i.state || ' with ' || cardinality(i.owed) || ' owed, ' || i.early || ' early' AS why
  FROM instances i
  JOIN unnest(:workflows::text[], :versions::smallint[], :states::text[]) c(workflow, version, state)
    ON c.workflow = i.workflow AND c.version = i.version AND c.state = i.state
  WHERE i.owed <> '{}'
     OR i.early > 0
     OR i.armed <> '{}'
)
SELECT subject, why, count(*) OVER () AS total
FROM broken
ORDER BY subject, why
LIMIT :most::integer;

-- name: letters_without_reason
-- A person must be able to see why it lies there.
WITH broken AS MATERIALIZED (
  SELECT coalesce(q.order_id, q.quarantine_id)::text AS subject,
         q.queue || ' ' || coalesce(q.type, '') AS why
  FROM quarantine q
  WHERE btrim(q.reason) = ''
     OR btrim(q.error) = ''
)
SELECT subject, why, count(*) OVER () AS total
FROM broken
ORDER BY subject, why
LIMIT :most::integer;

-- name: commands_unanswered
-- A command has one inbox row and one answer; only while it is owed it may still have none.
WITH sent AS MATERIALIZED (
  SELECT e.bucket, e.instance_id, x.command->>'type' AS type, (x.command->>'id')::uuid AS command_id
  FROM events e
  CROSS JOIN LATERAL jsonb_array_elements(e.caused->'commands') AS x(command)
),
worked AS MATERIALIZED (
  SELECT command_id, count(*) AS copies, count(answer) AS answers
  FROM inbox
  GROUP BY command_id
),
broken AS MATERIALIZED (
  SELECT s.instance_id::text AS subject,
         string_agg(
           s.type || ' has ' || coalesce(w.answers, 0) || ' answers in ' || coalesce(w.copies, 0) || ' rows', ', '
         ) AS why
  FROM sent s
  JOIN instances i
    ON i.bucket = s.bucket AND i.instance_id = s.instance_id
  LEFT JOIN worked w
    ON w.command_id = s.command_id
  WHERE w.copies > 1
     OR (coalesce(w.answers, 0) <> 1 AND NOT s.command_id = ANY(i.owed))
  GROUP BY s.instance_id
)
SELECT subject, why, count(*) OVER () AS total
FROM broken
ORDER BY subject, why
LIMIT :most::integer;

-- name: commands_from_nowhere
-- A consumer has worked on what no event of the order has caused.
WITH sent AS MATERIALIZED (
  SELECT e.instance_id, (x.command->>'id')::uuid AS command_id
  FROM events e
  CROSS JOIN LATERAL jsonb_array_elements(e.caused->'commands') AS x(command)
),
broken AS MATERIALIZED (
  SELECT n.order_id::text AS subject, n.consumer || ' has ' || n.command_id AS why
  FROM inbox n
  LEFT JOIN sent s
    ON s.instance_id = n.order_id AND s.command_id = n.command_id
  WHERE s.command_id IS NULL
)
SELECT subject, why, count(*) OVER () AS total
FROM broken
ORDER BY subject, why
LIMIT :most::integer;

-- name: answers_unrecorded
-- Of a command that is owed no longer, the answer in the inbox is the event that was recorded.
WITH broken AS MATERIALIZED (
  SELECT n.order_id::text AS subject,
         n.consumer || ' answered ' || (n.answer->>'type')
           || CASE WHEN e.event_id IS NULL THEN ', not recorded' ELSE ', recorded is ' || e.type END AS why
  FROM inbox n
  LEFT JOIN instances i
    ON i.instance_id = n.order_id
  LEFT JOIN events e
    ON e.instance_id = n.order_id AND e.event_id = (n.answer->>'id')::uuid
  WHERE n.answer IS NOT NULL
    AND (e.event_id IS NULL OR n.command_id = ANY(i.owed)
         OR 'system2.' || e.type <> n.answer->>'type'
         OR e.cause IS DISTINCT FROM n.command_id
         OR e.payload <> n.answer->'data')
    AND NOT (e.event_id IS NULL AND coalesce(n.command_id = ANY(i.owed), false))
)
SELECT subject, why, count(*) OVER () AS total
FROM broken
ORDER BY subject, why
LIMIT :most::integer;

-- name: page_instances
-- The next instances in key order.
SELECT i.bucket, i.instance_id, i.workflow, i.version, i.state, i.revision, i.owed, i.armed, i.context, i.early
FROM instances i
WHERE (i.bucket, i.instance_id) > (:bucket::smallint, :instance_id::uuid)
  AND i.bucket < :end::smallint
ORDER BY i.bucket, i.instance_id
LIMIT :limit::integer;

-- name: page_events
-- All events of these instances, each in order of revision.
SELECT e.instance_id, e.event_id, e.revision, e.type, e.fate, e.source, e.cause, e.fingerprint, e.payload,
       e.caused, e.happened_at, e.recorded_at, e.traceparent
FROM events e
JOIN unnest(:buckets::smallint[], :instance_ids::uuid[]) k(bucket, instance_id)
  ON e.bucket = k.bucket AND e.instance_id = k.instance_id
WHERE e.bucket = ANY(:distinct_buckets::smallint[])
ORDER BY e.bucket, e.instance_id, e.revision, e.event_id;

-- name: list_tickets
-- What the tills should have in their books: each order, and what they said about its ticket.
SELECT o.order_id,
       o.order_no,
       o.store_id,
       i.state,
       coalesce(bool_or(e.type <> 'CancelRefused'), false) AS taken,
       coalesce(bool_or(e.type = 'CancelRefused'), false) AS kept
FROM orders o
JOIN instances i
  ON i.bucket = o.bucket AND i.instance_id = o.order_id
LEFT JOIN events e
  ON e.bucket = o.bucket
 AND e.instance_id = o.order_id
 AND e.type IN ('TicketTaken', 'TicketAccepted', 'MealReady', 'CancelRefused')
GROUP BY o.bucket, o.order_id, i.state;

-- name: list_till_messages
-- What was sent to tills, under which key.
SELECT n.command_id, n.order_id, n.consumer, encode(sha256(n.body), 'hex') AS digest
FROM inbox n
WHERE n.consumer IN ('pos.push', 'pos.cancel');

-- name: list_platform_orders
-- What a platform should know about each order: what it told us, and what we told it.
SELECT o.order_id,
       o.channel_order_id,
       o.account,
       i.state,
       ARRAY(
         SELECT e.type
         FROM events e
         WHERE e.bucket = o.bucket
           AND e.instance_id = o.order_id
           AND e.type IN ('OrderConfirmed', 'OrderRejected', 'ReadyTold')
       ) AS told,
       ARRAY(
         SELECT x.command->>'type'
         FROM events e
         CROSS JOIN LATERAL jsonb_array_elements(e.caused->'commands') AS x(command)
         WHERE e.bucket = o.bucket AND e.instance_id = o.order_id
       ) AS sent,
       ARRAY(
         SELECT a.alias
         FROM order_aliases a
         WHERE a.bucket = o.bucket AND a.order_id = o.order_id
       ) AS aliases
FROM orders o
JOIN instances i
  ON i.bucket = o.bucket AND i.instance_id = o.order_id
WHERE o.account = ANY(:accounts::text[]);

-- name: list_quarantined_orders
-- Orders that entered but cannot be one: by our id, or as their platform calls them.
SELECT q.order_id::text AS named
FROM quarantine q
WHERE q.order_id IS NOT NULL
UNION
SELECT substr(a.key, length('problem:') + 1)
FROM accepted_requests a
WHERE a.key LIKE 'problem:%';
