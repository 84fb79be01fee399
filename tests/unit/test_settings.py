"""Settings come from one place, and a misspelt one never becomes a default in silence."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from ops.settings import BadConfiguration, given, known_names, load

SERVERS = {
    "SYSTEM2_DATABASE_URL": "postgresql://system2:geheim@127.0.0.1/system2",
    "SYSTEM2_AMQP_URL": "amqp://system2:geheim@127.0.0.1/",
}


def test_two_addresses_are_enough() -> None:
    settings = load(SERVERS)
    assert settings.namespace == "system2"
    assert settings.partitions == 1


def test_a_setting_is_read_from_its_variable() -> None:
    assert load(SERVERS | {"SYSTEM2_PARTITIONS": "4"}).partitions == 4


def test_a_misspelt_variable_is_refused_and_the_nearest_named() -> None:
    with pytest.raises(BadConfiguration, match="did you mean SYSTEM2_PARTITIONS") as refusal:
        load(SERVERS | {"SYSTEM2_PARTITONS": "4"})
    assert refusal.value.exit_code == 78


@pytest.mark.parametrize("name", ["SYSTEM2_CRASH_AT", "SYSTEM2_MEITUAN_URL"])
def test_switches_and_chain_variables_are_no_misspellings(name: str) -> None:
    assert load(SERVERS | {name: "x"}).partitions == 1


def test_every_missing_setting_is_named_at_once() -> None:
    with pytest.raises(BadConfiguration, match=r"DATABASE_URL is not set.*AMQP_URL is not set"):
        load({})


def test_a_wrong_value_is_named_but_not_shown() -> None:
    with pytest.raises(BadConfiguration) as refusal:
        load(SERVERS | {"SYSTEM2_PARTITIONS": "geheim"})
    assert "SYSTEM2_PARTITIONS" in str(refusal.value)
    assert "geheim" not in str(refusal.value)


def test_passwords_are_not_printed() -> None:
    settings = load(SERVERS)
    assert isinstance(settings.database_url, SecretStr)
    assert "geheim" not in repr(settings)


def test_the_environment_wins_over_the_env_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("SYSTEM2_PARTITIONS=2\nSYSTEM2_NAMESPACE=noodles\nOTHER=1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYSTEM2_PARTITIONS", "8")
    monkeypatch.setenv("SYSTEM2_LOG_LEVEL", "")
    found = given()
    assert found["SYSTEM2_PARTITIONS"] == "8"
    assert found["SYSTEM2_NAMESPACE"] == "noodles"
    assert "SYSTEM2_LOG_LEVEL" not in found
    assert "OTHER" not in found


def test_the_example_file_names_every_setting_and_no_other() -> None:
    example = Path(__file__).parents[2] / ".env.example"
    named = {line.lstrip("# ").partition("=")[0] for line in example.read_text().splitlines()}
    assert {name for name in named if name.startswith("SYSTEM2_")} == set(known_names())
