from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("gateway", "0003_priority")]
    operations = [
        migrations.AddField(
            model_name="apikey",
            name="group",
            field=models.CharField(
                blank=True,
                default="",
                help_text="Whose it is, for example <i>marketing</i>; rules may look at it. Several keys may be of one group.",
                max_length=100,
            ),
        ),
    ]
