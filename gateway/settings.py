"""How does this process find its stores, its keys and its limits? From `GATEWAY_*` in the environment."""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from gateway.model.errors import InvalidConfiguration


class Settings(BaseSettings):
    """Empty `database_url` or `redis_url` = the embedded server in `data_dir`."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", frozen=True)

    database_url: str = ""
    redis_url: str = ""
    data_dir: Path = Path(".gateway")
    secret_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    allow_private_targets: bool = False
    max_body: int = Field(default=1024 * 1024, ge=1024, le=64 * 1024 * 1024)
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    action_budget: int = Field(
        default=30, ge=1, description="actions per ticket and hour before the rest is parked"
    )
    reconcile_minutes: int = Field(
        default=15,
        ge=0,
        le=1440,
        description="how often each vendor is asked for tickets whose webhook never came; 0 = never",
    )
    reconcile_lookback_minutes: int = Field(
        default=60, ge=5, le=7 * 1440, description="how far each look reaches back beyond the one before"
    )
    reclaim_seconds: float = Field(
        default=30,
        ge=1,
        description="how long a call of a worker that died may still be on its way to the vendor",
    )
    """After a restart of PostgreSQL three times as long: see `actions.reclaim`. Only tests want it shorter."""

    @field_validator("secret_keys", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            tuple(key.strip() for key in value.split(",") if key.strip()) if isinstance(value, str) else value
        )

    @property
    def embedded(self) -> bool:
        return not (self.database_url and self.redis_url)


def read_settings() -> Settings:
    """Raises InvalidConfiguration naming each wrong variable."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = "; ".join(
            f"GATEWAY_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()
        )
        raise InvalidConfiguration(f"environment: {wrong}") from None


@lru_cache(maxsize=1)
def settings() -> Settings:
    return read_settings()
