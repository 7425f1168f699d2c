"""Times of day and dates."""

from __future__ import annotations

import re
from dataclasses import dataclass

_MONTHS = "january february march april may june july august september october november december".split()
_MONTH = rf"(?P<month>{'|'.join(m[:3] + (f'(?:{m[3:]})?' if m[3:] else '') for m in _MONTHS)})\.?"
_DAY = r"(?P<day>\d{1,2})(?:\s*\^?\s*\{?\s*(?:st|nd|rd|th)\s*\}?)?"
_YEAR = r"(?P<year>\d{4})"
_DATES = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?:the\s+)?{_DAY}\s*(?:of\s+)?{_MONTH}(?:\s*,?\s*{_YEAR})?",
        rf"{_MONTH}\s*(?:the\s+)?{_DAY}(?:\s*,?\s*{_YEAR})?",
        rf"{_MONTH}\s*,?\s*{_YEAR}",
        r"(?P<year>\d{4})-(?P<number>\d{2})-(?P<day>\d{2})",
    )
]
_WEEKDAY = re.compile(
    r"(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\.?\s*,\s*", re.IGNORECASE
)
_TIME = re.compile(
    r"(?P<hour>\d{1,2})(?:\s*[:.]\s*(?P<minute>\d{2})(?:\s*:\s*(?P<second>\d{2}))?)?\s*"
    r"(?P<half>a\.?\s?m\.?|p\.?\s?m\.?)?\s*(?:o'clock)?\s*(?P<late>in the (?:morning|afternoon|evening))?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Time:
    """A time of day; `half` is "a" or "p" where AM or PM is said."""

    hour: int
    minute: int
    second: int
    half: str = ""

    def seconds(self) -> int:
        """Since midnight, on the 24-hour clock where AM or PM is known."""
        hour = self.hour % 12 + (12 if self.half == "p" else 0) if self.half else self.hour
        return hour * 3600 + self.minute * 60 + self.second


def read_time(text: str) -> Time | None:
    """The time a spelled answer states: with minutes of two digits, or with AM or PM."""
    named = {"noon": Time(12, 0, 0, "p"), "midnight": Time(12, 0, 0, "a")}.get(
        text.lower().removeprefix("12 ")
    )
    if named is not None:
        return named
    match = _TIME.fullmatch(text.strip())
    if match is None or not (match["minute"] or match["half"]):
        return None
    if not match["half"] and "." in text:
        return None  # 3.30 is a number
    half = (match["half"] or "")[:1].lower()
    if match["late"]:
        half = half or ("a" if "morning" in match["late"].lower() else "p")
    time = Time(int(match["hour"]), int(match["minute"] or 0), int(match["second"] or 0), half)
    if time.minute > 59 or time.second > 59 or time.hour > (12 if half and time.hour <= 12 else 24):
        return None
    return time


def same_time(gold: Time, answer: Time) -> bool:
    """Whether both are one time; AM or PM may be left out on one side, up to 12:59."""
    if gold.seconds() == answer.seconds() and bool(gold.half) == bool(answer.half):
        return True
    if gold.half and answer.half:
        return False
    bare, said = (gold, answer) if answer.half else (answer, gold)
    if not said.half:
        return False
    if bare.hour > 12 or bare.hour == 0:
        return bare.seconds() == said.seconds()
    return (bare.hour % 12, bare.minute, bare.second) == (said.hour % 12, said.minute, said.second)


@dataclass(frozen=True)
class Date:
    """A date; None for what it does not say."""

    year: int | None
    month: int
    day: int | None


def read_date(text: str) -> Date | None:
    """The date a spelled answer states; None where it is none."""
    text = " ".join(_WEEKDAY.sub("", text.strip(), count=1).split())
    for pattern in _DATES:
        match = pattern.fullmatch(text)
        if match is None:
            continue
        found = match.groupdict()
        month = int(found["number"]) if found.get("number") else _month(found["month"])
        day = int(found["day"]) if found.get("day") else None
        if not 1 <= month <= 12 or (day is not None and not 1 <= day <= 31):
            return None
        return Date(int(found["year"]) if found.get("year") else None, month, day)
    return None


def _month(word: str) -> int:
    return next(k for k, month in enumerate(_MONTHS, 1) if month.startswith(word[:3].lower()))
