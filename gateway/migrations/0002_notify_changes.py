from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("gateway", "0001_initial"), ("routing", "0002_notify_changes")]
    operations = [
        migrations.RunSQL(
            "CREATE TRIGGER moe_notify AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gateway_apikey "
            "FOR EACH STATEMENT EXECUTE FUNCTION moe_notify_change();",
            "DROP TRIGGER moe_notify ON gateway_apikey;",
        )
    ]
