"""The whole system on one machine, without containers: `make run`.

stack.py lists everything that runs. The supervisor (PyPI's `supervisor`) keeps it running; here is
only what it lacks: fetching the servers, starting in the order of readiness, one log, one table.
"""
