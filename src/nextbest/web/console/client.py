"""Client: one customer's decision: who they are, the best offers and why, why not the others, and the message as it will be seen."""

from asyncio import to_thread
from typing import Any

from fastapi import Request
from fastapi.responses import RedirectResponse
from nicegui import ui

from nextbest.errors import UsageError
from nextbest.run import Run
from nextbest.services.explain import Activity, Behind, Explanation, Failed, OfferExplained
from nextbest.services.lint import failed_of
from nextbest.web.console.charts import drawn, lying_bars, standing_bars
from nextbest.web.console.frame import element, facts, frame, turned_away
from nextbest.web.console.here import Here, here_of
from nextbest.words import withheld

_MOST_BARS = 12
_MOST_BEHIND = 4
_DIGITS = 6
"""Of what a rule compares: with fewer, 0.296 and the 0.3 that it stays below would look alike."""


@ui.page("/p/{playbook}/client")
async def find(request: Request, playbook: str) -> RedirectResponse | None:
    """Ask for a customer's code."""
    here = here_of(request, playbook)
    if (away := turned_away(here, request)) is not None:
        return away
    with frame(here, here.say("nav.client"), "client"):
        _search(here)
    return None


@ui.page("/p/{playbook}/clients/{customer:path}", response_timeout=30)
async def client(request: Request, playbook: str, customer: str) -> RedirectResponse | None:
    """The page of one customer."""
    here = here_of(request, playbook)
    if (away := turned_away(here, request)) is not None:
        return away
    with frame(here, here.say("client.title", customer=customer[:60]), "client"):
        _search(here)
        if here.desk.said.gone(customer):
            element("p", here.say("client.gone"), "nb-warn")
            return None
        if here.desk.host.current is None:
            element("p", here.say("nothing_yet"), "nb-warn")
            return None
        found = here.desk.host.run()
        model = (await to_thread(lambda: found.book)).model
        language = here.language if here.language in model.business.languages else model.business.languages[0]
        try:
            said = await to_thread(here.desk.explained, customer, language)
        except UsageError:
            element("p", here.say("client.unknown"), "nb-warn")
            return None
        with element("div", classes="nb-columns"):
            with element("section"):
                element("h2", here.say("client.profile"))
                facts(_profile(here, said))
            with element("section"):
                element("h2", here.say("client.phone"))
                broken = await to_thread(_broken, found, said.message, said.language) if said.message else []
                _phone(here, said, model.contact.time_zone, broken)
        with element("div", classes="nb-columns"):
            for activity in said.activity:
                _chart(here, activity)
        ranked = [offer for offer in said.offers if offer.rank is not None]
        element("h2", here.say("client.top"))
        for offer in ranked[: model.business.top]:
            _offer(here, offer, said.currency)
        if not ranked:
            element("p", here.say("client.none"))
        others = [*ranked[model.business.top :], *(offer for offer in said.offers if offer.rank is None)]
        if others:
            element("h2", here.say("client.others"))
            for offer in others:
                _other(here, offer, said.currency)
    return None


def _search(here: Here) -> None:
    with element("div", classes="nb-row").props("role=search"):
        code = ui.input(here.say("client.find")).props("outlined dense autofocus")

        def open_() -> None:
            if (wanted := (code.value or "").strip()) != "":
                ui.navigate.to(here.path("clients", wanted))

        code.on("keydown.enter", open_)
        ui.button(here.say("client.open"), on_click=open_).props("no-caps unelevated")


def _profile(here: Here, said: Explanation) -> dict[str, str]:
    shown = {}
    for name, value in said.profile.items():
        shown[name.replace("_", " ")] = _value(here, value, 2)[:300]
    if said.segments:
        shown[here.say("client.segments")] = ", ".join(said.segments)
    if said.gaps:
        shown[here.say("client.gaps")] = ", ".join(said.gaps)
    return shown


def _value(here: Here, value: Any, most_digits: int) -> str:
    """A customer's figure, or a parameter's, as the page writes it."""
    if isinstance(value, bool):
        return "✓" if value else "✗"
    if isinstance(value, int | float):
        return here.number(value, most_digits)
    return (", ".join(map(str, value)) or "–") if isinstance(value, list | tuple) else str(value)


def _chart(here: Here, activity: Activity) -> None:
    cells = activity.cells[:_MOST_BARS]
    title = here.say("client.activity", what=activity.meaning[:1].upper() + activity.meaning[1:], unit=activity.unit)
    labels = [item.cell for item in cells]
    bars = lying_bars
    if activity.by == "month_back":
        bars, cells = standing_bars, cells[::-1]
        labels = [here.say("client.last_month") if item.cell == "1" else f"−{int(item.cell) - 1}" for item in cells]
    with element("section"):
        drawn(title, bars(here, labels, [item.sum for item in cells]))


