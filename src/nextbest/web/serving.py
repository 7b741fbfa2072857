"""What one worker of a server has at hand: playbooks in force, replies of the runs in force, who has opted out since."""

import hashlib
import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from nextbest.channels import opened
from nextbest.errors import NextbestError, Problem, StoreError, UsageError
from nextbest.playbook.bind import Bound, bound
from nextbest.playbook.load import Loaded, find, load
from nextbest.playbook.model import Offer
from nextbest.services import jobs
from nextbest.services.explain import Explanation, explain
from nextbest.services.hosting import Host, usual_of
from nextbest.services.keys import Key, known_keys
from nextbest.services.left_out import LeftOut
from nextbest.services.memory import WITHDRAWN
from nextbest.services.model_files import by_playbook
from nextbest.services.moment import moment_of
from nextbest.services.online import Online, Rows
from nextbest.services.outgoing import Receiver, hand_over, subscribe, waiting
from nextbest.services.past import in_force
from nextbest.services.replybook import Replybook
from nextbest.settings import ServerSettings
from nextbest.store import tables
from nextbest.store.workspace import Workspace, known_salt

LOOK_SECONDS = 1.0
_KEPT_DAYS = 2
log = logging.getLogger("nextbest.server")


@dataclass(frozen=True)
class Said:
    """What customers said, as of the last look: who refuses which purpose, who is left in peace from what, who was erased."""

    refused: dict[str, frozenset[str]] = field(default_factory=dict)
    suppressed: dict[str, frozenset[tuple[str, str | None]]] = field(default_factory=dict)
    erased: frozenset[str] = frozenset()
    salt: str = ""

    def gone(self, customer: str) -> str | None:
        """`erased` or `profiling` where nothing may be said of the customer any more."""
        if self.erased and hashlib.sha256(f"{self.salt}:{customer}".encode()).hexdigest() in self.erased:
            return "erased"
        return "profiling" if "profiling" in self.refused.get(customer, ()) else None

    def held_back(self, customer: str, offer: Offer | None, channel: str) -> bool:
        """Whether no message of the offer may go out. Of an offer that is not known any more, whatever was refused counts."""
        refused = self.refused.get(customer, frozenset())
        rests = self.suppressed.get(customer, frozenset())
        if offer is None:
            return bool(refused or rests)
        about = {("all", None), ("channel", channel), ("category", offer.category), ("offer", offer.id)}
        return offer.purpose in refused or bool(rests & about)

    def anything(self, customer: str) -> bool:
        """Whether there is anything to heed: the quick look."""
        return bool(self.erased) or customer in self.refused or customer in self.suppressed

    def objecting(self) -> frozenset[str]:
        """Customers about whom nothing may be given out, besides those erased."""
        return frozenset(customer for customer, purposes in self.refused.items() if "profiling" in purposes)

    def silenced(self) -> frozenset[str]:
        """Customers who refuse or rest from anything: no text for them goes out in a file, whatever it is about."""
        return frozenset(self.refused) | frozenset(self.suppressed)


