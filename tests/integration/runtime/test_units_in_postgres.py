"""The unit in PostgreSQL keeps the contract of all units."""

from typing import Any

import pytest

from tests.contracts.consumers.units import UnitContract
from tests.integration.runtime.ground import in_postgres


class TestUnitsInPostgres(UnitContract):
    @pytest.fixture(autouse=True)
    def database(self, migrated_url: str) -> None:
        self.url = migrated_url

    def place(self) -> Any:
        return in_postgres(self.url)
