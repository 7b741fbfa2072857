"""Start: tables in, what was recognised, a run with its progress, and what is odd in the data."""

import json
import tempfile
from asyncio import to_thread
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import RedirectResponse
from nicegui import events, ui

from nextbest.services import jobs
from nextbest.services.moment import day_of
from nextbest.services.results import odd_rows
from nextbest.services.synth import synth
from nextbest.web.console.frame import allowed, element, frame, plain_table, told, turned_away
from nextbest.web.console.here import Here, here_of

_LATEST = 5
_LOOK_SECONDS = 0.7
_DEMO_CUSTOMERS, _DEMO_SEED = 60, 1
_LONGEST_EXAMPLE = 300


@ui.page("/")
def home(request: Request) -> RedirectResponse:
    """To the first playbook that the key opens."""
    here = here_of(request)
    away = turned_away(here, request)
    return away or RedirectResponse(request.scope.get("root_path", "") + here.path(), 303)


@ui.page("/p/{playbook}")
async def start(request: Request, playbook: str) -> RedirectResponse | None:
    """The page. Everything on it is read anew after each act, so that it shows what is there and survives a reload."""
    here = here_of(request, playbook)
    if (away := turned_away(here, request)) is not None:
        return away
    with frame(here, here.say("start.title"), "start"):
        element("h2", here.say("start.tables"))
        tables = _Tables(here)
        element("h2", here.say("start.run"))
        runs = _Runs(here)
        tables.changed = runs.look_at_day
        await tables.show()
        await runs.show()
        ui.timer(0.1, runs.look_at_day, once=True)  # it may take a while, and the page is there meanwhile
    return None


