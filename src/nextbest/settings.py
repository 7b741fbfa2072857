"""What the machine allows. Set by environment: NEXTBEST_MEMORY_LIMIT=2GB, NEXTBEST_THREADS=4."""

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Limits of the embedded engine. Past the memory limit it spills to the temporary folder."""

    model_config = SettingsConfigDict(env_prefix="NEXTBEST_")

    memory_limit: str = "4GB"
    threads: int | None = None
    temp_folder: str | None = None
