from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Deadline",
            fields=[
                (
                    "order_id",
                    models.CharField(
                        db_column="_id", max_length=64, primary_key=True, serialize=False
                    ),
                ),
                ("expires_at", models.DateTimeField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("armed", "armed"),
                            ("fired", "fired"),
                            ("forgotten", "forgotten"),
                        ],
                        default="armed",
                        max_length=16,
                    ),
                ),
                ("version", models.PositiveIntegerField(default=1)),
                ("settled_at", models.DateTimeField(blank=True, null=True)),
                ("correlation_id", models.CharField(blank=True, default="", max_length=128)),
            ],
            options={
                "db_table": "expiration_deadline",
                "indexes": [
                    models.Index(fields=["state", "expires_at"], name="expiration_overdue")
                ],
            },
        ),
    ]