@dataclass
class Desk:
    """One playbook as one worker serves it."""

    host: Host
    loaded: Loaded
    said: Said = field(default_factory=Said)
    run: Path | None = None
    made: int | None = None
    models: list[tuple[int, int]] | None = None
    replies: Replybook | None = None
    online: "OrderedDict[date, Online]" = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def look(self) -> None:
        """Take over what changed: an approved playbook, a new run, what customers said. Requests at work keep what they have."""
        self.said = self._heard()  # before all that may fail: a refusal holds whatever else is amiss
        approved = self.host.approved_hash()
        run = self.host.current
        made = (run / "replies.db").stat().st_ino if run is not None else None
        if approved is not None and approved != self.loaded.hash:
            self.loaded = self.host.in_force()
            self._forget_online()
        if (run, made) != (self.run, self.made):  # another run, or the same without somebody who was erased
            self.replies = Replybook(run) if run is not None else None
            self.run, self.made = run, made
            self._forget_online()
        if (models := self.host.models_made()) is not None and models != self.models:
            try:
                self.host.check_models(self.loaded)
                self._forget_online()
            except NextbestError:  # its playbook may be approved next; engines at work go on with the model that they have
                log.warning("a model does not fit the playbook in force", extra={"what": self.host.name})
            self.models = models

    def _forget_online(self) -> None:
        with self.lock:
            self.online = OrderedDict()  # an engine goes when the last request lets go of it

    def _heard(self) -> Said:
        channel, at = self.loaded.model.business.channel, int(time.time())
        s = tables.suppression.c
        with self.host.workspace.reading() as connection:
            last = connection.execute(select(func.max(tables.consent.c.consent_id))).scalar() or 0
            refused: dict[str, set[str]] = {}
            for customer, purpose, granted in connection.execute(in_force(channel, at, last)):
                if not granted:
                    refused.setdefault(customer, set()).add(purpose)
            suppressed: dict[str, set[tuple[str, str | None]]] = {}
            for customer, scope, what in connection.execute(select(s.customer, s.scope, s.what).where(s.until > at)):
                suppressed.setdefault(customer, set()).add((scope, what))
            erased = connection.execute(select(tables.erased.c.digest)).scalars()
            return Said(
                {name: frozenset(what) for name, what in refused.items()},
                {name: frozenset(what) for name, what in suppressed.items()},
                frozenset(erased),
                known_salt(connection),
            )

    def stored(self, customer: str) -> bytes:
        """The reply about a customer of the run in force. Raises UsageError for one who is not in it."""
        reply = self.replies.get(customer) if self.replies else None
        if reply is None:
            what = "is not among the customers decided for" if self.replies else "nothing was decided yet"
            raise UsageError([Problem("customer", what, "check the code, or hand in the tables and start a job")])
        return self.heeded(customer, reply) if self.said.anything(customer) else reply

    def heeded(self, customer: str, reply: bytes) -> bytes:
        """The reply without what the customer has forbidden since it was made."""
        said: dict[str, Any] = json.loads(reply)
        message, gone = said["message"], self.said.gone(customer)
        if gone is not None:
            said = {**said, "left_alone": gone, "segments": [], "gaps": [], "offers": [], "message": None}
        elif message is not None and self.held_back(customer, message["offer"]):
            said["message"] = {**message, "text": None, "facts": None, "send_at": None, "withheld": WITHDRAWN}
        return json.dumps(said, ensure_ascii=False).encode()

    def explained(self, customer: str, language: str | None = None) -> Explanation:
        """Why and why not, in the run in force, without what the customer has forbidden since. Raises UsageError."""
        message = json.loads(self.stored(customer))["message"]
        said = explain(self.host.run().folder, customer, language)
        if message is not None and message["withheld"] == WITHDRAWN:
            said = replace(said, message=None, facts=[], treatment=None, send_at=None, refused_by={}, withheld=WITHDRAWN)
        return said

    def left_out(self, table: str) -> LeftOut:
        """Whom an export of the table must not hold: those erased or objecting, and where it holds texts those who refuse them."""
        said = self.said
        return LeftOut(said.silenced() if table in ("recommendations", "messages") else said.objecting(), said.erased, said.salt)

    def held_back(self, customer: str, offer: str) -> bool:
        """Whether the customer has forbidden a message of the offer."""
        model = self.loaded.model
        return self.said.held_back(customer, model.offers.get(offer), model.business.channel)

    def may_go_out(self, customer: str, offer: str | None) -> bool:
        """Whether an event about the customer may go out now: none of one who must not be spoken of, no message that was refused."""
        return self.said.gone(customer) is None and (offer is None or not self.held_back(customer, offer))

    def decide(self, rows: Rows, as_of: date, at: str | None, record: bool) -> dict[str, Any]:
        """A fresh decision for posted rows. Raises DataError, PlaybookError, StoreError, UsageError."""
        online = self._online(as_of)
        return online.decide(rows, moment=moment_of(at, online.book), record=record)

    def _online(self, as_of: date) -> Online:
        with self.lock:
            known = self.online.get(as_of)
            if known is None:
                usual = usual_of(self.host.run()) if self.run else None
                book = bound(self.loaded, as_of)
                try:
                    known = self.online[as_of] = Online(book, usual, self.host.workspace, self.host.models)
                except UsageError as error:  # a model that is away or does not fit yet: nothing that the caller can mend
                    raise StoreError(error.problems) from None
                while len(self.online) > _KEPT_DAYS:
                    self.online.popitem(last=False)
            else:
                self.online.move_to_end(as_of)
            return known

    def book(self) -> Bound:
        """The playbook bound for the day of the run in force, or today."""
        day = date.fromisoformat(self.host.run().record["as_of"]) if self.run else datetime.now(UTC).date()
        return bound(self.loaded, day)


