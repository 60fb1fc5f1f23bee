"""Listings for a demonstration: invented bands, plays, clubs and festivals, and who sells them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from random import Random
from typing import Final

from apps.tickets.services import Listing

SELLERS: Final = 7
HORIZON_DAYS: Final = 240
LISTED_WITHIN_MINUTES: Final = 30 * 24 * 60

BANDS: Final = (
    "The Paper Lanterns", "Velvet Harbour", "Ana Brisk Trio", "Saltwater Choir", "Nine Owls",
    "Copper Weather", "The Midnight Bakers", "Lowland Echo", "Mira & the Tides", "Glasshouse Four",
    "Northern Lights Quartet", "Dust & Violets", "The Quiet Riot Club", "Kestrel Avenue",
    "Sunday Machinery", "Old Tram Orchestra", "Indigo Parade", "The Borrowed Umbrellas",
    "Wren Calloway", "Static Meadow", "Brass on the Hill", "Foxglove Radio",
)  # fmt: skip
HALLS: Final = (
    "Harbour Hall", "The Foundry", "Corn Exchange", "Lantern Rooms", "Riverside Arena",
    "St Brannock's", "The Old Depot", "Palace Ballroom", "Blue Door Club", "Quarry Stage",
)  # fmt: skip
PLAYS: Final = (
    "The Clockmaker's Daughter", "Three Chairs", "A Winter in Ostrava", "The Last Ferryman",
    "Salt and Paper", "Mrs Arkwright Regrets", "The Understudy's Revenge", "Half a Lighthouse",
    "Letters to the Tide", "The Beekeeper's Trial", "Nobody Leaves at Midnight", "Orchard Street",
    "The Cartographers", "An Inconvenient Heir",
)  # fmt: skip
THEATRES: Final = (
    "Harbour Theatre", "The Gaslight", "Royal Court of Wexley", "Mill Lane Playhouse",
    "Garrison Theatre", "The Little Proscenium",
)  # fmt: skip
CLUBS: Final = (
    "Wexley Rovers", "Port Halden", "Ashford Kestrels", "Marsh End United", "Tarnfield Athletic",
    "Northgate Foxes", "Brindle City", "Redcar Mariners", "Castle Vale", "Elmstead Wanderers",
)  # fmt: skip
SPORTS: Final = ("football", "basketball", "ice hockey", "rugby", "handball")
FESTIVALS: Final = (
    "Meadowlight", "Saltmarsh Sounds", "Firefly Fields", "Nine Bridges Jazz", "Hill & Hollow",
    "Low Tide Weekender", "Barley Moon", "The Big Thaw", "Cider & Strings", "Electric Orchard",
)  # fmt: skip
PASSES: Final = (
    "weekend pass", "day ticket", "weekend pass with camping", "evening ticket", "family day ticket"
)  # fmt: skip


def demo_listings(count: int, *, seller_id: str, now: datetime) -> Iterator[Listing]:
    """Yield the same listings each time, but for their dates, which lie ahead of `now`.

    Args:
        count: how many.
        seller_id: an account that sells some of them; if empty, a further invented seller does.
        now: when they are listed; each a little earlier, in order.
    """
    sellers = [seller_id or _id("seller", 0), *(_id("seller", n) for n in range(1, SELLERS))]
    kinds: tuple[Callable[[Random, date], tuple[str, int]], ...] = (
        _concert, _concert, _concert, _play, _play, _match, _match, _festival
    )  # fmt: skip
    for number in range(count):
        random = Random(f"ticketing demo {number}")  # noqa: S311 (no secret)
        day = now.date() + timedelta(days=random.randint(5, HORIZON_DAYS))
        title, price_cents = random.choice(kinds)(random, day)
        age = timedelta(minutes=LISTED_WITHIN_MINUTES * (count - number) / count)
        yield Listing(
            ticket_id=_id("listing", number),
            seller_id=random.choice(sellers),
            title=title,
            price_cents=price_cents,
            listed_at=now - age,
        )


def _id(kind: str, number: int) -> str:
    return hashlib.sha256(f"ticketing demo {kind} {number}".encode()).hexdigest()[:24]


def _concert(random: Random, day: date) -> tuple[str, int]:
    place = random.choice(("standing", "balcony", _seat(random), "stalls, unnumbered"))
    title = f"{random.choice(BANDS)}, {random.choice(HALLS)}, {_day(day)}, {place}"
    return title, _price(random, 18, 95)


def _play(random: Random, day: date) -> tuple[str, int]:
    hour = random.choice(("matinee", "evening", "opening night", "last performance"))
    title = (
        f"{random.choice(PLAYS)}, {random.choice(THEATRES)}, {_day(day)} {hour}, {_seat(random)}"
    )
    return title, _price(random, 14, 78)


def _match(random: Random, day: date) -> tuple[str, int]:
    home, away = random.sample(CLUBS, 2)
    stand = random.choice(("north stand", "south stand", "family stand", "main stand"))
    title = f"{home} v {away}, {random.choice(SPORTS)}, {_day(day)}, {stand}, {_seat(random)}"
    return title, _price(random, 12, 64)


def _festival(random: Random, day: date) -> tuple[str, int]:
    title = (
        f"{random.choice(FESTIVALS)} festival {day.year}, {random.choice(PASSES)}, from {_day(day)}"
    )
    return title, _price(random, 45, 240)


def _day(day: date) -> str:
    return f"{day:%a} {day.day} {day:%b}"


def _seat(random: Random) -> str:
    return f"row {random.choice('ABCDEFGHJKLM')} seat {random.randint(1, 42)}"


def _price(random: Random, lowest: int, highest: int) -> int:
    return random.randint(lowest, highest) * 100 + random.choice((0, 0, 0, 50, 95))
