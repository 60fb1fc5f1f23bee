from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("outbox", "0003_relays_share_the_slots"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="outboxevent",
            index=models.Index(
                condition=models.Q(("attempts__gt", 0), ("state", "pending")),
                fields=["occurred_at"],
                name="outbox_event_blocked",
            ),
        ),
    ]
