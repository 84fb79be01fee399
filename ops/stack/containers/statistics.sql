-- `system2 bench` counts statements with it.
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
