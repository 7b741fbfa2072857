"""A file made for one request: streamed, and gone from the disk as soon as it is open."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi.responses import StreamingResponse

_CHUNK = 1 << 18
KINDS = {
    ".csv": "text/csv; charset=utf-8",
    ".parquet": "application/vnd.apache.parquet",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


def said_of(*kinds: str) -> dict[str, Any]:
    """For the documentation of a route: what it answers with."""
    return {"response_class": StreamingResponse, "responses": {200: {"content": {KINDS.get(kind, kind): {} for kind in kinds}}}}


def sent(path: Path, name: str) -> StreamingResponse:
    """The file under the name that the browser shall give it.

    Not FileResponse: a server that sends files itself (granian does) looks for it after the request's end, when it is gone.
    """
    size, file = path.stat().st_size, path.open("rb")
    path.unlink()

    def chunks() -> Iterator[bytes]:
        with file:
            while chunk := file.read(_CHUNK):
                yield chunk

    headers = {"content-disposition": f'attachment; filename="{name}"', "content-length": str(size)}
    return StreamingResponse(chunks(), media_type=KINDS[path.suffix], headers=headers)
