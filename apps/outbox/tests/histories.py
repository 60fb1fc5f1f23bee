"""Legal histories for the tests of their checker, and one way to break each of its promises."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

from apps.outbox.testing.checker import Kind
from apps.outbox.testing.history import (
    Delivery,
    Event,
    Fault,
    History,
    Letter,
    Outcome,
    Reading,
    Row,
    Transaction,
)

TOPIC = "test.gates"
GROUP = "readers"
KEYS = ("north", "south", "east")
SENT, DEAD, PENDING, REPLAYED = "sent", "dead", "pending", "replayed"


@dataclass
class Story:
    """A history that can be changed."""

    transactions: list[Transaction] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    buried: list[Delivery] = field(default_factory=list)
    received: list[str] = field(default_factory=list)
    effects: dict[str, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)

    def event(self, key):
        version = self.versions[key] = self.versions.get(key, 0) + 1
        return Event(
            id=f"{key}-{version}-{len(self.transactions)}",
            topic=TOPIC,
            key=key,
            version=version,
            type="opened",
            payload=f"payload of {key} {version}",
            headers=f"headers of {key} {version}",
        )

    def transact(self, outcome, *fates, is_there=True):
        """Add a transaction of (key, fate) for each event; `is_there` decides an unknown one."""
        before = dict(self.versions)
        events = [self.event(key) for key, _ in fates]
        self.transactions.append(Transaction(outcome=outcome, events=tuple(events)))
        if outcome is Outcome.ABORTED or (outcome is Outcome.UNKNOWN and not is_there):
            self.versions = before
            return
        for event, (_, fate) in zip(events, fates, strict=True):
            self.happen(event, fate)

    def happen(self, event, fate):
        state = {SENT: "published", REPLAYED: "published", DEAD: "dead", PENDING: "pending"}[fate]
        self.rows.append(Row(event=event, state=state))
        if fate in {DEAD, REPLAYED}:
            letter = "open" if fate == DEAD else "replayed"
            self.letters.append(Letter(event_id=event.id, topic=TOPIC, state=letter))
            bare = Event(id=event.id, topic=f"{TOPIC}.dlq", key=event.key, version=event.version)
            self.buried.append(Delivery(event=bare, partition=0, offset=len(self.buried)))
        if fate in {SENT, REPLAYED}:
            self.deliver(event)
            self.received.append(event.id)
            self.effects[event.key] = self.effects.get(event.key, 0) + 1

    def deliver(self, event, partition=None):
        home = KEYS.index(event.key) % 2 if partition is None else partition
        self.deliveries.append(Delivery(event=event, partition=home, offset=len(self.deliveries)))

    def repeat(self, first, last):
        """A relay was killed after it had sent these, and its successor sent them again."""
        again = self.deliveries[first:last]
        self.faults.append(Fault(at=0.0, what="kill", in_flight=len(again)))
        self.deliveries[last:last] = again

    def history(self):
        return History(
            transactions=iter(self.transactions),
            deliveries=iter(self.deliveries),
            rows=iter(self.rows),
            letters=iter(self.letters),
            buried=iter(self.buried),
            readings=[
                Reading(
                    group=GROUP,
                    topics=frozenset({TOPIC}),
                    received=tuple(self.received),
                    effects=self.effects,
                )
            ],
            faults=iter(self.faults),
        )


def a_story():
    """One of everything that may happen."""
    story = Story()
    story.transact(Outcome.COMMITTED, ("north", SENT), ("south", SENT), ("east", SENT))
    story.transact(Outcome.ABORTED, ("north", SENT), ("south", SENT))
    story.transact(Outcome.COMMITTED, ("north", SENT), ("south", DEAD))
    story.transact(Outcome.UNKNOWN, ("north", SENT), ("east", SENT))
    story.transact(Outcome.UNKNOWN, ("north", SENT), ("east", SENT), is_there=False)
    story.transact(Outcome.COMMITTED, ("south", REPLAYED), ("north", PENDING))
    story.repeat(1, 3)
    return story


@st.composite
def stories(draw):
    story = Story()
    fates = st.tuples(st.sampled_from(KEYS), st.sampled_from((SENT, SENT, DEAD, PENDING, REPLAYED)))
    for _ in range(draw(st.integers(1, 8))):
        outcome = draw(st.sampled_from(Outcome))
        chosen = draw(st.lists(fates, min_size=1, max_size=3))
        story.transact(outcome, *chosen, is_there=draw(st.booleans()))
    for _ in range(draw(st.integers(0, 3))):
        first = draw(st.integers(0, len(story.deliveries)))
        story.repeat(first, draw(st.integers(first, len(story.deliveries))))
    return story


def sent_rows(story):
    """The rows whose events were surely committed and sent, with which each fault begins.

    Of a transaction whose outcome nobody was told, nobody can miss what is gone without a trace.
    """
    dead = {letter.event_id for letter in story.letters}
    sure = {
        event.id
        for transaction in story.transactions
        if transaction.outcome is Outcome.COMMITTED
        for event in transaction.events
    }
    return [row for row in story.rows if row.event.id in sure - dead and row.state == "published"]


def unsend(story, event):
    story.deliveries = [each for each in story.deliveries if each.event.id != event.id]
    story.received = [each for each in story.received if each != event.id]
    story.effects[event.key] -= 1


def forget_row(story, event):
    story.rows = [row for row in story.rows if row.event.id != event.id]


def mark(story, event, state):
    story.rows = [
        replace(row, state=state) if row.event.id == event.id else row for row in story.rows
    ]


def replace_record(story, event, **changes):
    """Change the event on its topic, each time that it is there."""
    story.deliveries = [
        replace(each, event=replace(each.event, **changes)) if each.event.id == event.id else each
        for each in story.deliveries
    ]


def lose_captured(story, event):
    unsend(story, event)
    mark(story, event, "captured")


def prune_unsent(story, event):
    unsend(story, event)
    forget_row(story, event)


def invent(story, event):
    story.deliver(replace(event, id="invented", version=10**6))


def resurrect(story, event):
    ghost = replace(event, id="ghost", version=10**6)
    story.transactions.append(Transaction(outcome=Outcome.ABORTED, events=(ghost,)))
    story.rows.append(Row(event=ghost, state="pending"))


def tear(story, event):
    half = replace(event, id="half", version=10**6)
    story.transactions.append(Transaction(outcome=Outcome.UNKNOWN, events=(event, half)))


def swap(story, event):
    """Let the first version of a key come behind a later one."""
    later = replace(event, id="later", version=event.version + 10**6)
    story.transactions.append(Transaction(outcome=Outcome.COMMITTED, events=(later,)))
    story.rows.append(Row(event=later, state="published"))
    place = next(n for n, each in enumerate(story.deliveries) if each.event.id == event.id)
    sent = Delivery(event=later, partition=story.deliveries[place].partition, offset=-1)
    story.deliveries.insert(place, sent)


def move_key(story, event):
    story.faults.append(Fault(at=0.0, what="kill", in_flight=1))
    story.deliver(event, partition=7)


def repeat_without_a_fault(story, event):
    story.faults = []
    story.deliver(event)


def bury_a_sent_one(story, event):
    story.letters.append(Letter(event_id=event.id, topic=TOPIC, state="open"))


def kill_quietly(story, event):
    unsend(story, event)
    mark(story, event, "dead")


def forget_the_topic_of_letters(story, event):
    unsend(story, event)
    mark(story, event, "dead")
    story.letters.append(Letter(event_id=event.id, topic=TOPIC, state="open"))


def skip_effect(story, event):
    story.received.remove(event.id)


def count_twice(story, event):
    story.effects[event.key] += 1


def receive_twice(story, event):
    story.received.append(event.id)


FAULTS = {
    "a captured row that never came": (lose_captured, Kind.LOST),
    "an unsent row was pruned": (prune_unsent, Kind.PRUNED),
    "a published row is not on its topic": (unsend, Kind.NOT_ON_TOPIC),
    "a record that nobody published": (invent, Kind.INVENTED),
    "a row of an aborted transaction": (resurrect, Kind.INVENTED),
    "half of a transaction": (tear, Kind.TORN),
    "another payload": (
        lambda story, event: replace_record(story, event, payload="other"),
        Kind.DIFFERS,
    ),
    "other headers": (
        lambda story, event: replace_record(story, event, headers="other"),
        Kind.DIFFERS,
    ),
    "another key": (lambda story, event: replace_record(story, event, key="west"), Kind.DIFFERS),
    "a key on two partitions": (move_key, Kind.TWO_PARTITIONS),
    "a version behind a later one": (swap, Kind.WENT_BACK),
    "repeated without a fault": (repeat_without_a_fault, Kind.REPEATED),
    "sent, and a dead letter": (bury_a_sent_one, Kind.COUNTED_TWICE),
    "sent, and its row waits": (
        lambda story, event: mark(story, event, "pending"),
        Kind.COUNTED_TWICE,
    ),
    "dead without a letter": (kill_quietly, Kind.LETTER_MISSING),
    "a letter without its record": (forget_the_topic_of_letters, Kind.LETTER_NOT_ON_TOPIC),
    "no effect": (skip_effect, Kind.EFFECT_MISSING),
    "an effect too many": (count_twice, Kind.EFFECT_DOUBLED),
    "in the inbox twice": (receive_twice, Kind.EFFECT_DOUBLED),
}
