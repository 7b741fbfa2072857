"""Results: who gets what, a page at a time, filtered and sorted on the server; charts and files of what is filtered."""

import re
from asyncio import to_thread
from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Query, Request
from fastapi.responses import RedirectResponse
from nicegui import ui

from nextbest.services.results import BINS, SORTS, Chosen, confidences, first_offers, page
from nextbest.web.console.charts import drawn, lying_bars, redraw, standing_bars
from nextbest.web.console.frame import allowed, cards, element, frame, plain_table, told, turned_away
from nextbest.web.console.here import PLACE, Here, here_of
from nextbest.words import withheld

_ROWS = 25
_LONGEST = 100


def chosen_of(code: str, offers: Iterable[str], segment: str, message: str, sure: str) -> Chosen:
    """The filter that an address names; what it cannot mean is left out."""
    written: Any = message if message in ("any", "with", "without") else "any"
    least = float(sure) if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?", sure) else 0.0
    code, segment, *names = (item.replace("\0", "\ufffd")[:_LONGEST] for item in (code, segment, *offers))
    return Chosen(code, tuple(names), segment, written, least if least <= 100 else 0.0)


def address_of(chosen: Chosen) -> str:
    """The filter as the query of an address: what is not filtered is not in it."""
    named = {name: value for name, value in asdict(chosen).items() if value != getattr(Chosen(), name)}
    return urlencode(named, doseq=True)


@ui.page("/p/{playbook}/results")
async def results(
    request: Request,
    playbook: str,
    code: str = "",
    offers: Annotated[list[str] | None, Query()] = None,
    segment: str = "",
    message: str = "any",
    sure: str = "0",
) -> RedirectResponse | None:
    """The page. Its filter is in its address, so that it can be kept and sent on."""
    here = here_of(request, playbook)
    if (away := turned_away(here, request)) is not None:
        return away
    with frame(here, here.say("results.title"), "results"):
        if here.desk.host.current is None:
            element("p", f"{here.say('nothing_yet')} {here.say('nothing_yet.fix')}")
            return None
        found = here.desk.host.run()
        await to_thread(lambda: found.book)  # read once, beside the other requests
        day, name = found.record["as_of"], found.record["playbook"]["name"]
        element("p", here.say("results.as_of", day=day, playbook=name), "nb-soft")
        counts = {name: count for name, count in found.record["counts"]["customers"].items() if count or name in ("scored", "with_message")}
        cards([(here.number(count), here.say(f"count.{name}")) for name, count in counts.items()])
        view = _View(here, chosen_of(code, tuple(offers or ()), segment, message, sure))
        ui.timer(0.05, view.show, once=True)  # a million customers take a while, and the page is there meanwhile
    return None


