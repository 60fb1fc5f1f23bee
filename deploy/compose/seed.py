"""python -m deploy.compose.seed: `seed_demo` with the demo seller's id, as in the local stack."""

from __future__ import annotations

import os
import sys

import pymongo

SELLER = "seller@example.com"


def main() -> None:
    # Only this place looks into another service's database: it sets a stage.
    with pymongo.MongoClient[dict[str, object]](os.environ["MONGODB_URI"]) as client:
        seller = client["ticketing_auth"]["accounts_user"].find_one({"email": SELLER})
    if seller is None:
        sys.exit(f"seed: {SELLER} is gone from auth, so nobody can sell the demo tickets.")
    command = (sys.executable, "manage.py", "seed_demo", "--seller-id", str(seller["_id"]))
    os.execv(command[0], command)  # noqa: S606 - it takes our place


if __name__ == "__main__":
    main()
