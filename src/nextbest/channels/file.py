"""A folder: one file a delivery, for whoever collects files."""

import os
import re
import tempfile
from pathlib import Path

from nextbest.channels.base import Delivery, Undelivered


class Folder:
    """Writes <key>.json, whole or not at all. Raises nothing before the first delivery: the folder may come later."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def deliver(self, delivery: Delivery) -> None:
        """Write the file; one that is there already is written anew, to the same end. Raises Undelivered."""
        name = re.sub(r"[^\w.-]", "_", delivery.key)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, scratch = tempfile.mkstemp(prefix=".", dir=self.folder)
            with os.fdopen(handle, "wb") as file:
                file.write(delivery.body)
                file.flush()
                os.fsync(handle)
            Path(scratch).replace(self.folder / f"{name}.json")
        except OSError as error:
            raise Undelivered(f"the folder cannot be written ({error.strerror})", again=True) from None