def _broken(run: Run, text: str, language: str | None) -> list[str]:
    """The editorial rules that the text breaks: it is checked anew, as anyone's text would be."""
    business = run.book.model.business
    [failed] = failed_of([text], run.folder / "playbook", language or business.languages[0], business.channel)
    return failed


def _phone(here: Here, said: Explanation, zone: str, broken: list[str]) -> None:
    if said.message is None:
        element("p", f"{here.say('client.no_message')}: {withheld(here.language, said.withheld or 'no_offer')}", "nb-warn")
        for rule, asked in said.refused_by.items():
            element("p", here.say("client.refused_by", rule=rule, asked=asked), "nb-soft")
        return
    with element("div", classes="nb-phone"), element("div", classes="nb-push"):
        with element("div"):
            element("span", here.say("client.bank"))
            element("span", here.say("client.now"))
        element("p", said.message)
    verdict = here.say("client.lint.clean") if not broken else f"{here.say('client.lint.broken')}: {', '.join(broken)}"
    size = here.say("client.characters", count=len(said.message))
    element("p", f"{'✗' if broken else '✓'} {verdict}. {size}", "nb-stop" if broken else "nb-good")
    if said.send_at:
        element("p", here.say("client.send_at", moment=here.moment(said.send_at.timestamp(), zone)), "nb-soft")
    if said.chance is not None and said.chance < 1:
        element("p", here.say("client.chance", chance=here.number(100 * said.chance, 1)), "nb-soft")
    if said.facts:
        element("p", f"{here.say('client.facts')}: {'; '.join(item['shown'] for item in said.facts)}", "nb-soft")


def _offer(here: Here, offer: OfferExplained, currency: str) -> None:
    with element("article", classes="nb-offer"):
        element("h3", f"{offer.rank}. {offer.product}")
        money = f"{here.number(offer.benefit)} {currency}"
        sure = here.say("client.confidence", value=here.number(offer.confidence))
        element("p", f"{here.say('client.a_month', money=money)}, {sure}", "nb-soft")
        _why(here, offer, currency)


def _other(here: Here, offer: OfferExplained, currency: str) -> None:
    with element("details", classes="nb-other"):
        place = f"{offer.rank}. " if offer.rank else ""
        with element("summary"):
            element("b", f"{place}{offer.product}")
            element("span", f" · {here.say(f'verdict.{offer.verdict}')}", "nb-soft")
        for failed in offer.failed:
            _failed(here, failed)
        _why(here, offer, currency)


def _failed(here: Here, failed: Failed) -> None:
    values = ", ".join(f"{name} = {_value(here, value, _DIGITS)}" for name, value in failed.values.items())
    element("p", failed.reason, "nb-stop")
    element("p", f"{here.say('client.rule', rule=failed.text)}; {here.say('client.here', values=values)}"[:500], "nb-soft")


def _why(here: Here, offer: OfferExplained, currency: str) -> None:
    terms = [term for term in offer.terms if term.amount]
    with element("div", classes="nb-columns"):
        if terms:
            with element("div"):
                element("h3", here.say("client.benefit"))
                with element("ul"):
                    for term in terms:
                        with element("li"):
                            element("span", f"{term.meaning}: {here.number(term.amount)} {currency}")
                            if term.behind:
                                element("div", f"{here.say('client.behind')}: {_behind(here, term.behind, currency)}", "nb-soft")
        if offer.signals or offer.learned is not None:
            with element("div"):
                element("h3", here.say("client.evidence"))
                with element("ul"):
                    if offer.learned is not None:
                        element("li", here.say("client.learned", value=here.number(offer.learned, 3)))
                    for signal in offer.signals:
                        points = {"points": here.number(signal.points, 2), "most": here.number(signal.most, 1)}
                        element("li", f"{signal.meaning}: {here.say('client.points', **points)}")
    if offer.change:
        element("h3", here.say("client.change"))
        with element("ul"):
            for change in offer.change:
                element("li", change)


def _behind(here: Here, behind: list[Behind], currency: str) -> str:
    largest = sorted(behind, key=lambda item: -item.sum)
    shown = [
        here.say(
            "client.rows_partial" if item.partial else "client.rows" if item.count else "client.figure",
            cell=item.cell,
            sum=f"{here.number(item.sum)} {currency}",
            count=item.count,
        )
        for item in largest[:_MOST_BEHIND]
    ]
    return "; ".join([*shown, *([here.say("page.more", count=len(largest) - _MOST_BEHIND)] if len(largest) > _MOST_BEHIND else [])])
