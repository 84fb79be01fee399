-- name: create_table
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    text        COLLATE "C" PRIMARY KEY,
    name       text        NOT NULL,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL
);

-- name: table_exists
SELECT to_regclass('schema_migrations') IS NOT NULL;

-- name: list_applied
SELECT version, name, checksum, applied_at
FROM schema_migrations
ORDER BY version;

-- name: insert_applied
INSERT INTO schema_migrations (version, name, checksum, applied_at)
VALUES (:version, :name, :checksum, now());

-- name: try_lock
-- Tried again and again rather than waited for: a session that waits inside a statement would
-- stop CREATE INDEX CONCURRENTLY, which waits for all older statements. Only spares two migrators
-- each other's errors; the primary key is what keeps a migration from being applied twice.
SELECT pg_try_advisory_lock(:key::bigint);
