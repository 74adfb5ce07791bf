"""Numbers as readable text: SI prefixes, significant digits, thin spaces."""

from __future__ import annotations

import math
from collections.abc import Sequence

KNOWN_UNITS = ("%", "s", "us", "µs", "bytes", "B", "count", "", "/s")  # other units follow the number unchanged
THIN = "\u202f"  # narrow no-break space: between digit groups, and between a number and its unit
SIGN = {"at_least": "≥", "at_most": "≤"}


def significant(value: float, digits: int = 3) -> str:
    """Return a number with `digits` significant digits and without an exponent: 0.00123, 18.4, 1 234."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}".replace(",", THIN).replace("-", "−")


def short(value: float) -> str:
    """Return a number for an axis: 0.05, 20, 50 k, 2 M."""
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.4g}{THIN}{prefix}"
    return f"{value:.4g}"


def seconds(value: float) -> str:
    """Return a duration: 18.4 µs, 3.20 ms, 41.2 s, 12.5 min."""
    size = abs(value)
    if size >= 600:
        return f"{significant(value / 60)}{THIN}min"
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if size * factor >= 0.9995:
            return f"{significant(value * factor)}{THIN}{unit}"
    return f"{significant(value * 1e9)}{THIN}ns" if value else f"0{THIN}s"


def microseconds(value: float) -> str:
    """Return a duration given in microseconds."""
    return seconds(value * 1e-6)


def size(count: float) -> str:
    """Return bytes in SI units (1 MB = 10^6 bytes): 812 B, 3.25 MB."""
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(count) >= factor:
            return f"{significant(count / factor)}{THIN}{unit}"
    return f"{count:.0f}{THIN}B"


def rate(value: float) -> str:
    """Return a rate per second with three digits: 182 000 /s, 35.2 M/s."""
    if value >= 1e6:
        return f"{significant(value / 1e6)}{THIN}M/s"
    scale = 10.0 ** max(0, math.floor(math.log10(value)) - 2) if value > 0 else 1.0
    return f"{significant(round(value / scale) * scale if scale > 1 else value)}{THIN}/s"


def integer(value: float) -> str:
    """Return a whole number with its thousands separated."""
    return f"{value:,.0f}".replace(",", THIN)


def ranges(numbers: Sequence[int]) -> str:
    """Return whole numbers in short, as a range if there are several in a row: 1–100.

    >>> ranges([1, 2, 3]), ranges([1, 2, 4])
    ('1–3', '1, 2, 4')
    """
    if len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[0] + len(numbers))):
        return f"{numbers[0]}–{numbers[-1]}"
    return ", ".join(map(str, numbers))


def quantity(value: float, unit: str) -> str:
    """Return a metric's value with its unit, as suite.yaml names units; "%" means that the value is a fraction."""
    if not math.isfinite(value):
        return str(value)
    match unit:
        case "%":
            return f"{100 * value:.2f}{THIN}%"
        case "s":
            return seconds(value)
        case "us" | "µs":
            return microseconds(value)
        case "bytes" | "B":
            return size(value)
        case "count" | "":
            return integer(value) if value == round(value) else _plain_number(value)
        case "/s":
            return rate(value)
        case "times":
            return f"{significant(value)}×"
        case _:
            return f"{significant(value, 4)}{THIN}{unit}"


def _plain_number(value: float) -> str:
    """Return a number without a unit: 0.8217, but 2.1e-6 instead of many zeros."""
    if abs(value) >= 1e-3:
        return significant(value, 4)
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits}e{int(exponent)}"


def spread(mean: float, sd: float | None, unit: str) -> str:
    """Return a mean with its standard deviation, in one unit: 98.45 ± 0.13 %, 38.8 ± 0.55 s."""
    if sd is None:
        return quantity(mean, unit)
    if unit == "%":
        return f"{100 * mean:.2f} ± {100 * sd:.2f}{THIN}%"
    if unit == "s" and 1 <= mean < 600:
        return f"{significant(mean)} ± {significant(sd, 2)}{THIN}s"
    if unit in KNOWN_UNITS:
        return f"{quantity(mean, unit)} ± {quantity(sd, unit)}"
    value = significant(mean, 4)
    decimals = len(value.partition(".")[2])
    return f"{value} ± {sd:.{decimals}f}{THIN}{unit}"


def measured(value: float | None, over: str, n: int, sd: float | None, unit: str) -> str:
    """Return a measured value for a requirement: 98.45 %, max 19.4 s, mean 98.61 ± 0.05 % sd."""
    if value is None:
        return "not measured"
    if over == "mean" and sd is not None:
        return f"mean {spread(value, sd, unit)} sd"
    return quantity(value, unit) if n == 1 else f"{over} {quantity(value, unit)}"


def demand(value: float, unit: str) -> str:
    """Return a threshold as its author wrote it: 95 %, not 95.00 %."""
    if unit == "%":
        return f"{100 * value:.10g}{THIN}%"
    if unit in ("us", "µs", "bytes", "B", "count", "/s"):
        return quantity(value, unit)
    return f"{value:.10g}{'×' if unit == 'times' else THIN + unit if unit else ''}"


def cell(value: str | float | int | None) -> str:
    """Return one cell of an exhibit's table."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if value == round(value):
        return integer(value)
    text = significant(value, 4)
    return text.rstrip("0").rstrip(".") if "." in text else text
