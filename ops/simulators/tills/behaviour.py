"""How each store's till behaves: a default for the fleet, and what was asked for single stores."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Mode = Literal[
    "accept",
    "accept_now",
    "refuse",
    "refuse_later",
    "silent",
    "quiet",
    "slow",
    "down",
    "lost_answer",
]


class Behaviour(BaseModel):
    """accept: taken, then accepted and ready by callback. accept_now: accepted in the answer.
    refuse: refused in the answer; refuse_later: by callback. silent, quiet: taken, and no word
    after. slow: has the ticket, answers after `seconds`. down: 503, or hangs up. lost_answer: has
    the ticket, hangs up on the first `times` attempts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Mode = "accept"
    accept_seconds: float = Field(default=0.3, ge=0)
    cook_seconds: float = Field(default=1.0, ge=0)
    seconds: float = Field(default=2.0, ge=0)
    times: int = Field(default=1, ge=0)
    reason: str = "kitchen is closing"
    down_by: Literal["503", "hang_up"] = "503"
    refuse_by: Literal["200", "422"] = "200"
    repeat_by: Literal["same", "409"] = "same"
    cancel: Literal["until_ready", "always", "never"] = "until_ready"
    duplicate_callbacks: bool = False

    @property
    def talks(self) -> bool:
        """Whether accepted and ready follow by callback."""
        return self.mode in ("accept", "accept_now", "slow", "lost_answer")


class Behaviours:
    def __init__(self, default: Behaviour) -> None:
        self._first_default = default
        self.default = default
        self._of_store: dict[str, Behaviour] = {}

    def of(self, store_id: str) -> Behaviour:
        return self._of_store.get(store_id, self.default)

    def ask(self, store_id: str, changes: dict[str, Any]) -> Behaviour:
        """Changes one store, or with `*` the fleet; what is not named stays as the fleet has it."""
        wanted = Behaviour.model_validate({**self.default.model_dump(), **changes})
        if store_id == "*":
            self.default = wanted
            self._of_store.clear()
        else:
            self._of_store[store_id] = wanted
        return wanted

    def forget(self) -> None:
        self.default = self._first_default
        self._of_store.clear()
