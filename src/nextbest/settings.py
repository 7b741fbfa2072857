"""What the machine allows. Set by environment: NEXTBEST_MEMORY_LIMIT=2GB, NEXTBEST_THREADS=4."""

import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ByteSize, DirectoryPath, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from nextbest.errors import Problem, UsageError


def _written_to(folder: Path) -> Path:
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ValueError(f"it cannot be written to: {error.strerror}") from None
    return folder


class Settings(BaseSettings):
    """Limits of the embedded engine. Past the memory limit it spills to the temporary folder. Raises UsageError."""

    model_config = SettingsConfigDict(env_prefix="NEXTBEST_", env_ignore_empty=True)

    memory_limit: ByteSize | None = Field(
        None, ge=1_000_000, description="by default 5GB, and no more than five eighths of what the machine has"
    )
    threads: int | None = Field(None, ge=1, le=1024)
    temp_folder: Annotated[DirectoryPath, AfterValidator(_written_to)] | None = None

    def __init__(self, **values: Any):
        try:
            super().__init__(**values)
        except ValidationError as error:
            found = [(str(item["loc"][0]), item["msg"]) for item in error.errors(include_input=False)]
            raise UsageError(
                [Problem(f"NEXTBEST_{name.upper()}", what, "mend it (e.g. 4GB of memory, 2 threads), or unset it") for name, what in found]
            ) from None


class ServerSettings(BaseSettings):
    """What a server is told, by its command or by environment: NEXTBEST_SERVER_WORKSPACE=…"""

    model_config = SettingsConfigDict(env_prefix="NEXTBEST_SERVER_")

    workspace: str = "workspace"
    folder: str | None = Field(None, description="for tables and runs; by default in the workspace's folder")
    playbooks: list[str] = ["bank-kz"]
    models: list[str] = Field([], description="folders that `nextbest train` wrote, for the playbooks served")
    open: bool = Field(False, description="without keys: for loopback only")
    most_bytes: int = Field(2_000_000_000, description="of one request's body")
    most_seconds: int = Field(600, description="that /process waits for its job")
    rate: str = Field("6000/minute", description="requests of one key (or address) to one worker")
    cors: list[str] = Field([], description="origins of other sites whose pages may call the API")
    lease: int = Field(60, ge=3, description="seconds after which the job of a worker that died is another's")
    attempts: int = Field(5, ge=1, description="workers that may die over a job before it has failed")
    console: bool = Field(False, description="whether to serve the console's pages too; for a server of one worker")
    deliver: list[str] = Field([], description="addresses that events go to: https://… or file:///folder")
    events: list[Literal["decision", "message"]] = Field(["decision", "message"], description="which events go to them")
    webhook_secret: SecretStr | None = Field(None, description="that webhooks are signed with: whsec_ and base64")
    plain_http: bool = Field(False, description="whether events may go to another machine unencrypted")
    https: bool = Field(False, description="that the console is reached by https, which a proxy ends: its cookie is for https alone")
    traces: str | None = Field(None, description="the OpenTelemetry collector that spans go to, e.g. http://localhost:4318")
    work: bool = Field(True, description="whether this server does jobs, besides taking them")
