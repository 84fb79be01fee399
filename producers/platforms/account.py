"""One account at one platform, as the chain's data name it, and the settings all adapters share."""

from collections.abc import Mapping
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, SecretStr, field_validator


class PlatformAccount(BaseModel):
    """`timezones` holds those of stores, by the account's store code, that are not `timezone`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    platform: str
    account: str
    base_url: str
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    credentials: Mapping[str, SecretStr] = {}
    options: Mapping[str, Any] = {}
    timezone: str = "UTC"
    timezones: Mapping[str, str] = {}

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        AnyHttpUrl(value)
        return value.rstrip("/")

    def zone(self, store_code: str) -> ZoneInfo:
        return ZoneInfo(self.timezones.get(store_code, self.timezone))

    def secret(self, name: str) -> str:
        """The credential of this name. Raises ValueError when the account has none."""
        if name not in self.credentials:
            raise ValueError(f"account {self.account} on {self.platform} lacks credential {name}")
        return self.credentials[name].get_secret_value()


class CallOptions(BaseModel):
    """How an account may be called; every adapter's own options come on top of these."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    timeout_seconds: Annotated[float, Field(gt=0)] = 10.0
    requests_per_second: Annotated[float, Field(gt=0)] = 50.0
    longest_answer_bytes: Annotated[int, Field(gt=0)] = 1 << 20
    pause_seconds: Annotated[float, Field(ge=0)] = 1.0
    longest_pause_seconds: Annotated[float, Field(gt=0)] = 600.0
    parallel_reads: Annotated[int, Field(ge=1)] = 8
