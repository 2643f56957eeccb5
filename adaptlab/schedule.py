"""A workshop day as slots with clock times: the time that is left is shared out by talk, exercises and computing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from config import LabError

STEP = 5  # minutes; slots begin and end on the clock's fives
EXERCISE_MINUTES = 10.0  # what an exercise weighs beside talk and computing
OPENING, CLOSING = 10, 10


@dataclass(frozen=True)
class Day:
    """A day: minutes from beginning to end, and breaks as (share of the teaching done, minutes, what it is)."""

    name: str
    minutes: int
    breaks: tuple[tuple[float, int, str], ...]


HALF_DAY = Day("Half day", 240, ((0.5, 20, "Break"),))
FULL_DAY = Day("Full day", 450, ((0.25, 15, "Break"), (0.5, 60, "Lunch"), (0.75, 15, "Break")))


@dataclass(frozen=True)
class Topic:
    """One notebook to be taught; `talk` is None where nobody said how long, `run` are minutes of computing."""

    number: str
    title: str
    talk: float | None
    run: float
    exercises: int


@dataclass(frozen=True)
class Slot:
    """A stretch of the day, with its times as HH:MM; `number` is empty where no notebook is taught."""

    begin: str
    end: str
    minutes: int
    title: str
    number: str = ""
    run_minutes: float = 0.0


def clock(text: str) -> int:
    """Minutes after midnight of a time like 09:00. Raises a LabError for what is none."""
    match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", text)
    if match is None:
        raise LabError(f"--start is {text!r}: give a time such as 09:00.")
    return int(match[1]) * 60 + int(match[2])


def plan(day: Day, topics: Sequence[Topic], start: int) -> list[Slot]:
    """The day's slots in order; together they take exactly `day.minutes`."""
    pauses = sum(minutes for _, minutes, _ in day.breaks)
    lengths = shares([weight(topic, topics) for topic in topics], day.minutes - pauses - OPENING - CLOSING)
    entries: list[tuple[str, int, Topic | None]] = [("Opening", OPENING, None)]
    taught, waiting = 0, list(day.breaks)
    for topic, minutes in zip(topics, lengths, strict=True):
        entries.append((topic.title, minutes, topic))
        taught += minutes
        while waiting and taught >= waiting[0][0] * sum(lengths) and topic is not topics[-1]:
            _, length, name = waiting.pop(0)
            entries.append((name, length, None))
    entries += [(name, length, None) for _, length, name in waiting]
    entries.append(("Closing", CLOSING, None))
    return _clocked(entries, start)


def weight(topic: Topic, topics: Sequence[Topic]) -> float:
    """What a topic needs: talk (the mean of the others' where nobody said), its exercises, and its computing."""
    known = [other.talk for other in topics if other.talk is not None]
    talk = topic.talk if topic.talk is not None else (sum(known) / len(known) if known else 1.0)
    return talk + topic.exercises * EXERCISE_MINUTES + topic.run


def shares(weights: Sequence[float], minutes: int) -> list[int]:
    """`minutes` dealt out by weight in steps of five, whole and with nothing left (largest remainders first)."""
    steps, rest = divmod(minutes, STEP)
    exact = [steps * one / sum(weights) for one in weights]
    floors = [int(value) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda at: floors[at] - exact[at])
    for at in by_remainder[: steps - sum(floors)]:
        floors[at] += 1
    dealt = [value * STEP for value in floors]
    dealt[-1] += rest
    return dealt


def _clocked(entries: Sequence[tuple[str, int, Topic | None]], start: int) -> list[Slot]:
    """Slots with their times, one after another."""
    slots, now = [], start
    for title, minutes, topic in entries:
        begin, now = now, now + minutes
        slots.append(
            Slot(_time(begin), _time(now), minutes, title, topic.number if topic else "", topic.run if topic else 0.0)
        )
    return slots


def _time(minutes: int) -> str:
    """HH:MM."""
    return f"{minutes // 60 % 24:02d}:{minutes % 60:02d}"
