"""The editorial linter: a voice's rules as SQL over a column of texts. The rules are data, the engine is RE2."""

import re
from collections.abc import Collection

from nextbest.plan.stage import text
from nextbest.playbook.model import Playbook
from nextbest.playbook.speech import AGREEMENT, LENGTH, LintRule, Tokens, Voice

DIMENSIONS = ("personalisation", "tone", "clarity", "format")


def rules_of(playbook: Playbook, language: str, channel: str) -> dict[str, LintRule]:
    """The rules of a voice that hold on a channel, agreement of numbers and words among them."""
    voice = playbook.voices[language]
    chosen = {name: rule for name, rule in voice.lint.items() if not rule.channels or channel in rule.channels}
    return {**chosen, **_agreement(voice)}


def asked(playbook: Playbook, language: str, channel: str, said_in: str) -> dict[str, str]:
    """What each rule of a voice asks, in words of the language `said_in` where it has them."""
    fewest, most = playbook.channels[channel].length
    rules = rules_of(playbook, language, channel)
    return {LENGTH: f"{fewest}–{most}", **{n: rule.meaning.get(said_in, next(iter(rule.meaning.values()))) for n, rule in rules.items()}}


def failed_rules(playbook: Playbook, language: str, channel: str, column: str) -> str:
    """SQL: the list of rules that the text in `column` breaks; null where there is no text."""
    return _failed([_length(playbook, channel, column), *_checks(rules_of(playbook, language, channel), column)], column)


def by_text(playbook: Playbook, language: str, channel: str, column: str) -> str:
    """SQL: the broken rules among those that depend on the very digits of a text, its length among them."""
    rules = {n: r for n, r in rules_of(playbook, language, channel).items() if _names_digits(r)}
    failed = _failed([_length(playbook, channel, column), *_checks(rules, column)], column)
    return f"case when {_suspect(playbook, rules.values(), channel, column)} then {failed} when {column} is not null then [] end"


def _suspect(playbook: Playbook, rules: Collection[LintRule], channel: str, column: str) -> str:
    """SQL: false only for a text that breaks none of the rules. All that they look for is sought at once."""
    fewest, most = playbook.channels[channel].length
    sought = [pattern for rule in rules for pattern in (*rule.forbid, *rule.at_most, *([rule.tokens.find] if rule.tokens else []))]
    tests = [f"length({column}) not between {fewest} and {most}", *([_found(sought, column)] if sought else [])]
    return " or ".join([*tests, *(f"not regexp_matches({column}, {text(rule.require)})" for rule in rules if rule.require)])


def by_shape(playbook: Playbook, language: str, channel: str, column: str) -> str:
    """SQL: the broken rules among those that hold for all texts of one shape alike."""
    rules = {n: r for n, r in rules_of(playbook, language, channel).items() if not _names_digits(r)}
    return _failed(_checks(rules, column), column)


def in_part(playbook: Playbook, language: str, channel: str, column: str) -> str:
    """SQL: whether a part of a text alone breaks a rule, of those that a part can break."""
    rules = (rule.model_copy(update={"require": None}) for rule in rules_of(playbook, language, channel).values())
    return " or ".join(found for rule in rules if (found := breaks(rule, column))) or "false"


def found_in_part(playbook: Playbook, language: str, channel: str, column: str) -> list[str]:
    """SQL: what a part of a text adds to what rules count or ask for in the whole."""
    rules = rules_of(playbook, language, channel).values()
    counts = [f"len(regexp_extract_all({column}, {text(pattern)}))" for rule in rules for pattern in rule.at_most]
    return counts + [f"cast(regexp_matches({column}, {text(rule.require)}) as bigint)" for rule in rules if rule.require]


def _names_digits(rule: LintRule) -> bool:
    patterns = [*rule.forbid, *rule.at_most, rule.require or ""]
    if rule.tokens:
        patterns += [rule.tokens.find, rule.tokens.allow_pattern or "", *rule.tokens.allow]
    rest = re.sub(r"0-9|\\[px]\{[^}]*\}|\{[0-9,]*\}", "", " ".join(patterns))
    return any(character.isdigit() for character in rest)


def _length(playbook: Playbook, channel: str, column: str) -> str:
    fewest, most = playbook.channels[channel].length
    return f"case when length({column}) not between {fewest} and {most} then {text(LENGTH)} end"


def _checks(rules: dict[str, LintRule], column: str) -> list[str]:
    return [f"case when {breaks(rule, column)} then {text(name)} end" for name, rule in rules.items()]


def _failed(checks: list[str], column: str) -> str:
    return f"case when {column} is not null then list_filter(cast([{', '.join(checks)}] as varchar[]), lambda x: x is not null) end"


def breaks(rule: LintRule, column: str) -> str:
    """SQL: whether the text breaks the rule."""
    tests = []
    if rule.forbid:
        tests.append(_found(rule.forbid, column))
    if rule.require:
        tests.append(f"not regexp_matches({column}, {text(rule.require)})")
    tests += [f"len(regexp_extract_all({column}, {text(pattern)})) > {most}" for pattern, most in rule.at_most.items()]
    if rule.tokens:
        found = f"regexp_extract_all({column}, {text(rule.tokens.find)})"
        passed = f"x in ({', '.join(text(word) for word in rule.tokens.allow)})" if rule.tokens.allow else "false"
        if rule.tokens.allow_pattern:
            passed += f" or regexp_full_match(x, {text(rule.tokens.allow_pattern)})"
        tests.append(f"len(list_filter({found}, lambda x: not ({passed}))) > 0")
    return " or ".join(tests)


def _found(patterns: list[str], column: str) -> str:
    return f"regexp_matches({column}, {text('|'.join(f'(?:{pattern})' for pattern in patterns))})"


def _agreement(voice: Voice) -> dict[str, LintRule]:
    """A counted word in a form that does not go with its number, e.g. «5 поездки».

    After a preposition that governs the genitive («до 2 поездок») the number says nothing, so it is let through.
    """
    found = []
    for place, numbers in enumerate(voice.plural_patterns):
        right = {words[place] for words in voice.words.values()}
        wrong = sorted({form for words in voice.words.values() for form in words} - right)
        if wrong:
            found.append(rf"(?:{numbers})[\s\x{{a0}}](?:{'|'.join(wrong)})")
    if not found:
        return {}
    before = r"(?:\p{L}+[\s\x{a0}]|[^0-9\p{L}\s\x{a0}][\s\x{a0}]?|[0-9][\s\x{a0}]|^)"
    rule = LintRule(
        dimension="format",
        meaning={"ru": "Слово согласовано с числом", "en": "A word agrees with its number"},
        tokens=Tokens(find=rf"{before}(?:{'|'.join(found)})(?:[^\p{{L}}]|$)", allow_pattern=_after(voice)),
        bad=[],
    )
    return {AGREEMENT: rule}


def _after(voice: Voice) -> str | None:
    return rf"(?i)(?:{'|'.join(voice.genitive_after)})[\s\x{{a0}}].*" if voice.genitive_after else None
