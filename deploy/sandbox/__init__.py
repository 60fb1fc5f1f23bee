"""A payment provider for machines without a Stripe key: Stripe's own API, as far as we use it.

The official library works against it with only its api_base changed, so that one code path runs
everywhere. What it keeps survives kill -9. Shapes, codes and texts follow docs.stripe.com/api in
the version that `apps.payments.gateway` pins.
"""
