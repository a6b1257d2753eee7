"""An editing trace like a public one, made by its habits: as long, with the same kinds of runs and jumps, other text.

Several authors each have a part of the document, in which they write as one alone does; a jump out of it takes another
part, where nobody else is and whose text they have whole. So two never insert at one place at the same time, as in the
public traces of several, and what is there at the end is known without a CRDT.
"""

from dataclasses import dataclass
from random import Random

from benchmarks.compare.habits import BACK, REPLACE, TYPE, Author, Profile
from benchmarks.compare.traces import Patch, Trace, Transaction

__all__ = ["written"]

PARTS = 4
"""Of the document, for each of several authors."""
APART = 20
"""Characters between the places that one transaction edits."""
LETTERS = "eeetaoinshrdlucmfwypvbgk    \n"


@dataclass(slots=True)
class _Part:
    """A stretch of the document. by, last: who edits it, and its latest transaction; known: its length, to each."""

    text: bytearray
    known: list[int]
    by: int
    last: int = 0


@dataclass(slots=True)
class _Typist:
    """An author at work. seen: the transaction up to which it has those of all; latest: of each author, its last one
    that is here (-1: none)."""

    habits: Author
    left: int
    part: int
    latest: list[int]
    seen: int = 1
    cursor: int = 0
    kind: str = TYPE
    run: int = 0


class _Writing:
    def __init__(self, profile: Profile, seed: int) -> None:
        self.profile = profile
        self.random = Random(f"{seed}-{profile.name}")
        count = len(profile.authors)
        parts = count * PARTS if count > 1 else 1
        texts = [self._letters(max(1, profile.begins // parts)) for _ in range(parts)]
        self.parts = [_Part(bytearray(text.encode()), [len(text)] * count, index) for index, text in enumerate(texts)]
        self.typists = [_Typist(habits, habits.transactions, index, [0] + [-1] * (count - 1))
                        for index, habits in enumerate(profile.authors)]  # fmt: skip
        self.made = [Transaction(0, (), (Patch(0, 0, "\n".join(texts)),))]
        self._changes = [(0, 0)]  # of each transaction: its part, and how much longer that is by it
        self._versions = [tuple(self.typists[0].latest)]

    def _letters(self, count: int) -> str:
        return "".join(self.random.choices(LETTERS, k=count))

    def whole(self) -> Trace:
        """Until everybody has written as much as its original."""
        waiting = list(range(len(self.typists)))
        agent = 0
        while waiting:
            typist = self.typists[agent]
            burst = typist.habits.burst.draw(self.random) if len(waiting) > 1 else typist.left
            for _ in range(min(burst, typist.left)):
                self._write(agent, typist)
            if not typist.left:
                waiting.remove(agent)
            others = [each for each in waiting if each != agent] or waiting
            if others:
                (agent,) = self.random.choices(others, [self.typists[each].left for each in others])
        # Whoever is last has all: the end of a trace comes behind everything.
        text = "\n".join(part.text.decode() for part in self.parts)
        return Trace(self.profile.name, len(self.typists), self.made, text)

    def _write(self, agent: int, typist: _Typist) -> None:
        number = len(self.made)
        self._hear(agent, typist, number - self.profile.delay)
        if typist.run <= 0:
            self._turn(agent, typist)
        typist.run -= 1
        part = self.parts[typist.part]
        base = sum(each.known[agent] + 1 for each in self.parts[: typist.part])
        patches = self._patches(typist, part, base)
        grown = sum(len(patch.inserted) - patch.deleted for patch in patches)
        part.known[agent] += grown
        part.last, part.by = number, agent
        parents = self._parents(typist) if len(self.typists) > 1 else ()
        typist.latest[agent] = number
        typist.left -= 1
        self.made.append(Transaction(agent, parents, patches))
        self._changes.append((typist.part, grown))
        self._versions.append(tuple(typist.latest))

    def _hear(self, agent: int, typist: _Typist, until: int) -> None:
        """What others did before that is here by now."""
        for number in range(typist.seen, until):
            by = self.made[number].agent
            if by != agent:
                index, grown = self._changes[number]
                self.parts[index].known[agent] += grown
                typist.latest[by] = number
        typist.seen = max(typist.seen, until)

    def _parents(self, typist: _Typist) -> tuple[int, ...]:
        here = sorted({number for number in typist.latest if number >= 0})
        return tuple(
            number
            for number in here
            if not any(self._versions[other][self.made[number].agent] >= number for other in here if other != number)
        )

    def _turn(self, agent: int, typist: _Typist) -> None:
        """Another run begins, here or elsewhere."""
        random, habits = self.random, typist.habits.habits
        then = habits[typist.kind].then if typist.kind in habits else {TYPE: 1.0}
        (kind,) = random.choices(list(then), list(then.values()))
        habit = habits[kind]
        if (kind == typist.kind or random.random() >= habit.stays) and typist.habits.jumps:
            self._jump(agent, typist, random.choice(typist.habits.jumps))
        typist.kind, typist.run = kind, habit.length.draw(random)

    def _jump(self, agent: int, typist: _Typist, distance: int) -> None:
        size = len(self.parts[typist.part].text)
        target = typist.cursor + distance
        if not 0 <= target <= size:
            taken = {each.part for each in self.typists}
            free = [index for index, part in enumerate(self.parts)
                    if index not in taken and (part.by == agent or part.last < typist.seen)]  # fmt: skip
            if free:
                typist.part = self.random.choice(free)
                size = len(self.parts[typist.part].text)
        typist.cursor = target % (size + 1)

    def _patches(self, typist: _Typist, part: _Part, base: int) -> tuple[Patch, ...]:
        random, habit = self.random, typist.habits.habits[typist.kind]
        text, kind = part.text, typist.kind
        size = habit.deleted.draw(random) if kind != TYPE else 0
        comes = self._letters(habit.inserted.draw(random)) if kind in (TYPE, REPLACE) else ""
        if kind == BACK:
            size = min(size, typist.cursor)
            typist.cursor -= size
        at = typist.cursor
        size = min(size, len(text) - at)
        if not size and not comes:  # nothing there to delete
            comes = self._letters(1)
        places = typist.habits.places.draw(random)
        patches = []
        for place in range(places):  # each before the one before, so that none moves another
            where = at - place * (size + APART)
            if where < 0:
                break
            text[where : where + size] = comes.encode()
            patches.append(Patch(base + where, size, comes))
        typist.cursor = at + (len(patches) - 1) * (len(comes) - size) + len(comes)
        return tuple(patches)


def written(profile: Profile, seed: int = 1) -> Trace:
    """A trace by the habits of `profile`; the same one for the same seed."""
    return _Writing(profile, seed).whole()
