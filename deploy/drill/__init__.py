"""A disaster on purpose: every store of a running system is lost, and comes back from a backup."""
