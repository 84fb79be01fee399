"""Every setting, from SYSTEM2_* variables, `.env`, or the local stack of this checkout.

A variable that no setting knows is an error that names the nearest one: a misspelt setting must
not silently become a default.
"""

import difflib
import os
from collections.abc import Iterable, Mapping
from typing import Literal

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ops.stack import home, local

PREFIX = "SYSTEM2_"
ENV_FILE = ".env"
BAD_CONFIGURATION = 78

# Variables that are no settings: the crash switch, tracebacks, and servers for tests.
SWITCHES = frozenset(
    {
        "SYSTEM2_CRASH_AT",
        "SYSTEM2_CRASH_LOG",
        "SYSTEM2_DEBUG",
        "SYSTEM2_TEST_AMQP_URL",
        "SYSTEM2_TEST_DATABASE_URL",
        "SYSTEM2_TEST_MANAGEMENT_URL",
    }
)
# Variables that examples/chain.toml reads.
CHAIN_VARIABLES = frozenset(
    {"SYSTEM2_MEITUAN_URL", "SYSTEM2_OPENDELIVERY_URL", "SYSTEM2_TILLS_URL"}
)


class BadConfiguration(Exception):
    """A setting is missing, misspelt or has a value it cannot have."""

    exit_code = BAD_CONFIGURATION


class Settings(BaseSettings):
    """What an operator can set. Secrets print as stars."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    database_url: SecretStr = Field(description="PostgreSQL, postgresql://user:password@host/name")
    amqp_url: SecretStr = Field(description="RabbitMQ, amqp://user:password@host/vhost")
    management_url: SecretStr | None = Field(
        default=None, description="RabbitMQ's management, http://user:password@host:15672"
    )
    namespace: str = Field(
        default="system2",
        pattern=r"^[a-z][a-z0-9_-]{0,31}$",
        description="first word of every exchange and queue: systems can share a broker",
    )
    partitions: int = Field(
        default=1, ge=1, le=1024, description="how many pairs of queues the dispatchers share"
    )
    http_host: str = Field(default="127.0.0.1", description="where the HTTP ingress listens")
    http_port: int = Field(default=7100, ge=0, le=65535)
    public_url: str = Field(
        default="http://127.0.0.1:7100",
        description="how platforms and tills reach the HTTP ingress",
    )
    metrics_host: str = Field(default="127.0.0.1", description="where /metrics and /readyz listen")
    metrics_port: int = Field(
        default=0, ge=0, le=65535, description="0: a free one, named in the log at start"
    )
    deadline_scale: float = Field(
        default=1.0, gt=0, le=10, description="multiplies every time limit of the workflows"
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` passes: where a value comes from is decided in one place."""
        return (init_settings,)


def known_names() -> list[str]:
    """The variables of all settings."""
    return sorted(PREFIX + name.upper() for name in Settings.model_fields)


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings, or BadConfiguration with one sentence that names what is wrong.

    The environment wins over `.env`, and that over the local stack.
    """
    variables = environment() if environ is None else dict(environ)
    _refuse_unknown(variables)
    values = {
        name: variables[PREFIX + name.upper()]
        for name in Settings.model_fields
        if PREFIX + name.upper() in variables
    }
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise BadConfiguration(_sentence(error)) from None


def given() -> dict[str, str]:
    """The SYSTEM2_* variables of the process and of `.env`, unless they are empty."""
    variables = dotenv_values(ENV_FILE) | os.environ
    return {n: v for n, v in variables.items() if v and n.startswith(PREFIX)}


def environment() -> dict[str, str]:
    """What is given, with the local stack's addresses where none are."""
    variables = given()
    stack = local.endpoints(home.checkout(), variables)
    return (stack.environment() if stack else {}) | variables


def _refuse_unknown(names: Iterable[str]) -> None:
    known = known_names()
    for name in sorted(names):
        if name.startswith(PREFIX) and name not in {*known, *SWITCHES, *CHAIN_VARIABLES}:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise BadConfiguration(f"{name} is no setting; did you mean {near}?")


def _sentence(error: ValidationError) -> str:
    """Values are left out: the one that is wrong may be a password."""
    faults = []
    for fault in error.errors(include_input=False):
        name = PREFIX + str(fault["loc"][0]).upper()
        if fault["type"] == "missing":
            faults.append(f"{name} is not set (`system2 up` starts a server for it)")
        else:
            faults.append(f"{name}: {fault['msg']}")
    return "; ".join(faults)
