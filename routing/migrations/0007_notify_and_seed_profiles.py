"""Seed the profiles every installation starts with, and let changes of what the router reads be heard."""

from django.db import migrations

TABLES = (
    "routing_routingprofile",
    "routing_routingprofile_experts",
    "routing_routingrule_profiles",
    "routing_routingrule_candidates",
    "routing_classifierversion",
    "routing_routeexample",
)
TRIGGER = (
    "CREATE TRIGGER moe_notify AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table} "
    "FOR EACH STATEMENT EXECUTE FUNCTION moe_notify_change();"
)
PROFILES = (
    ("auto", "Automatic", "Routes each request to the expert that suits it.", {}),
    (
        "auto-fast",
        "Automatic, fast",
        "As auto, but of experts that suit about equally the one that can answer soonest.",
        {"speed": 2.0},
    ),
    (
        "auto-best",
        "Automatic, best",
        "As auto, but of experts that suit about equally the one with the largest model, however long it takes.",
        {"speed": 0.0, "strength": 1.0},
    ),
    (
        "auto-cheap",
        "Automatic, cheap",
        "As auto, but of experts that suit about equally the one that costs least.",
        {"speed": 0.1, "cost": 2.0},
    ),
)


def seed(apps, schema_editor):
    profiles = apps.get_model("routing", "RoutingProfile").objects
    taken = set(apps.get_model("routing", "Expert").objects.values_list("slug", flat=True))
    for number, (slug, name, description, weights) in enumerate(PROFILES, start=1):
        if slug not in taken:
            profiles.create(slug=slug, name=name, description=description, position=number * 10, **weights)


class Migration(migrations.Migration):
    dependencies = [("routing", "0006_rules_profiles_examples")]
    operations = [
        migrations.RunPython(seed, migrations.RunPython.noop, elidable=False),
        *(migrations.RunSQL(TRIGGER.format(table=table), f"DROP TRIGGER moe_notify ON {table};") for table in TABLES),
    ]
