from __future__ import annotations


class CannotContinue(Exception):
    """What a person has to do first, as one clear line: it is printed without a traceback."""
