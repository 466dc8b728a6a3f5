from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from moe_site.signing_in.factor import factor_remove


class Command(BaseCommand):
    help = "Let somebody who lost phone and recovery codes sign in to the admin with the password alone."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["username"]
        user = User.objects.filter(username=name).first()
        if user is None:
            raise CommandError(f"There is nobody called '{name}' in the admin.")
        if not factor_remove([user]):
            self.stdout.write(f"'{name}' has no second factor.")
            return
        self.stdout.write(f"'{name}' signs in with the password alone now, and can set up another app in the admin.")
