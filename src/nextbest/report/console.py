"""What the command line and notebooks show: tables and one explained customer."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from nextbest.report.numbers import number, signed
from nextbest.words import withheld

if TYPE_CHECKING:  # what they stand on takes a second to load, and nothing is shown of most of it
    from nextbest.run import Run
    from nextbest.services.diff import Diff
    from nextbest.services.explain import Explanation, OfferExplained, TermExplained
    from nextbest.services.lint import LintResult
    from nextbest.services.replay import Replayed
    from nextbest.services.score import Score
    from nextbest.services.verify import Verified

VERDICTS = {"ranked": "ranked", "ineligible": "not eligible", "held": "held already", "unsuitable": "not suitable", "weak": "too weak"}


MOST_SHOWN = 5


def money(amount: float, currency: str) -> str:
    """A whole amount with spaces between thousands, and the sign apart."""
    return f"{number(amount)}\u00a0{currency}"


def summary(run: Run, rows: int = 8) -> RenderableType:
    """Counts, problems and the first recommendations of a run."""
    record = run.record
    customers = record["counts"]["customers"]
    table = Table(title="The first recommendations", show_lines=True, title_justify="left")
    recommendations = run.recommendations.head(rows)
    for column in recommendations.columns:
        table.add_column(column, overflow="fold")
    for item in recommendations.itertuples(index=False):
        table.add_row(*(escape(str(value)) for value in item))
    parts: list[RenderableType] = [table, _counts(customers)]
    if refused := record["counts"]["texts_refused"]:
        rules = ", ".join(f"{rule} {number(count)}" for rule, count in refused.items())
        parts.append(f"Attempts at a text that rules of the voice refused, several for some customers: {escape(rules)}.")
    if record["workspace"] is None:
        parts.append("Without a workspace: earlier contacts, consents and holdouts were not heeded, and nothing was recorded.")
    else:
        parts.append(f"Recorded in {escape(record['workspace']['name'])} as run {record['workspace']['run_id']}.")
    if unread := record["data"]["unused_files"]:
        parts.append(f"Not read as tables: {escape(', '.join(unread))}.")
    if record["problems"]:
        parts.append(_problems(record["problems"]))
    return Group(*parts)


def _counts(customers: dict[str, int]) -> Table:
    table = Table(title="Customers", show_header=False, title_justify="left")
    for name, count in customers.items():
        table.add_row(name.replace("_", " "), str(count))
    return table


def _problems(problems: list[dict[str, object]]) -> Table:
    table = Table(title="Data problems (odd rows are in rejects.parquet)", title_justify="left")
    for column in ("table", "problem", "rows", "what became of them"):
        table.add_column(column)
    for item in problems:
        name = f"{item['problem']}: {item['column']}" if item["column"] else str(item["problem"])
        kept = "kept" if item["kept"] else "left out"
        table.add_row(str(item["table"]), name, str(item["rows"]), f"{kept}; {item['advice']}")
    return table


def explanation(item: Explanation) -> RenderableType:
    """One customer's whole decision."""
    who = ", ".join(f"{name} {_plain(value)}" for name, value in item.profile.items())
    message = escape(item.message or f"no message: {withheld('en', item.withheld or 'no_offer')}")
    message += "".join(f"\n{escape(f'refused by the rule {rule}: {asked}')}" for rule, asked in item.refused_by.items())
    if item.withheld == "no_text" and not item.refused_by:
        message += "\nno wording was true and of the length that the channel asks"
    partial = [f"{measure.meaning}, {cell.cell}" for measure in item.activity for cell in measure.cells if cell.partial]
    if partial:
        message += f"\n[dim]no text states, for lack of a rate of some row's currency: {escape('; '.join(partial))}[/dim]"
    facts = "; ".join(f"{fact['fact']} = {fact['shown']} ({fact['period'].replace('_', ' ')})" for fact in item.facts)
    if item.chance is not None and item.chance < 1:
        message += f"\n[dim]its offer was chosen with a probability of {item.chance:.1%}: the playbook explores[/dim]"
    if item.message:
        message += f"\n\n[dim]facts: {escape(facts)}\ntreatment: {item.treatment}[/dim]"
    head = Panel(message, title=f"Customer {escape(item.customer)}, as of {item.as_of}")
    if item.segments:
        who += f"; {escape(', '.join(item.segments))}"
    if item.gaps:
        who += f"; nothing yet in {escape(', '.join(item.gaps))}"
    return Group(f"[dim]{who}[/dim]", head, *(_offer(offer, item.currency) for offer in item.offers))


def _plain(value: Any) -> str:
    return f"{value:,.15g}" if isinstance(value, float) else escape(str(value))


def _offer(offer: OfferExplained, currency: str) -> RenderableType:
    place = f"{offer.rank}." if offer.rank else "–"
    benefit = money(offer.benefit, currency)
    title = (
        f"{place} {escape(offer.product)}: {VERDICTS[offer.verdict]}, confidence {offer.confidence:.0f}, "
        f"{benefit} a month, score {offer.score:.3f}"
    )
    table = Table(title=title, title_justify="left", show_header=False, expand=True)
    table.add_column("kind", width=11)
    table.add_column("what", ratio=2, overflow="fold")
    table.add_column("how much", justify="right", width=16)
    table.add_column("behind it", ratio=3, overflow="fold")
    for failed in offer.failed:
        values = ", ".join(f"{name} = {_plain(value)}" for name, value in failed.values.items())
        table.add_row(f"[red]{failed.stage}[/red]"[:30], escape(failed.reason), "", f"{escape(failed.text)}; here {values}")
    for term in offer.terms:
        if term.amount:
            table.add_row("benefit", escape(term.meaning), money(term.amount, currency), escape(_behind(term, currency)))
    if offer.learned is not None:
        table.add_row("forecast", "the probability that a model gives it", f"{offer.learned:.3f}", "")
    for signal in offer.signals:
        table.add_row("evidence", escape(signal.meaning), f"{signal.points:+.2f} of {signal.most:+.1f}", f"strength {signal.strength:.2f}")
    for change in offer.change:
        table.add_row("change", escape(change), "", "")
    return table