class Serving:
    """All that a worker serves. Beside the requests, a thread looks for changes, one does jobs, and one for each receiver hands over."""

    def __init__(self, settings: ServerSettings, every_second: Callable[[], None] = lambda: None):
        self.settings, self.every_second = settings, every_second
        self.workspace = Workspace(settings.workspace)
        root = Path(settings.folder or (settings.workspace if "://" not in settings.workspace else "nextbest-server")) / "server"
        self.desks: dict[str, Desk] = {}
        sources = {load(source).model.business.name: source for source in map(find, settings.playbooks)}
        models = by_playbook(settings.models, sources)
        for name, source in sources.items():
            host = Host(name, source, root / name, self.workspace, tuple(models[name]))
            self.desks[name] = Desk(host, host.in_force())
        self.receivers = self._receivers()
        self.keys: dict[str, Key] = {}
        self.stopping = threading.Event()
        self.ready = False
        self._threads: list[threading.Thread] = []

    def _receivers(self) -> list[Receiver]:
        """Whom events go to: every address, of every playbook. Raises UsageError with what is wrong with an address."""
        settings = self.settings
        secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret else None
        channels = [(address, opened(address, secret, settings.plain_http)) for address in dict.fromkeys(settings.deliver)]
        return [
            Receiver(address, channel, name, tuple(settings.events), desk.may_go_out)
            for address, channel in channels
            for name, desk in self.desks.items()
        ]

    @property
    def first(self) -> Desk:
        """The playbook named first."""
        return next(iter(self.desks.values()))

    def desk(self, playbook: str) -> Desk:
        """One playbook's desk. Raises UsageError for one that is not served."""
        if playbook not in self.desks:
            raise UsageError([Problem(f"playbook {playbook[:40]}", "is not served here", f"one of {', '.join(self.desks)}")])
        return self.desks[playbook]

    def look(self) -> None:
        """Take over whatever changed."""
        self.keys = known_keys(self.workspace)
        failed: list[NextbestError] = []
        for desk in self.desks.values():
            try:
                desk.look()
            except NextbestError as error:  # what is amiss with one is no matter of the others
                failed.append(error)
        self.ready = not failed
        if failed:
            raise failed[0]

    def start(self) -> None:
        """Begin to look for changes and to do jobs."""
        self.look()
        self._begin("looking", self._looking)
        if self.settings.work:
            self._begin("working", self._working)
            for receiver in self.receivers:
                subscribe(self.workspace, receiver)
                self._begin("handing over", partial(self._handing_over, receiver))

    def _begin(self, name: str, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name=f"nextbest {name}", daemon=True)
        thread.start()
        self._threads.append(thread)

    def stop(self) -> None:
        """Stop: a job at work is given back at its next stage."""
        self.stopping.set()
        for thread in self._threads:
            thread.join(timeout=30)
        self.every_second()
        self.workspace.engine.dispose()

    def _looking(self) -> None:
        while not self.stopping.wait(LOOK_SECONDS):
            try:
                self.every_second()
                self.look()
            except Exception as error:  # whatever it is, the next look may be better
                self.ready = False
                log.warning("cannot look for changes", extra={"what": type(error).__name__})

    def _working(self) -> None:
        while not self.stopping.wait(LOOK_SECONDS / 2):
            try:
                job = jobs.claim(self.workspace, self.desks, self.settings.lease, self.settings.attempts)
                if job is not None:
                    self.desks[job.playbook].host.work(job, self.stopping, self.settings.lease)
            except Exception as error:  # whatever it was, the next job has its turn
                log.error("a job failed", extra={"what": type(error).__name__}, exc_info=not isinstance(error, NextbestError))

    def _handing_over(self, receiver: Receiver) -> None:
        while not self.stopping.wait(LOOK_SECONDS):
            try:
                if waiting(self.workspace, receiver):
                    hand_over(self.workspace, receiver, self.stopping.is_set, self.settings.lease)
            except Exception as error:  # whatever it was, the cursor is where it was
                log.error(
                    "events were not handed over", extra={"what": type(error).__name__}, exc_info=not isinstance(error, NextbestError)
                )
