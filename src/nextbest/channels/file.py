"""A folder: one file a delivery, for whoever collects files."""

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from nextbest.channels.base import Delivery, Undelivered


class Folder:
    """Writes <key>.json, whole or not at all. Raises nothing before the first delivery: the folder may come later."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def deliver(self, delivery: Delivery) -> None:
        """Write the file; one that is there already is written anew, to the same end. Raises Undelivered."""
        name = re.sub(r"[^\w.-]", "_", delivery.key)
        scratch = self.folder / f".{name}-{secrets.token_hex(4)}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with scratch.open("wb") as file:
                file.write(delivery.body)
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(self.folder / f"{name}.json")
            folder = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(folder)  # so that the name, too, outlives a loss of power
            finally:
                os.close(folder)
        except OSError as error:
            with suppress(OSError):
                scratch.unlink(missing_ok=True)
            raise Undelivered(f"the folder cannot be written ({error.strerror})", again=True, busy=True) from None
