"""Migration files: dbmate's format, cut into commands, never changed once applied."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from storage.migrate import (
    Migration,
    MigrationChanged,
    MigrationMissing,
    MigrationOutOfOrder,
    MigrationUnreadable,
    packaged,
    pending,
    read,
    read_all,
    split,
)


def test_commands_are_cut_at_semicolons_and_nowhere_else() -> None:
    text = """
    -- first; of all
    CREATE TABLE a (b text DEFAULT ';'); /* ; */
    CREATE FUNCTION f() RETURNS text AS $body$ SELECT ';'; $body$ LANGUAGE sql;
    SELECT 1 AS "a;b"
    """
    first, second, third = split(text)
    assert first.endswith("DEFAULT ';')")
    assert second.endswith("$body$ LANGUAGE sql")
    assert third == 'SELECT 1 AS "a;b"'


def test_comments_and_stray_semicolons_are_no_commands() -> None:
    assert split(";; -- nothing\n;/* nothing */") == []


def test_only_the_part_up_is_run() -> None:
    text = "-- migrate:up\nCREATE TABLE a ();\n-- migrate:down\nDROP TABLE a;\n"
    assert read("0001_a.sql", text).commands == ("CREATE TABLE a ()",)


def test_a_file_can_ask_for_no_transaction() -> None:
    assert read("0001_a.sql", "-- migrate:up\nSELECT 1;").transaction
    assert not read("0001_a.sql", "-- migrate:up transaction:false\nSELECT 1;").transaction


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.sql", "-- migrate:up\n"),
        ("0001_a.sql", "CREATE TABLE a ();"),
        ("0001_a.sql", "-- migrate:up transaction:maybe\nSELECT 1;"),
    ],
)
def test_a_file_in_another_format_is_refused(name: str, text: str) -> None:
    with pytest.raises(MigrationUnreadable):
        read(name, text)


def test_two_files_with_one_number_are_refused(tmp_path: Path) -> None:
    for name in ("0001_a.sql", "0001_b.sql"):
        (tmp_path / name).write_text("-- migrate:up\nSELECT 1;")
    with pytest.raises(MigrationUnreadable, match="same number"):
        read_all(tmp_path)


def test_a_directory_may_hold_other_files(tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("-- migrate:up\nSELECT 1;")
    (tmp_path / "README.md").write_text("hello")
    assert [m.version for m in read_all(tmp_path)] == ["0001"]


def test_line_endings_do_not_change_a_checksum() -> None:
    unix, windows = "-- migrate:up\nSELECT 1;\n", "-- migrate:up\r\nSELECT 1;\r\n"
    assert read("0001_a.sql", unix).checksum == read("0001_a.sql", windows).checksum


def test_our_own_files_can_be_read() -> None:
    migrations = packaged()
    assert migrations[0].version == "0001"
    assert all(migration.commands for migration in migrations)


A, B, C = (Migration(f"000{n}", "m", f"sum {n}", ("SELECT 1",), True) for n in (1, 2, 3))


def applied(migration: Migration, **changed: Any) -> Any:
    row = {"version": migration.version, "name": "m", "checksum": migration.checksum}
    return {**row, "applied_at": datetime(2026, 1, 1, tzinfo=UTC), **changed}


def test_what_is_not_applied_is_pending() -> None:
    assert pending([A, B, C], [applied(A)]) == [B, C]


def test_a_newer_release_may_have_migrated_already() -> None:
    assert pending([A], [applied(A), applied(B)]) == []


def test_a_file_that_changed_after_it_was_applied_is_refused() -> None:
    with pytest.raises(MigrationChanged, match=r"0001_m was changed .* on 2026-01-01"):
        pending([A], [applied(A, checksum="another")])


def test_an_applied_migration_whose_file_is_gone_is_refused() -> None:
    with pytest.raises(MigrationMissing, match="0001_m"):
        pending([B], [applied(A)])


def test_a_new_file_behind_an_applied_one_is_refused() -> None:
    with pytest.raises(MigrationOutOfOrder, match="0002_m comes after 0003"):
        pending([A, B, C], [applied(A), applied(C)])
