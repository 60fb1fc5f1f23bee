"""Holding the provider, payments, orders and tickets against each other."""
