"""What a channel is: something that takes a delivery, or says why not."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Delivery:
    """One event to hand over. `key` is the same whenever the same event comes again: whoever knows it has it already.

    `body` is JSON: {"type", "timestamp", "data"}.
    """

    key: str
    body: bytes


class Undelivered(Exception):
    """The delivery was not taken. `again`: whether it may be taken later; `busy`: that the delivery itself is not to blame.

    `what` holds nothing of the delivery.
    """

    def __init__(self, what: str, again: bool, busy: bool = False):
        super().__init__(what)
        self.what, self.again, self.busy = what, again, busy


class Channel(Protocol):
    """Add one by a file beside this one and a line in `opened`; tests/channels holds what every channel must do."""

    def deliver(self, delivery: Delivery) -> None:
        """Hand over, from any thread; return only when it is taken for good. The same key again is no error.

        Raises Undelivered.
        """