class _View:
    """The filter, and what it finds."""

    def __init__(self, here: Here, chosen: Chosen):
        self.here, self.chosen, self.sort, self.descending, self.first, self.rows = here, chosen, "customer", False, 0, _ROWS
        self.asked = 0
        model = here.desk.host.run().book.model
        self.names = {offer.id: here.text(offer.name) for offer in model.offers.values()}
        element("h2", here.say("results.filter"))
        with element("form", classes="nb-row").props('onsubmit="return false" role=search'):
            self.code = ui.input(here.say("results.code"), value=chosen.code).props("outlined dense clearable debounce=400")
            known = [offer for offer in chosen.offers if offer in self.names]
            self.offers = ui.select(self.names, label=here.say("results.offer"), multiple=True, value=known)
            segments = {"": "–", **{name: here.text(item.meaning) for name, item in model.segments.items()}}
            self.segment = ui.select(
                segments, label=here.say("results.segment"), value=chosen.segment if chosen.segment in segments else ""
            )
            self.segment.set_visibility(len(segments) > 1)
            texts = {name: here.say(f"results.text.{name}") for name in ("any", "with", "without")}
            self.message = ui.select(texts, label=here.say("results.text"), value=chosen.message)
            self.sure = ui.number(here.say("results.sure"), value=chosen.sure, min=0, max=100, step=10).props("outlined dense debounce=400")
            for select in (self.offers, self.segment, self.message):
                select.props("outlined dense").style("min-width: 11rem; max-width: 20rem")
            self.offers.props("use-chips")
            ui.button(here.say("results.clear"), on_click=self.clear).props("flat no-caps")
        for field in (self.code, self.offers, self.segment, self.message, self.sure):
            field.on_value_change(self.filtered)
        self.found = element("p").props("aria-live=polite role=status")
        self.files = element("div", classes="nb-row")
        self._order()
        self.table = element("div")
        self._pager()
        self.charts = element("div", classes="nb-columns")
        self.drawn: list[ui.echart] = []

    async def filtered(self) -> None:
        """The filter has changed."""
        sure = str(self.sure.value if self.sure.value is not None else 0)
        self.chosen = chosen_of((self.code.value or "").strip(), self.offers.value, self.segment.value, self.message.value, sure)
        self.first = 0
        query = address_of(self.chosen)
        ui.navigate.history.replace(PLACE + self.here.path("results") + (f"?{query}" if query else ""))
        await self.show()

    async def clear(self) -> None:
        """Everyone again."""
        ui.navigate.to(self.here.path("results"))

    async def show(self) -> None:
        """Everything that the filter finds."""
        here, chosen = self.here, self.chosen
        if not allowed(here, "viewer"):
            return
        with told(here):
            self._show_files()  # before the rows: a file holds those that are seen, however long the charts take
            await self.show_rows()
            found = here.desk.host.run(), chosen, here.desk.left_out("recommendations")
            offers, sure = await to_thread(first_offers, *found), await to_thread(confidences, *found)
            if chosen != self.chosen:
                return  # a later filter shows its own
            self._show_charts(offers, sure)

    def _show_files(self) -> None:
        """Where what the filter finds can be fetched."""
        query = address_of(self.chosen)
        self.files.clear()
        with self.files:
            element("span", self.here.say("results.export"))
            for kind in ("csv", "xlsx", "parquet"):
                path = self.here.path("download", "recommendations") + f"?format={kind}" + (f"&{query}" if query else "")
                ui.link(kind.upper(), path).props("download")

    async def show_rows(self) -> None:
        """The page of customers."""
        here, desk = self.here, self.here.desk
        self.asked += 1
        mine = self.asked
        found = await to_thread(
            page, desk.host.run(), self.chosen, desk.left_out("recommendations"),
            sort=self.sort, descending=self.descending, offset=self.first, limit=self.rows,
        )  # fmt: skip
        if mine != self.asked:
            return  # somebody asked for another page meanwhile
        self.found.text = here.say("results.found", count=here.number(found.chosen), total=here.number(found.total))
        rows = [
            {
                "customer": row["customer"],
                "product": self.names.get(row["offer"], row["product"]) if row["offer"] else "–",
                "benefit": here.number(row["benefit"]) if row["offer"] else "–",
                "confidence": here.number(row["confidence"]) if row["offer"] else "–",
                "message": row["message"] or withheld(here.language, row["withheld"] or ("other" if row["offer"] else "no_offer")),
            }
            for row in found.rows
        ]
        self.table.clear()
        with self.table:
            self._body(rows)
        first, last = min(self.first + 1, found.chosen), min(self.first + self.rows, found.chosen)
        self.where.text = here.say("page.where", first=here.number(first), last=here.number(last), total=here.number(found.chosen))
        self.before.set_enabled(self.first > 0)
        self.after.set_enabled(last < found.chosen)

    def _order(self) -> None:
        here, labels = self.here, self._labels()
        with element("div", classes="nb-row"):
            sorts = {name: labels[name] for name in SORTS}
            sort = ui.select(sorts, value=self.sort, on_change=lambda event: self.sorted(event.value, None))
            sort.props(f'outlined dense label="{here.say("page.sort")}"').style("min-width: 11rem")
            ui.checkbox(here.say("page.descending"), value=self.descending, on_change=lambda event: self.sorted(None, event.value))

    def _labels(self) -> dict[str, str]:
        currency = self.here.desk.loaded.model.business.currency
        words = {"customer": "customer", "product": "offer", "benefit": "benefit", "confidence": "confidence", "message": "message"}
        return {name: self.here.say(f"column.{word}", currency=currency) for name, word in words.items()}

    async def sorted(self, by: str | None, descending: bool | None) -> None:
        """The order has changed."""
        self.sort, self.first = by or self.sort, 0
        self.descending = self.descending if descending is None else descending
        if allowed(self.here, "viewer"):
            with told(self.here):
                await self.show_rows()

    def _body(self, rows: list[dict[str, Any]]) -> None:
        labels = self._labels()
        with element("div", classes="nb-wide nb-results"), element("table") as table:
            table.props["aria-label"] = self.here.say("results.title")
            with element("thead"), element("tr"):
                for name, label in labels.items():
                    element("th", label, "nb-number" if name in ("benefit", "confidence") else "").props("scope=col")
            with element("tbody"):
                for row in rows:
                    with element("tr"):
                        with element("td"):
                            ui.link(row["customer"][:60], self.here.path("clients", row["customer"]))
                        element("td", row["product"])
                        element("td", row["benefit"], "nb-number")
                        element("td", row["confidence"], "nb-number")
                        with element("td"):
                            element("div", row["message"], "nb-clip")
        if not rows:
            element("p", self.here.say("page.none"))

    def _pager(self) -> None:
        """It stays while pages change: whoever turns them by keyboard keeps their place."""
        here = self.here
        with element("div", classes="nb-row"):
            self.before = ui.button("‹", on_click=lambda: self.turned(-self.rows)).props("flat dense")
            self.where = element("span")
            self.after = ui.button("›", on_click=lambda: self.turned(self.rows)).props("flat dense")
            for button, word in ((self.before, "page.previous"), (self.after, "page.next")):
                button.props(f'aria-label="{here.say(word)}"')
            sizes = ui.select([25, 50, 100], value=self.rows, on_change=lambda event: self.sized(event.value))
            sizes.props(f'outlined dense label="{here.say("page.size")}"').style("min-width: 9rem")

    async def turned(self, by: int) -> None:
        """Another page."""
        self.first = max(0, self.first + by)
        if allowed(self.here, "viewer"):
            with told(self.here):
                await self.show_rows()

    async def sized(self, rows: int) -> None:
        """Longer or shorter pages."""
        self.rows = rows
        await self.turned(-self.first)

    def _show_charts(self, offers: list[dict[str, Any]], sure: list[int]) -> None:
        here, say = self.here, self.here.say
        self.charts.set_visibility(bool(offers))
        if not offers:
            return
        labels = [self.names.get(item["offer"], item["product"]) for item in offers]
        bars = {
            say("results.offers"): lying_bars(here, labels, [item["customers"] for item in offers]),
            say("results.confidence"): standing_bars(here, [f"{place * 100 // BINS}" for place in range(BINS)], sure),
            say("results.benefit", currency=here.desk.loaded.model.business.currency): lying_bars(
                here, labels, [item["benefit"] for item in offers]
            ),
        }
        if self.drawn:
            for chart, of in zip(self.drawn, bars.values(), strict=True):
                redraw(chart, of)
        else:
            with self.charts:
                for title, of in bars.items():
                    with element("section"):
                        self.drawn.append(drawn(title, of))
                with element("section"):
                    element("h2", say("results.statistics"))
                    self.statistics = element("div")
        self.statistics.clear()
        total = sum(item["customers"] for item in offers)
        with self.statistics:
            plain_table(
                [say("column.offer"), say("column.customers"), say("column.share")],
                [
                    [label, here.number(item["customers"]), f"{here.number(100 * item['customers'] / total, 1)} %"]
                    for label, item in zip(labels, offers, strict=True)
                ],
                numbers=[1, 2],
            )
