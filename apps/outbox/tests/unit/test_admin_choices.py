"""What the admin offers to filter by is written down there: it must be all that there is."""

from __future__ import annotations

import re
from pathlib import Path

from apps.outbox.admin.kinds import KINDS
from apps.outbox.admin.trail import ACTIONS

PACKAGE = Path(__file__).parents[2]
SOURCES = [
    path.read_text()
    for path in PACKAGE.rglob("*.py")
    if not {"tests", "testing", "admin", "management"} & {*path.relative_to(PACKAGE).parts}
]


def test_every_kind_of_poison_is_offered():
    kinds = {kind for text in SOURCES for kind in re.findall(r'Poison\(\s*"(\w+)"', text)}

    assert len(kinds) > 5
    assert kinds - {*KINDS} == set()


def test_every_action_of_the_trail_is_offered():
    named = r'note\([^)]*?"([a-z]+(?:_[a-z]+)*)"|action="(\w+)"|^    State\.\w+: "(\w+)"'
    actions = {
        name
        for text in SOURCES
        for names in re.findall(named, text, re.MULTILINE)
        for name in names
        if name
    }

    assert {"retry_now", "discard_parked", "switch_transport", "replay"} <= actions
    assert actions - {*ACTIONS} == set()
