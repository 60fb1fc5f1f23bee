from __future__ import annotations

from django.db import models


class Reading(models.Model):
    """How far a reader is with each key. It is used on MongoDB alone, which needs no migration."""

    id = models.CharField(primary_key=True, max_length=64, db_column="_id")
    version = models.BigIntegerField(default=0)

    class Meta:
        db_table = "bench_reading"

    def __str__(self) -> str:
        return f"{self.id} v{self.version}"
