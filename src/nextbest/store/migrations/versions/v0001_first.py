"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The first tables."""
    op.create_table(
        "consent",
        sa.Column("consent_id", sa.Integer(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=True),
        sa.Column("granted", sa.Boolean(create_constraint=True, name="granted_is_boolean"), nullable=False),
        sa.Column("happened", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("recorded", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("consent_id"),
    )
    op.create_index("consent_customer", "consent", ["customer"], unique=False)
    op.create_table(
        "decision",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("place", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("offer", sa.Text(), nullable=True),
        sa.Column("send_at", sa.BigInteger(), nullable=True),
        sa.Column("held_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "place"),
        sqlite_with_rowid=False,
    )
    op.create_index("decision_customer", "decision", ["customer"], unique=False)
    op.create_table(
        "entry",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("run_id", sa.String(length=32), nullable=True),
        sa.Column("header", sa.Text(), nullable=False),
        sa.Column("records", sa.Integer(), nullable=False),
        sa.Column("digests", sa.LargeBinary(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("hash"),
    )
    op.create_index(op.f("ix_entry_run_id"), "entry", ["run_id"], unique=False)
    op.create_table(
        "erased",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("happened", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_table(
        "note",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "offered",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("offer", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("attribution", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "offer"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "outcome",
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("event", sa.String(length=20), nullable=False),
        sa.Column("happened", sa.BigInteger(), nullable=False),
        sa.Column("attributed", sa.Boolean(create_constraint=True, name="attributed_is_boolean"), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_index("outcome_customer", "outcome", ["customer"], unique=False)
    op.create_index("outcome_decision", "outcome", ["run_id", "place"], unique=False)
    op.create_table(
        "playbook",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("archive", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sha256"),
    )
    op.create_table(
        "run",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("last_send_at", sa.BigInteger(), nullable=True),
        sa.Column("recorded", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("run_id"),
    )
    op.create_table(
        "suppression",
        sa.Column("suppression_id", sa.Integer(), nullable=False),
        sa.Column("customer", sa.Text(), nullable=False),
        sa.Column("scope", sa.String(length=20), nullable=False),
        sa.Column("what", sa.Text(), nullable=True),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("happened", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("recorded", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("suppression_id"),
    )
    op.create_index("suppression_customer", "suppression", ["customer"], unique=False)
