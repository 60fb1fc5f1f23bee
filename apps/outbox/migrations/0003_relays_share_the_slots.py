from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("outbox", "0002_slots_parking_and_guard"),
    ]

    operations = [
        migrations.DeleteModel(name="RelayLease"),
        migrations.RemoveIndex(model_name="outboxevent", name="outbox_event_pending"),
        migrations.AddIndex(
            model_name="outboxevent",
            index=models.Index(
                condition=models.Q(("state", "captured")),
                fields=["occurred_at"],
                name="outbox_event_captured",
            ),
        ),
    ]
