from django.db import migrations, models


def captured(apps):
    """Return the model, and the index of rows that are handed to change data capture."""
    event = apps.get_model("outbox", "OutboxEvent")
    [index] = [each for each in event._meta.indexes if each.name == "outbox_event_captured"]
    return event, index


def remove_captured(apps, schema_editor):
    """Remove an index that MongoDB would look at for each row that is marked, and nobody uses."""
    if schema_editor.connection.vendor == "mongodb":
        schema_editor.remove_index(*captured(apps))


def add_captured(apps, schema_editor):
    if schema_editor.connection.vendor == "mongodb":
        schema_editor.add_index(*captured(apps))


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
