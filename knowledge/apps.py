from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from procrastinate.contrib.django.apps import ProcrastinateConfig


class KnowledgeConfig(AppConfig):
    name = "knowledge"
    verbose_name = "Knowledge"

    def ready(self) -> None:
        from simple_history.signals import pre_create_historical_record

        from knowledge import checks  # noqa: F401  (registers the system checks)
        from knowledge.models.keeping import history_named

        post_migrate.connect(_after_migration, sender=self)
        pre_create_historical_record.connect(history_named, dispatch_uid="knowledge.history_named")


def _after_migration(**_: Any) -> None:
    from knowledge.inprocess import embedding_models_ensure

    embedding_models_ensure()


class QueueConfig(ProcrastinateConfig):
    """The queue that ingestion jobs wait in; what of it concerns people is shown by the jobs' own pages."""

    def ready(self) -> None:
        from django.contrib import admin
        from procrastinate.contrib.django.models import ProcrastinateJob

        super().ready()
        admin.site.unregister(ProcrastinateJob)
