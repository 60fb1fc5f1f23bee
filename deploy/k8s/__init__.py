"""Kubernetes: the manifests, and the tests that hold them against the code."""
