"""Numbers as readable text: SI prefixes, significant digits, thin spaces."""

from __future__ import annotations

import math
from collections.abc import Sequence

THIN = "\u202f"  # narrow no-break space: between digit groups, and between a number and its unit
SIGN = {"at_least": "≥", "at_most": "≤"}


def significant(value: float, digits: int = 3) -> str:
    """Return a number with `digits` significant digits and without an exponent: 0.00123, 18.4, 1 234."""
    if not math.isfinite(value):
        return minus(str(value))
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return minus(f"{value:,.{decimals}f}".replace(",", THIN))


def minus(text: str) -> str:
    """Return a number in text with a true minus sign, and none before a zero: −0.02, 0.00.

    >>> minus("-0.02"), minus("-0.00"), minus("2e-6")
    ('−0.02', '0.00', '2e−6')
    """
    if text.startswith("-") and not any(digit in text for digit in "123456789") and "inf" not in text:
        text = text[1:]
    return text.replace("-", "−")


def short(value: float) -> str:
    """Return a number for an axis: 0.05, 20, 50 k, 2 M."""
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return minus(f"{value / factor:.4g}{THIN}{prefix}")
    return minus(f"{value:.4g}")


def seconds(value: float) -> str:
    """Return a duration: 18.4 µs, 3.20 ms, 41.2 s, 12.5 min."""
    factor, unit = scale(value, "s")
    return f"{significant(value * factor)}{unit}"


def about(value: float) -> str:
    """Return about how long something takes: 8 s, 70 s, 4 min, 1.5 h.

    >>> about(68).replace(THIN, " "), about(240).replace(THIN, " "), about(5400).replace(THIN, " ")
    ('70 s', '4 min', '1.5 h')
    """
    if value >= 3600:
        return f"{value / 3600:.2g}{THIN}h"
    if value >= 100:
        return f"{value / 60:.2g}{THIN}min"
    return f"{value:.0f}{THIN}s" if value < 10 else f"{round(value, -1):.0f}{THIN}s"


def microseconds(value: float) -> str:
    """Return a duration given in microseconds."""
    return seconds(value * 1e-6)


def size(count: float) -> str:
    """Return bytes in SI units (1 MB = 10^6 bytes): 812 B, 3.25 MB."""
    factor, unit = scale(count, "bytes")
    return f"{significant(count * factor)}{unit}" if factor != 1 else minus(f"{count:.0f}{unit}")


def scale(value: float, unit: str) -> tuple[float, str]:
    """Return the factor and the unit in which a value of a metric is shown: (1000.0, " ms") for 0.02 s."""
    size = abs(value)
    match unit:
        case "%":
            return 100.0, f"{THIN}%"
        case "us" | "µs":
            factor, shown = scale(value * 1e-6, "s")
            return factor * 1e-6, shown
        case "s":
            steps = ((1.0, "s"), (1e3, "ms"), (1e6, "µs"))
            found = next((step for step in steps if size * step[0] >= 0.9995), (1e9, "ns") if value else steps[0])
            factor, name = (1 / 60, "min") if size >= 600 else found
            return factor, f"{THIN}{name}"
        case "bytes" | "B":
            steps = ((1e-9, "GB"), (1e-6, "MB"), (1e-3, "kB"))
            factor, name = next((step for step in steps if size * step[0] >= 1), (1.0, "B"))
            return factor, f"{THIN}{name}"
        case "/s":
            return (1e-6, f"{THIN}M/s") if value >= 1e6 else (1.0, f"{THIN}/s")
        case "times":
            return 1.0, "×"
        case "count" | "":
            return 1.0, ""
        case _:
            return 1.0, f"{THIN}{unit}"


def rate(value: float) -> str:
    """Return a rate per second with three digits: 182 000 /s, 35.2 M/s."""
    factor, unit = scale(value, "/s")
    step = 10.0 ** max(0, math.floor(math.log10(value)) - 2) if 0 < value < 1e6 else 1.0
    return f"{significant(round(value / step) * step if step > 1 else value * factor)}{unit}"


def integer(value: float) -> str:
    """Return a whole number with its thousands separated."""
    return minus(f"{value:,.0f}".replace(",", THIN))


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
        return minus(str(value))
    match unit:
        case "%":
            return minus(f"{100 * value:.2f}{THIN}%")
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
    return minus(f"{digits}e{int(exponent)}")


def spread(mean: float, sd: float | None, n: int, unit: str) -> str:
    """Return a mean with its standard deviation in the same unit: 99.01 % (sd 0.01, n = 3)."""
    text = quantity(mean, unit)
    if sd is None:
        return text
    factor, suffix = scale(mean, unit)
    decimals = len(text.removesuffix(suffix).partition(".")[2])
    shown = f"{sd * factor:.{decimals}f}"
    return f"{text} (sd {shown if float(shown) else significant(sd * factor, 1)}, n = {n})"


def measured(value: float | None, over: str, n: int, sd: float | None, unit: str) -> str:
    """Return a measured value for a requirement: 99.01 % (sd 0.01, n = 3), max 19.4 s (n = 3), 98.45 %."""
    if value is None:
        return "not measured"
    if over == "mean":
        return spread(value, sd, n, unit)
    return quantity(value, unit) if n == 1 else f"{over} {quantity(value, unit)} (n = {n})"


def demand(value: float, unit: str) -> str:
    """Return a threshold as its author wrote it: 95 %, not 95.00 %."""
    if unit == "%":
        return minus(f"{100 * value:.10g}{THIN}%")
    if unit in ("us", "µs", "bytes", "B", "count", "/s"):
        return quantity(value, unit)
    return f"{minus(f'{value:.10g}')}{'×' if unit == 'times' else THIN + unit if unit else ''}"


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
