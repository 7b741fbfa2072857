"""Figures as people read them."""


def number(value: float) -> str:
    """A whole number with no-break spaces between thousands."""
    return f"{value:,.0f}".replace(",", "\u00a0")


def signed(value: float) -> str:
    """The same, with its sign in front."""
    return ("+" if value > 0 else "−" if value < 0 else "") + number(abs(value))
