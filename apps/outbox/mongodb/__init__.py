"""The database engine under an outbox on MongoDB.

django-mongodb-backend 5.2.4 with three faults repaired; docs/adr/0003 says which and why, and what
to run again before the version is raised.
"""
