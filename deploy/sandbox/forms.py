"""Stripe's form encoding: metadata[order_id]=1, payment_method_types[0]=card, expand[]=charge."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

from deploy.sandbox.errors import ApiError

Params = dict[str, Any]
KEY = re.compile(r"^[^\[\]]+(\[[^\[\]]*\])*$")
DEEPEST = 8


def decode(text: str) -> Params:
    """Return the nested parameters of a form or a query.

    Raises:
        ApiError: a name is malformed, too deep, or stands for a value and a hash at once.
    """
    tree: Params = {}
    for name, value in parse_qsl(text, keep_blank_values=True, max_num_fields=500):
        parts = [part.rstrip("]") for part in name.split("[")]
        if not KEY.match(name) or len(parts) > DEEPEST:
            raise ApiError(400, f"Invalid request (check your POST parameters): {name[:80]}")
        _insert(tree, parts, value)
    return {name: _lists(value) for name, value in tree.items()}


def _insert(tree: Params, parts: list[str], value: str) -> None:
    node = tree
    for part in parts[:-1]:
        child = node.setdefault(part, {})
        if not isinstance(child, dict):
            raise ApiError(400, f"Invalid hash: {part}", param=parts[0])
        node = child
    last = parts[-1] if parts[-1] or len(parts) == 1 else str(len(node))
    if isinstance(node.get(last), dict):
        raise ApiError(400, f"Invalid string: {last}", param=parts[0])
    node[last] = value


def _lists(value: object) -> object:
    if not isinstance(value, dict):
        return value
    if value and all(name.isdecimal() for name in value):
        return [_lists(value[name]) for name in sorted(value, key=int)]
    return {name: _lists(child) for name, child in value.items()}
