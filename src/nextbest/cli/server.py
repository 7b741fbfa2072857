"""Commands of a server: serve, and the keys to it."""

import json
import os
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from nextbest.cli.shared import Needed, out, told
from nextbest.errors import Problem, UsageError

_PATIENCE = 60
"""Seconds that a worker has for an orderly end; one that is told to end while it starts does not hear it."""
key_app = typer.Typer(help="Who may use a server.", no_args_is_help=True)


def serve(
    playbook: Annotated[list[str] | None, typer.Option("--playbook", "-p", help="to serve; may be repeated [default: bank-kz]")] = None,
    workspace: Needed = "workspace",
    model: Annotated[list[Path] | None, typer.Option(help="a folder that `train` wrote, of a playbook served; may be repeated")] = None,
    folder: Annotated[Path | None, typer.Option(help="for tables and runs [default: in the workspace's folder]")] = None,
    host: Annotated[str, typer.Option(help="address to listen on; only this machine reaches the default")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="processes that answer requests")] = 1,
    no_keys: Annotated[bool, typer.Option("--no-keys", help="let anyone on this machine in, as admin: loopback only")] = False,
    deliver: Annotated[
        list[str] | None, typer.Option(help="where decisions and messages go: https://… or file:///folder; repeatable")
    ] = None,
    console: Annotated[bool | None, typer.Option(help="serve the pages too [default: where they are installed, with one worker]")] = None,
    cors: Annotated[list[str] | None, typer.Option(help="origin of another site whose pages may call the API; may be repeated")] = None,
) -> None:
    """Serve the HTTP API (docs at /docs). Ctrl-C ends it: requests at work are finished, a job is given back."""
    with told():
        try:
            from granian import Granian
            from granian.constants import Interfaces
            from granian.log import LogLevels

            from nextbest.channels import opened
            from nextbest.playbook.load import find, load
            from nextbest.services.model_files import by_playbook
            from nextbest.settings import ServerSettings
            from nextbest.web.api.access import on_loopback
        except ModuleNotFoundError as error:
            raise UsageError([Problem("serve", f"needs {error.name}", "pip install 'nextbest[server]'")]) from None
        if no_keys and not on_loopback(host):
            raise UsageError([Problem(f"--no-keys on {host}", "would let anyone in from outside", "make keys, or listen on 127.0.0.1")])
        pages = _console(console, workers)
        _is_free(host, port)
        names = playbook or ["bank-kz"]
        by_playbook(model or [], [load(find(name)).model.business.name for name in names])  # said here, and not by every worker
        told_to = {
            "WORKSPACE": workspace, "FOLDER": str(folder) if folder else None, "PLAYBOOKS": json.dumps(names),
            "MODELS": json.dumps([str(path) for path in model]) if model else None, "OPEN": "true" if no_keys else "false",
            "CORS": json.dumps(cors) if cors else None, "CONSOLE": "true" if pages else "false",
            "DELIVER": json.dumps(deliver) if deliver else None,
        }  # fmt: skip
        os.environ |= {f"NEXTBEST_SERVER_{name}": value for name, value in told_to.items() if value is not None}
        settings = ServerSettings()
        secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret else None
        for address in settings.deliver:
            opened(address, secret, settings.plain_http)  # said here, where it can be read, and not by every worker
        there = f"http://{host}:{port}"
        out.print(f"Serving {', '.join(names)} on {there} (docs: {there}/docs)", highlight=False)
        out.print(f"Console: {there}/console/" if pages else "Without the console.", highlight=False)
        Granian(
            "nextbest.web.api.app:served", address=host, port=port, interface=Interfaces.ASGI, workers=workers, factory=True,
            log_level=LogLevels.warning, respawn_failed_workers=True, workers_kill_timeout=_PATIENCE,
        ).serve()  # fmt: skip


def _console(wanted: bool | None, workers: int) -> bool:
    """Whether to serve the pages. Raises UsageError where they are asked for and cannot be."""
    there = find_spec("nicegui") is not None and find_spec("babel") is not None
    if wanted and not there:
        raise UsageError([Problem("--console", "is not installed", "pip install 'nextbest[console]'")])
    if wanted and workers > 1:
        fix = "serve the console with --workers 1, and the API beside it on another port, over the same workspace"
        raise UsageError([Problem("--console", "keeps its pages in one process", fix)])
    return there and workers == 1 if wanted is None else wanted


def _is_free(host: str, port: int) -> None:
    """Raises UsageError where something listens already: two servers on one port would each get some of the requests."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UsageError([Problem(f"{host}:{port}", f"cannot be listened on: {error.strerror}", "name another --port")]) from None


@key_app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="who will use it")],
    workspace: Needed,
    role: Annotated[str, typer.Option(help="viewer, operator, approver or admin")] = "viewer",
    playbook: Annotated[list[str] | None, typer.Option("--playbook", "-p", help="that it opens; may be repeated [default: all]")] = None,
) -> None:
    """Make a key. It is shown this once; the workspace keeps its hash."""
    from nextbest.services.keys import create_key

    with told():
        out.print(create_key(name, role, workspace=workspace, playbooks=playbook or ["*"]), highlight=False, soft_wrap=True)


@key_app.command("list")
def listed(workspace: Needed) -> None:
    """The keys, ended ones among them."""
    from nextbest.services.keys import list_keys

    with told():
        for key in list_keys(workspace=workspace):
            ended = " (ended)" if key.revoked is not None else ""
            out.print(f"{key.key_id}  {key.role:<9} {', '.join(key.playbooks)}  {key.name}{ended}", highlight=False, markup=False)


@key_app.command("revoke")
def revoke(key_id: str, workspace: Needed) -> None:
    """End a key: within a second on every worker."""
    from nextbest.services.keys import revoke_key

    with told():
        revoke_key(key_id, workspace=workspace)
        out.print(f"Ended {key_id}.", highlight=False)