def _behind(term: TermExplained, currency: str) -> str:
    """The largest figures behind a term; the rest are counted."""
    largest = sorted(term.behind, key=lambda item: -item.sum)
    shown = [
        f"{item.cell}: {f'{item.count} for ' if item.count else ''}{money(item.sum, currency)}"
        f"{', of which some have no known amount' if item.partial else ''}"
        for item in largest[:MOST_SHOWN]
    ]
    return "; ".join([*shown, *([f"and {len(largest) - MOST_SHOWN} more"] if len(largest) > MOST_SHOWN else [])])


def explanation_html(item: Explanation) -> str:
    """The same for a notebook."""
    console = Console(record=True, width=120, file=StringIO())
    console.print(explanation(item))
    return console.export_html(inline_styles=True, code_format='<pre style="line-height:1.2">{code}</pre>')


def lint_result(result: LintResult) -> RenderableType:
    """Each text that breaks a rule, and which."""
    broken, blank = sum(bool(item.failed) for item in result.texts), f"; rows without a text: {result.blank}" if result.blank else ""
    title = f"{broken} of {len(result.texts)} texts break a rule{blank}" if result.texts or not blank else "no row has a text"
    table = Table(title=title, title_justify="left")
    table.add_column("row", justify="right")
    table.add_column("rule")
    table.add_column("what it asks", overflow="fold")
    for item in result.texts:
        for rule in item.failed:
            table.add_row(str(item.line), rule, escape(result.meanings.get(rule, "")))
    return table


def score_result(result: Score) -> RenderableType:
    """The case's scale."""
    table = Table(title="Score", title_justify="left", show_header=False)
    table.add_row("customers", str(result.customers))
    table.add_row("first place right", f"{result.first_right} of {result.customers}")
    table.add_row("product, of 20", f"{result.product:.2f}")
    table.add_row("message, of 20", f"{result.message:.2f}")
    table.add_row("total, of 40", f"{result.total:.2f}")
    missed = [f"{result.unknown_customers} codes of the reference are not in the run"] if result.unknown_customers else []
    if result.unknown_products:
        missed.append(f"products of the reference that no offer is called: {', '.join(result.unknown_products)}")
    return Group(table, *(escape(f"Not found: {said}.") for said in missed))


def imported(rows: int, added: int, known: int, rejected: dict[str, int], rejects: Path | None) -> RenderableType:
    """What became of a file's rows."""
    parts: list[RenderableType] = [f"{rows} rows: {added} added, {known} known already, {sum(rejected.values())} left out"]
    if rejected:
        table = Table(title=f"Left out (rows in {rejects})" if rejects else "Left out (name a file with --rejects)", title_justify="left")
        for column in ("reason", "rows"):
            table.add_column(column)
        for reason, count in rejected.items():
            table.add_row(reason, str(count))
        parts.append(table)
    return Group(*parts)


def verified(found: Verified) -> RenderableType:
    """Whether a ledger is whole."""
    emptied = f", {found.taken_out} of them emptied (erasure or retention)" if found.taken_out else ""
    lines = [f"{found.entries} entries, {found.records} records{emptied}", f"head {found.head}"]
    lines += [escape(fault) for fault in found.faults] or ["whole: no edit, gap or reorder"]
    return "\n".join(lines)


def replayed(found: Replayed) -> RenderableType:
    """Whether a decision came out again."""
    lines = [f"missing: {item}" for item in found.missing]
    if found.same:
        lines.append(f"{found.decision_id}: the same, byte for byte ({len(found.recorded or '')} characters)")
    elif found.again is not None:
        lines.append(f"{found.decision_id}: comes out otherwise in {', '.join(found.differs)}")
    else:
        lines.append(f"{found.decision_id}: cannot be made again")
    return escape("\n".join(lines))


def difference(found: Diff) -> RenderableType:
    """What a change of playbook does."""
    table = Table(title="Reach of each offer", title_justify="left")
    for column in ("offer", "before", "after", "change"):
        table.add_column(column, justify="left" if column == "offer" else "right")
    for item in found.reach:
        table.add_row(escape(item["offer"]), str(item["old"]), str(item["new"]), f"{item['new'] - item['old']:+d}")
    moves = Table(title="Whose offer changes", title_justify="left")
    for column in ("from", "to", "customers", "benefit moved a month"):
        moves.add_column(column, justify="right" if column.startswith(("c", "b")) else "left")
    for item in found.moves:
        moves.add_row(escape(item["old"]), escape(item["new"]), str(item["customers"]), signed(item["benefit"]))
    changed = f"{found.customers} customers: {found.offers_changed} get another first offer, {found.messages_changed} another text; "
    changed += f"benefit a month {signed(found.benefit[1] - found.benefit[0])}, value {found.value[1] - found.value[0]:+.1f}"
    return Group(changed, table, *([moves] if found.moves else []))
