from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("routing", "0011_caches_and_owners")]
    operations = [
        migrations.RunSQL(
            "CREATE TRIGGER moe_notify AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON routing_proposal "
            "FOR EACH STATEMENT EXECUTE FUNCTION moe_notify_change();",
            "DROP TRIGGER moe_notify ON routing_proposal;",
        ),
    ]
