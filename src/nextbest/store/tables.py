"""The workspace's tables. Times are whole seconds since 1970 in UTC: exact, and the same in every database.

`entry` is the ledger. The other tables are its index: whatever stands in `decision`, `consent`, `suppression` and
`outcome` stands in an entry too, and `ledger verify` compares them.
"""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, String, Table, Text

metadata = MetaData()

entry = Table(
    "entry",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(20), nullable=False),
    Column("run_id", String(32), index=True),
    Column("header", Text, nullable=False),
    Column("records", Integer, nullable=False),
    Column("digests", LargeBinary, nullable=False),
    Column("content", LargeBinary),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
)
"""One link of the chain. `digests` holds 32 bytes per record, `content` the records themselves (Parquet)."""

run = Table(
    "run",
    metadata,
    Column("run_id", String(32), primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("lease_until", BigInteger),
    Column("last_send_at", BigInteger),
    Column("recorded", BigInteger),
)
"""A batch that contacts customers. Its rows in `decision` count while the lease runs, and for good once recorded.
`last_send_at`: no message of it goes out later."""

decision = Table(
    "decision",
    metadata,
    Column("run_id", String(32), primary_key=True),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("customer", Text, nullable=False),
    Column("offer", Text),
    Column("send_at", BigInteger),
    Column("held_by", Text),
    Index("decision_customer", "customer"),
    sqlite_with_rowid=False,
)
"""One customer's decision: a contact where `send_at` is set, else `held_by` says what held it back."""

offered = Table(
    "offered",
    metadata,
    Column("run_id", String(32), primary_key=True),
    Column("offer", Text, primary_key=True),
    Column("category", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column("attribution", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""What a run's contacts about an offer are: the same for all of them. `attribution`: seconds in which an answer counts."""

consent = Table(
    "consent",
    metadata,
    Column("consent_id", Integer, primary_key=True),
    Column("customer", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("channel", Text),
    Column("granted", Boolean(create_constraint=True, name="granted_is_boolean"), nullable=False),
    Column("happened", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("recorded", BigInteger, nullable=False),
    Index("consent_customer", "customer"),
)
"""One thing a customer said about a purpose (and a channel; null: all of them). The latest counts."""

suppression = Table(
    "suppression",
    metadata,
    Column("suppression_id", Integer, primary_key=True),
    Column("customer", Text, nullable=False),
    Column("scope", String(20), nullable=False),
    Column("what", Text),
    Column("until", BigInteger, nullable=False),
    Column("happened", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("recorded", BigInteger, nullable=False),
    Index("suppression_customer", "customer"),
)
"""A customer left in peace until an end: by all, or by one channel, category or offer."""

outcome = Table(
    "outcome",
    metadata,
    Column("event_id", Text, primary_key=True),
    Column("run_id", String(32), nullable=False),
    Column("place", Integer, nullable=False),
    Column("customer", Text, nullable=False),
    Column("event", String(20), nullable=False),
    Column("happened", BigInteger, nullable=False),
    Column("attributed", Boolean(create_constraint=True, name="attributed_is_boolean"), nullable=False),
    Index("outcome_decision", "run_id", "place"),
    Index("outcome_customer", "customer"),
)
"""What became of a contact. `attributed`: within the offer's attribution window."""

erased = Table("erased", metadata, Column("digest", String(64), primary_key=True), Column("happened", BigInteger, nullable=False))
"""Salted hashes of customers who had themselves erased: when they turn up again in the data, they are left alone."""

playbook = Table(
    "playbook",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("archive", LargeBinary, nullable=False),
)
"""Every playbook that decided something, as a zip of its files."""

note = Table("note", metadata, Column("name", String(40), primary_key=True), Column("value", Text, nullable=False))
"""The workspace's own facts: the ledger's head, the salt of `erased`, the latest time seen, the last numbers given."""

job = Table(
    "job",
    metadata,
    Column("job_id", String(32), primary_key=True),
    Column("request_key", String(200), unique=True),
    Column("playbook", Text, nullable=False),
    Column("asked", Text, nullable=False),
    Column("state", String(12), nullable=False),
    Column("stage", Text),
    Column("place", Integer, nullable=False),
    Column("stages", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("lease_until", BigInteger),
    Column("cancelling", Boolean(create_constraint=True, name="cancelling_is_boolean"), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("finished", BigInteger),
    Column("problems", Text),
    Column("result", Text),
    Index("job_state", "state", "created"),
)
"""Work asked of a server: waiting, running (while the lease runs), done, failed or cancelled. Kept until it is done."""

api_key = Table(
    "api_key",
    metadata,
    Column("key_id", String(16), primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("role", String(12), nullable=False),
    Column("playbooks", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("revoked", BigInteger),
)
"""Who may use a server. The key itself is not kept, only its SHA-256: 256 random bits need no salt and no slow hash.
`playbooks`: a JSON list of names, or `["*"]`."""

approved = Table(
    "approved",
    metadata,
    Column("playbook", String(100), primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("happened", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
)
"""The content of each playbook that a server decides with; the content itself stands in `playbook`."""

outbox = Table(
    "outbox",
    metadata,
    Column("receiver", String(16), primary_key=True),
    Column("playbook", String(100), primary_key=True),
    Column("seq", Integer, nullable=False),
    Column("place", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("next_at", BigInteger, nullable=False),
    Column("lease_until", BigInteger),
    Column("problem", Text),
)
"""How far each receiver of events is in the ledger: the entry and the place in it that come next.
`attempt`: how often it took nothing since; `next_at`: when to try again."""

undelivered = Table(
    "undelivered",
    metadata,
    Column("receiver", String(16), primary_key=True),
    Column("playbook", String(100), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("event", String(12), primary_key=True),
    Column("problem", Text, nullable=False),
    Column("happened", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("next_at", BigInteger, nullable=False),
    Column("again", Boolean(create_constraint=True, name="again_is_boolean"), nullable=False),
)
"""Events that a receiver did not take while it took others, set aside so that those after them go on. `again`: to be tried again.
They hold nothing of the customer: the record is in the ledger, until it is erased there."""
