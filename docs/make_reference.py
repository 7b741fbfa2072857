"""Write docs/reference from the code: the playbook's entries, the rule language, the JSON schemas."""

import inspect
import re
from pathlib import Path

from pydantic.fields import FieldInfo

from nextbest.playbook import learning, model, sources
from nextbest.rules.functions import FUNCTIONS
from nextbest.services.schema import schema

HERE = Path(__file__).parent / "reference"


def kind(field: FieldInfo) -> str:
    name = re.sub(r"Annotated\[(.+?), FieldInfo\(.*?metadata=\[.*?\]\)\]", r"\1", str(field.annotation))
    name = re.sub(r"Annotated\[([^\[]+), FieldInfo\(.*?description='one SQL expression of the rule language'\)\]", r"\1", name)
    name = re.sub(r"typing\.|nextbest\.playbook\.[a-z]+\.", "", name).replace("|", "\\|")
    name = name.removeprefix("<class '").removesuffix("'>").replace("datetime.date", "date")
    return name.replace("str \\| int \\| float \\| bool", "expression")


def note(field: FieldInfo) -> str:
    default = "" if field.is_required() else f" Default: `{field.get_default(call_default_factory=True)!r}`."
    return (field.description or "") + default


def playbook() -> str:
    lines = [
        "# Playbook reference",
        "",
        "Made from the schema by `make reference`; do not edit. Files: `playbook.yaml` (Business), `features.yaml` (Features),",
        "`params.yaml` (name → Param), `signals.yaml` (name → Signal), `segments.yaml` (name → Segment, optional),",
        "`contact.yaml` (Contact), `channels.yaml` (name → Channel), `learn.yaml` (Learn, optional),",
        "`voice/<lang>.yaml` (Voice), `offers/<id>.yaml` (Offer). Expressions are in the [rule language](rules.md).",
    ]
    found = {}
    for module in (model, sources, learning):
        found |= dict(inspect.getmembers(module, lambda x: inspect.isclass(x) and issubclass(x, model.Strict)))
    for name, item in sorted(found.items()):
        if item is model.Strict:
            continue
        lines += ["", f"## {name}", "", inspect.getdoc(item) or "", "", "| entry | kind | meaning |", "|---|---|---|"]
        for key, field in item.model_fields.items():
            lines.append(f"| `{field.alias or key}` | {kind(field)} | {note(field)} |")
    return "\n".join(lines) + "\n"


def rules() -> str:
    lines = [
        "# Rule language",
        "",
        "Made from the code by `make reference`; do not edit. A rule, benefit term, signal or fact is one scalar SQL expression.",
        "It is parsed, checked against this list, and rendered for the engine; it is never pasted into a query.",
        "",
        "- Names: customer columns, features, population values, segments, signals; `p.name` is a parameter (the offer's own first).",
        "- `holds['cards']` is 1 where the customer holds an offer of that category (column `owned_products`), else 0.",
        "- Cells: `spend['Такси']` is one cell of a measure, `spend['Отели', 'Путешествия']` adds several up.",
        "- Operators: `+ - * / %`, `= <> < <= > >=`, `and or not`, `between`, `in (…)`, `is null`, `case when … then … else … end`.",
        "- Division by zero is null, in every engine; `ratio(a, b)` makes it 0.",
        "",
        "| function | meaning |",
        "|---|---|",
    ]
    lines += [f"| `{name}({', '.join(function.arguments)})` | {function.meaning} |" for name, function in FUNCTIONS.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (HERE / "playbook.md").write_text(playbook(), encoding="utf-8")
    (HERE / "rules.md").write_text(rules(), encoding="utf-8")
    schema(HERE / "schema")