class _Tables:
    """Files handed in and what was recognised in them."""

    changed: Any

    def __init__(self, here: Here):
        self.here = here
        if here.may("operator"):
            with element("div", classes="nb-columns"):
                with element("div"):
                    upload = ui.upload(
                        label=here.say("start.drop"), multiple=True, auto_upload=True, on_multi_upload=self.dropped,
                        max_total_size=here.serving.settings.most_bytes,
                    ).props(f'flat aria-label="{here.say("start.drop")}"')  # fmt: skip
                    self.upload = upload
                    choose = ui.button(here.say("start.browse")).props("outline no-caps")
                    choose.on("click", js_handler=f"() => getElement({upload.id}).$refs.qRef.pickFiles()")
                    self.append = ui.checkbox(here.say("start.append"))
                if (here.desk.host.source / "synthetic.yaml").is_file():
                    with element("div"):
                        ui.button(here.say("start.demo"), on_click=self.demo).props("outline no-caps")
                        element("p", here.say("start.demo.hint"), "nb-soft")
        self.place = element("div")

    async def show(self) -> None:
        """The tables as they are now."""
        here = self.here
        said = await to_thread(here.desk.host.recognised)
        self.place.clear()
        with self.place:
            rows = []
            for table in here.desk.loaded.model.business.sources:
                files = [item for item in said if item["table"] == table]
                rows += [
                    [table, item["file"], ", ".join(item["columns"]), ", ".join(item["not_used"]) or "–", _size(here, item["bytes"])]
                    for item in files[:_LATEST]
                ] or [[table, here.say("start.missing"), "–", "–", "–"]]
                if len(files) > _LATEST:
                    rows.append([table, here.say("page.more", count=here.number(len(files) - _LATEST)), "", "", ""])
            plain_table([here.say(f"start.{name}") for name in ("table", "file", "columns", "not_used", "size")], rows, numbers=[4])
            if here.may("operator") and said:
                with element("div", classes="nb-row"):
                    for table in dict.fromkeys(item["table"] for item in said):
                        text = f"{here.say('start.forget')}: {table}"
                        ui.button(text, on_click=lambda table=table: self.take_out(table)).props("flat dense no-caps")

    async def dropped(self, event: events.MultiUploadEventArguments) -> None:
        """Each file goes to the table that its name or its columns tell; several of one table stand beside each other."""
        here, seen, received = self.here, set[str](), list[str]()
        if not allowed(here, "operator"):
            return
        with tempfile.TemporaryDirectory() as folder:
            for place, file in enumerate(event.files):
                path = Path(folder) / str(place)
                await file.save(path)
                with told(here):
                    said = await to_thread(self._hand_in, None, file.name, path, bool(self.append.value), seen)
                    received.append(here.say("start.received", file=said["file"], table=said["table"]))
        self.upload.reset()
        await self._changed(*received)

    async def _changed(self, *said: str) -> None:
        """Show what is there now and propose its day, before anyone is told that they may go on."""
        await self.show()
        await self.changed()
        for text in said:
            ui.notify(text, type="positive")

    def _hand_in(self, table: str | None, name: str, path: Path, append: bool, seen: set[str]) -> dict[str, Any]:
        host, most = self.here.desk.host, self.here.serving.settings.most_bytes
        with path.open("rb") as content:
            if table is None:
                table = host.table_of(name, path)
            said = host.hand_in(table, name, content, most, append=append or table in seen)
        seen.add(table)
        return said

    async def demo(self) -> None:
        """A synthetic bank takes the place of what was there."""
        if not allowed(self.here, "operator"):
            return
        with told(self.here):
            await to_thread(self._demo)
            await self._changed(self.here.say("start.demo.done"))

    def _demo(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            bank = synth(_DEMO_CUSTOMERS, out=Path(folder) / "bank", seed=_DEMO_SEED, playbook=self.here.desk.host.source)
            for table in self.here.desk.loaded.model.business.sources:
                self._hand_in(table, f"{table}.csv", bank / f"{table}.csv", False, set())

    async def take_out(self, table: str) -> None:
        """Remove a table's files."""
        if not allowed(self.here, "operator"):
            return
        with told(self.here):
            await to_thread(self.here.desk.host.take_out, table)
            await self._changed(self.here.say("start.forgotten", table=table))


class _Runs:
    """The as-of day, the run at work, those before, and what was odd in the last one's data."""

    def __init__(self, here: Here):
        self.here, self.shown = here, list[jobs.JobState]()
        if here.may("operator"):
            with element("div", classes="nb-row"):
                self.day = ui.input(here.say("start.as_of"), value="").props("type=date outlined dense stack-label")
                self.record = ui.checkbox(here.say("start.record"))
                self.button = ui.button(here.say("start.go"), on_click=self.go).props("no-caps unelevated")
                self.button.disable()  # until the day is known
            element("p", f"{here.say('start.as_of.hint')} {here.say('start.record.hint')}", "nb-soft")
        self.place = element("div").props("aria-live=polite")
        self.odd = element("div")

    async def show(self) -> None:
        """The runs as they are now, and from now on."""
        await self.look()
        await self.show_odd()
        ui.timer(_LOOK_SECONDS, self.look, immediate=False)

    async def look_at_day(self) -> None:
        """Propose the last day of the data."""
        if not self.here.may("operator"):
            return
        self.button.disable()
        with told(self.here):
            self.day.value = (await to_thread(self.here.desk.host.last_day)).isoformat()
        await self.look(anew=True)

    async def go(self) -> None:
        """Start a run."""
        here = self.here
        if not allowed(here, "operator") or any(job.finished is None for job in self.shown):
            return  # a second click
        self.button.disable()
        with told(here):
            asked = {"as_of": day_of(self.day.value or "").isoformat(), "at": None, "record": bool(self.record.value)}
            await to_thread(jobs.submit, here.serving.workspace, here.playbook, asked)
        await self.look(anew=True)

    async def cancel(self, job: str) -> None:
        """Stop a run at its next stage."""
        if not allowed(self.here, "operator"):
            return
        with told(self.here):
            await to_thread(jobs.cancel, self.here.serving.workspace, job)
        await self.look()

    async def look(self, anew: bool = False) -> None:
        """Show the runs anew where anything has changed."""
        here = self.here
        if not here.may("viewer"):
            return
        found = await to_thread(jobs.latest, here.serving.workspace, [here.playbook], _LATEST)
        if found == self.shown and self.place.default_slot.children and not anew:
            return
        ended = [job.job_id for job in self.shown if job.finished is None]
        self.shown = found
        if here.may("operator"):
            self.button.set_enabled(bool(self.day.value) and all(job.finished is not None for job in found))
        self.place.clear()
        with self.place:
            for job in found:
                if job.finished is None:
                    self._progress(job)
            done = [job for job in found if job.finished is not None]
            if done:
                element("h3", here.say("start.jobs"))
                plain_table(
                    [here.say(f"column.{name}") for name in ("started", "as_of", "state", "customers")],
                    [[here.moment(job.created), job.asked["as_of"], self._state(job), self._customers(job)] for job in done],
                    numbers=[3],
                )
            if here.desk.host.current is not None:
                ui.link(here.say("start.to_results"), here.path("results"))
        if any(job.job_id in ended and job.finished is not None for job in found):
            await to_thread(here.desk.look)
            await self.show_odd()

    def _progress(self, job: jobs.JobState) -> None:
        here = self.here
        with element("div", classes="nb-panel"):
            share = job.place / job.stages if job.stages else 0.0
            stage = _stage(here, job.stage) if job.stage else here.say(f"state.{job.state}")
            element("p", f"{here.say('start.progress')}: {stage} ({job.place}/{job.stages or '…'})")
            ui.linear_progress(share, show_value=False).props(f'aria-label="{here.say("start.progress")}"')
            if here.may("operator"):
                ui.button(here.say("start.cancel"), on_click=lambda: self.cancel(job.job_id)).props("flat no-caps")

    def _state(self, job: jobs.JobState) -> str:
        told = "; ".join(f"{item['where']}: {item['what']}. {item.get('fix', '')}" for item in job.problems[:5])
        return self.here.say(f"state.{job.state}") + (f": {told}" if told else "")

    def _customers(self, job: jobs.JobState) -> str:
        return self.here.number(job.result["counts"]["customers"]["scored"]) if job.result else "–"

    async def show_odd(self) -> None:
        """What was odd in the data of the run in force."""
        here = self.here
        self.odd.clear()
        if here.desk.host.current is None:
            return
        found = await to_thread(odd_rows, here.desk.host.run(), here.desk.left_out("rejects"))
        with self.odd:
            element("h2", here.say("start.problems"))
            if not found:
                element("p", here.say("start.none_odd"), "nb-good")
                return
            heads = [here.say(f"start.{name}") for name in ("table", "problem", "rows", "became", "example")]
            plain_table(
                heads,
                [
                    [
                        item["table"],
                        f"{item['problem'].replace('_', ' ')}{': ' + item['column'] if item['column'] else ''}",
                        here.number(item["rows"]),
                        f"{here.say('start.kept' if item['kept'] else 'start.left_out')}; {item['advice']}",
                        _written(item["example"])[:_LONGEST_EXAMPLE],
                    ]
                    for item in found
                ],
                numbers=[2],
            )
            ui.link(here.say("start.rejects"), here.path("download", "rejects") + "?format=csv").props("download")


def _written(row: str | None) -> str:
    """A row as its cells: those that could not be told apart stay as they were."""
    try:
        return "; ".join(f"{name}: {value}" for name, value in json.loads(row).items() if value is not None) if row else "–"
    except ValueError:
        return str(row)


def _size(here: Here, size: int) -> str:
    return f"{here.number(size / 1024, 1)} KiB" if size < 1 << 20 else f"{here.number(size / (1 << 20), 1)} MiB"


def _stage(here: Here, stage: str) -> str:
    first, _, what = stage.partition(" ")
    return here.say(f"stage.{first}", what=what) if first in ("reading", "summing") else here.say(f"stage.{stage}")
