from django.db import migrations, models


def remove_captured(apps, schema_editor):
    """Remove an index that MongoDB would look at for each row that is marked, and nobody uses."""
    if schema_editor.connection.vendor == "mongodb":
        event = apps.get_model("outbox", "OutboxEvent")
        [captured] = [each for each in event._meta.indexes if each.name == "outbox_event_captured"]
        schema_editor.remove_index(event, captured)


def add_captured(apps, schema_editor):
    if schema_editor.connection.vendor == "mongodb":
        event = apps.get_model("outbox", "OutboxEvent")
        [captured] = [each for each in event._meta.indexes if each.name == "outbox_event_captured"]
        schema_editor.add_index(event, captured)


class Migration(migrations.Migration):
    dependencies = [
        ("outbox", "0004_find_blocked_rows"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="outboxevent",
            index=models.Index(
                condition=models.Q(("attempts__gt", 0)),
                fields=["state", "occurred_at"],
                name="outbox_event_failed",
            ),
        ),
        migrations.RemoveIndex(model_name="outboxevent", name="outbox_event_blocked"),
        migrations.RemoveIndex(model_name="outboxevent", name="outbox_event_dead"),
        migrations.RunPython(remove_captured, add_captured),
    ]
