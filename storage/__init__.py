"""The only home of PostgreSQL: migrations, plain SQL files, one module per family of tables."""
