"""API keys: who may use a server, in which role, for which playbooks. A key is shown once; its hash is kept."""

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select, update

from nextbest.errors import Problem, UsageError
from nextbest.store.tables import api_key
from nextbest.store.workspace import Workspace, now

ROLES = ("viewer", "operator", "approver", "admin")
"""Each may do what those before it may: look; decide and note what customers say; approve playbooks; erase customers."""

PREFIX = "nb_"


@dataclass(frozen=True)
class Key:
    """Who holds a key, and what it opens. `playbooks`: names, or `*` for all."""

    key_id: str
    name: str
    role: str
    playbooks: tuple[str, ...]
    created: int = 0
    revoked: int | None = None

    def may(self, role: str, playbook: str | None = None) -> bool:
        """Whether the key opens what needs this role, and this playbook."""
        scoped = playbook is None or "*" in self.playbooks or playbook in self.playbooks
        return scoped and ROLES.index(self.role) >= ROLES.index(role)


def create_key(name: str, role: str, *, workspace: str | Path, playbooks: Sequence[str] = ("*",)) -> str:
    """Make a key and return it: the only time that it is seen. Raises UsageError for an unknown role, StoreError."""
    if role not in ROLES:
        raise UsageError([Problem(f"role {role}", "unknown", f"one of {', '.join(ROLES)}")])
    if not name.strip() or not playbooks:
        raise UsageError([Problem("key", "needs a name and a playbook", "say who will use it, and for what")])
    key = PREFIX + secrets.token_urlsafe(32)
    with Workspace(workspace) as store, store.writing() as connection:
        values = {
            "key_id": secrets.token_hex(4), "digest": digest(key), "name": name.strip(), "role": role,
            "playbooks": json.dumps(list(playbooks)), "created": now(connection),
        }  # fmt: skip
        connection.execute(api_key.insert().values(values))
    return key


def revoke_key(key_id: str, *, workspace: str | Path) -> None:
    """End a key. Raises UsageError for an unknown one, StoreError."""
    with Workspace(workspace, create=False) as store, store.writing() as connection:
        changed = connection.execute(update(api_key).where(api_key.c.key_id == key_id).values(revoked=now(connection)))
        if changed.rowcount == 0:
            raise UsageError([Problem(f"key {key_id}", "unknown", "nextbest key list")])


def list_keys(*, workspace: str | Path) -> list[Key]:
    """All keys, ended ones among them."""
    with Workspace(workspace, create=False) as store:
        return list(known_keys(store).values())


def known_keys(store: Workspace) -> dict[str, Key]:
    """Digest → key."""
    with store.reading() as connection:
        rows = connection.execute(select(api_key).order_by(api_key.c.created, api_key.c.key_id)).all()
    return {row.digest: Key(row.key_id, row.name, row.role, tuple(json.loads(row.playbooks)), row.created, row.revoked) for row in rows}


def digest(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode()).hexdigest()
