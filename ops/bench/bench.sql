-- What the benchmarks ask. Each statement says so inside: they do not count themselves.

-- name: bench_conditions
-- What a figure is worth depends on these.
SELECT /* bench */ current_setting('fsync') AS fsync,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('full_page_writes') AS full_page_writes,
       current_setting('server_version') AS postgres,
       current_setting('shared_preload_libraries') AS preloaded;

-- name: bench_extension
CREATE /* bench */ EXTENSION IF NOT EXISTS pg_stat_statements;

-- name: bench_analyze
-- Tables this young have no statistics yet; comparing the books takes many times as long without.
ANALYZE /* bench */;

-- name: bench_backend
-- The server's processes are this one's siblings.
SELECT /* bench */ pg_backend_pid();

-- name: bench_calls
-- Every statement that anybody ran in this database, BEGIN and COMMIT too.
SELECT /* bench */ s.query, sum(s.calls)::bigint AS calls
FROM pg_stat_statements s
WHERE s.dbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
  AND s.query NOT LIKE '%/* bench */%'
GROUP BY s.query;

-- name: bench_recorded
-- How many orders of the benchmark have this event.
SELECT /* bench */ count(*)
FROM events e
WHERE e.type = :type;

-- name: bench_journeys
-- The moments of each order on its way to the till, in unix seconds.
SELECT /* bench */ extract(epoch FROM p.happened_at)::float8 AS handed_over,
       extract(epoch FROM p.recorded_at)::float8 AS dispatched,
       extract(epoch FROM s.happened_at)::float8 AS deducted,
       extract(epoch FROM s.recorded_at)::float8 AS dispatched_again,
       extract(epoch FROM n.received_at)::float8 AS rendered,
       extract(epoch FROM d.started_at)::float8 AS called,
       extract(epoch FROM d.started_at)::float8 + d.seconds AS answered
FROM events p
JOIN events s
  ON s.bucket = p.bucket AND s.instance_id = p.instance_id AND s.type = 'StockDeducted'
JOIN inbox n
  ON n.bucket = p.bucket AND n.order_id = p.instance_id AND n.consumer = 'pos.push'
JOIN deliveries d
  ON d.bucket = n.bucket AND d.command_id = n.command_id AND d.outcome = 'answered'
WHERE p.type = 'OrderPlaced'
  AND p.happened_at >= :since;

-- name: bench_codes
-- The moments of each pickup code on its way to the platform, in unix seconds.
SELECT /* bench */ o.channel_order_id,
       extract(epoch FROM e.recorded_at)::float8 AS dispatched,
       extract(epoch FROM min(d.started_at))::float8 AS called
FROM events e
JOIN orders o
  ON o.bucket = e.bucket AND o.order_id = e.instance_id
JOIN deliveries d
  ON d.bucket = e.bucket AND d.order_id = e.instance_id AND d.queue = 'takeaway.ready'
WHERE e.type = 'MealReady'
GROUP BY o.channel_order_id, e.recorded_at;

-- name: bench_born
-- How many of the flood's orders the dispatcher had taken by then.
SELECT /* bench */ count(*)
FROM events e
WHERE e.type = 'OrderPlaced'
  AND e.source = :source
  AND e.recorded_at <= :moment;
