-- name: seed_cursor
INSERT INTO pull_cursors (channel, account, scope, moved_at)
VALUES (:channel, :account, :scope, :now)
ON CONFLICT DO NOTHING;

-- name: read_cursor
SELECT channel, account, scope, cursor, generation, moved_by, interval_seconds, paused, moved_at
FROM pull_cursors
WHERE channel = :channel
  AND account = :account
  AND scope = :scope;

-- name: move_cursor
-- Compare and set: of several ticks of one generation one moves the cursor, the copies do not.
UPDATE pull_cursors
SET cursor = :cursor,
    generation = generation + 1,
    moved_by = :tick_id,
    interval_seconds = :interval_seconds,
    moved_at = :now
WHERE channel = :channel
  AND account = :account
  AND scope = :scope
  AND generation = :from_generation
RETURNING generation;

-- name: set_paused
UPDATE pull_cursors
SET paused = :paused
WHERE channel = :channel
  AND account = :account
RETURNING scope;

-- name: list_cursors
SELECT channel, account, scope, cursor, generation, moved_by, interval_seconds, paused, moved_at
FROM pull_cursors
ORDER BY channel, account, scope;
