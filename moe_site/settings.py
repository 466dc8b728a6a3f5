"""Every setting of the project, in flat sections.

Each environment variable is read here, once, and documented in .env.example
(tests/moe_site/test_settings.py holds the two lists against each other).
"""

import os
import socket
from pathlib import Path
from typing import Any

import environ

from moe_site.secret_key import read_or_create_secret_key

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
environ.Env.read_env(os.environ.get("MOE_ENV_FILE", str(BASE_DIR / ".env")))

# --- where things live ---------------------------------------------------------------------------
MOE_DATA_DIR = Path(env.str("MOE_DATA_DIR", default="") or "var")
if not MOE_DATA_DIR.is_absolute():
    MOE_DATA_DIR = BASE_DIR / MOE_DATA_DIR

# --- security ------------------------------------------------------------------------------------
SECRET_KEY = env.str("SECRET_KEY", default="") or read_or_create_secret_key(MOE_DATA_DIR)
DEBUG = env.bool("DEBUG", default=False)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[]) or [
    "localhost",
    "127.0.0.1",
    "[::1]",
    socket.gethostname().lower(),
]
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
# Host names and networks that URLs of clients may lead to although they are not on the public internet.
FETCH_ALLOWED_HOSTS = env.list("FETCH_ALLOWED_HOSTS", default=[])
REQUIRE_API_KEY = env.bool("REQUIRE_API_KEY", default=True)
MAX_BODY_BYTES = env.int("MAX_BODY_BYTES", default=32 * 1024 * 1024)
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES
SESSION_COOKIE_HTTPONLY = True
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"

# --- model servers -------------------------------------------------------------------------------
OLLAMA_BASE_URL = [url.strip() for url in env.list("OLLAMA_BASE_URL", default=[]) if url.strip()]
OLLAMA_API_KEY = env.str("OLLAMA_API_KEY", default="")
EMBEDDED_MODELS = env.str("EMBEDDED_MODELS", default="auto").lower()
UPSTREAM_CONNECT_TIMEOUT = env.float("UPSTREAM_CONNECT_TIMEOUT", default=5.0)
UPSTREAM_FIRST_BYTE_TIMEOUT = env.float("UPSTREAM_FIRST_BYTE_TIMEOUT", default=300.0)
UPSTREAM_IDLE_TIMEOUT = env.float("UPSTREAM_IDLE_TIMEOUT", default=120.0)
UPSTREAM_MAX_RETRIES = env.int("UPSTREAM_MAX_RETRIES", default=2)
UPSTREAM_LOAD_TIMEOUT = env.float("UPSTREAM_LOAD_TIMEOUT", default=600.0)
CIRCUIT_BREAKER_THRESHOLD = env.int("CIRCUIT_BREAKER_THRESHOLD", default=3)
CIRCUIT_BREAKER_COOLDOWN = env.float("CIRCUIT_BREAKER_COOLDOWN", default=5.0)
QUEUE_LIMIT = env.int("QUEUE_LIMIT", default=64)
QUEUE_TIMEOUT = env.float("QUEUE_TIMEOUT", default=120.0)
STREAM_HEARTBEAT_SECONDS = env.float("STREAM_HEARTBEAT_SECONDS", default=10.0)

# --- decisions -----------------------------------------------------------------------------------
DECISION_RETENTION_DAYS = env.int("DECISION_RETENTION_DAYS", default=30)
# Corrections of one kind that it takes to propose a change; 0: nothing is proposed.
PROPOSAL_CORRECTIONS = env.int("PROPOSAL_CORRECTIONS", default=10)

# --- knowledge -----------------------------------------------------------------------------------
# Ingestion jobs that run at the same time on this machine; 0: other machines run them.
INGESTION_CONCURRENCY = env.int("INGESTION_CONCURRENCY", default=4)
# Scanned PDFs are read by docling, where that is installed.
KNOWLEDGE_OCR = env.bool("KNOWLEDGE_OCR", default=False)
# Folders of this machine below which folders and git repositories may be watched; none of others are read.
WATCH_FOLDERS = env.list("WATCH_FOLDERS", default=[])

# --- database ------------------------------------------------------------------------------------
# Empty: the embedded PostgreSQL under the data directory, started when the first connection is made.
DATABASE_URL = env.str("DATABASE_URL", default="")
DATABASE_POOL_SIZE = env.int("DATABASE_POOL_SIZE", default=10)
_database: dict[str, Any] = (
    dict(env.db_url_config(DATABASE_URL)) if DATABASE_URL else {"ENGINE": "moe_site.embedded.engine", "NAME": "moe"}
)
if _database["ENGINE"] == "django.db.backends.postgresql":
    _database["ENGINE"] = "moe_site.engine"
_database.setdefault("OPTIONS", {})["pool"] = {"min_size": 1, "max_size": DATABASE_POOL_SIZE, "timeout": 10}
_database["CONN_HEALTH_CHECKS"] = True
DATABASES = {"default": _database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- application ---------------------------------------------------------------------------------
INSTALLED_APPS = [
    "moe_site.apps.MoeSiteConfig",
    "gateway.apps.GatewayConfig",
    "routing.apps.RoutingConfig",
    "knowledge.apps.KnowledgeConfig",
    "rest_framework",
    "channels",
    "simple_history",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "knowledge.apps.QueueConfig",  # after the admin, whose index it leaves
]
MIDDLEWARE = [
    "gateway.middleware.request_id_middleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "moe_site.urls"
ASGI_APPLICATION = "moe_site.asgi.application"
# OpenAI's paths have no trailing slash; a redirect would turn a POST into a GET.
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["gateway.rest.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "EXCEPTION_HANDLER": "gateway.rest.exception_handler",
    "UNAUTHENTICATED_USER": None,
}

# --- language, time, static files ----------------------------------------------------------------
LANGUAGE_CODE = "en-us"
TIME_ZONE = env.str("TIME_ZONE", default="UTC")
USE_I18N = True
USE_TZ = True
STATIC_URL = "static/"
# The admin's files are served from where they are installed: no collectstatic on a bare machine.
WHITENOISE_USE_FINDERS = True

# --- logging -------------------------------------------------------------------------------------
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO").upper()
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        name: {"level": LOG_LEVEL, "propagate": True} for name in ("moe_site", "gateway", "routing", "knowledge")
    },
}
