"""Every setting of the project, in flat sections.

Each environment variable is read here, once, and documented in .env.example
(tests/moe_site/test_settings.py holds the two lists against each other).
"""

import os
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

from moe_site import logs
from moe_site.environment import Environment
from moe_site.secret_key import read_or_create_secret_key

BASE_DIR = Path(__file__).resolve().parent.parent

ENV_FILE = Path(os.environ.get("MOE_ENV_FILE", str(BASE_DIR / ".env")))
env = Environment()
env.read_env(str(ENV_FILE))
ENVIRONMENT = env  # for moe_site/checks, which tell what of it could not be read

# --- where things live ---------------------------------------------------------------------------
MOE_DATA_DIR = Path(env.str("MOE_DATA_DIR", default="") or "var")
if not MOE_DATA_DIR.is_absolute():
    MOE_DATA_DIR = BASE_DIR / MOE_DATA_DIR

# --- security ------------------------------------------------------------------------------------
SECRET_KEY, SECRET_KEY_PROBLEM = env.str("SECRET_KEY", default=""), ""
if not SECRET_KEY:
    try:
        SECRET_KEY = read_or_create_secret_key(MOE_DATA_DIR)
    except OSError as error:  # told by moe_site.E023; without a key Django signs nothing
        SECRET_KEY_PROBLEM = str(error)
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
# Addresses and networks whose X-Forwarded-For is believed; without one, who is connected is the client.
TRUSTED_PROXIES = env.list("TRUSTED_PROXIES", default=[])
MAX_BODY_BYTES = env.int("MAX_BODY_BYTES", default=32 * 1024 * 1024)
# Characters of text in a request to a model; 0: as many as its body holds. Guards may narrow it.
INPUT_CHARACTERS_MOST = env.int("INPUT_CHARACTERS_MOST", default=2_000_000)
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES
# Origins whose web pages may call the API from browsers; * is any of them.
CORS_ALLOWED_ORIGINS = env.list("CORS_ALLOWED_ORIGINS", default=[])
# Seconds a request may take to arrive; one that keeps coming gets a second more for each 16 KiB.
BODY_TIMEOUT_SECONDS = env.float("BODY_TIMEOUT_SECONDS", default=60.0)
# TLS ends at a proxy in front. Who says that a request came by https is believed if it is one of TRUSTED_PROXIES
# (moe_site/proxies.py); Django's own SECURE_PROXY_SSL_HEADER would believe everybody.
BEHIND_TLS = env.bool("BEHIND_TLS", default=False)
HSTS_SECONDS = env.int("HSTS_SECONDS", default=3600)
SECURE_HSTS_SECONDS = HSTS_SECONDS if BEHIND_TLS else 0
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 7 * 24 * 3600
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SILENCED_SYSTEM_CHECKS = [
    # Names below ours, and the lists that browsers ship, are the business of whoever owns the domain.
    "security.W005",
    "security.W021",
    # The proxy redirects people from http to https. We cannot: the proxy itself, and the supervisor, speak http to us.
    "security.W008",
    # Without TLS these follow from one thing, which moe_site.W003 says once.
    *([] if BEHIND_TLS else ["security.W004", "security.W012", "security.W016"]),
    # HSTS_SECONDS=0 with TLS is somebody's decision; moe_site.W013 tells what it means.
    *(["security.W004"] if BEHIND_TLS and not HSTS_SECONDS else []),
]

# --- signing in to the admin ---------------------------------------------------------------------
# After so many failures of one name from one address, or ten times as many of any names from one address, neither
# password nor code is looked at for a while.
LOGIN_FAILURES = env.int("LOGIN_FAILURES", default=5)
LOGIN_LOCK_MINUTES = env.float("LOGIN_LOCK_MINUTES", default=15.0)
LOGIN_LOG_DAYS = env.int("LOGIN_LOG_DAYS", default=90)
# optional: who has an authenticator must use it; required: everybody must have one.
ADMIN_TOTP = env.choice("ADMIN_TOTP", ("optional", "required"), default="optional")
AUTHENTICATION_BACKENDS = ["moe_site.signing_in.throttle.Throttle", "django.contrib.auth.backends.ModelBackend"]
AXES_FAILURE_LIMIT = LOGIN_FAILURES
AXES_COOLOFF_TIME = timedelta(minutes=LOGIN_LOCK_MINUTES)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_HANDLER = "moe_site.signing_in.throttle.Failures"
AXES_CLIENT_IP_CALLABLE = "moe_site.signing_in.throttle.client_address"
AXES_LOCKOUT_TEMPLATE = "admin/moe_site/locked.html"
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # or whoever goes on trying would lock its owner out for ever
AXES_ENABLE_ACCESS_FAILURE_LOG = True
AXES_ENABLE_ADMIN = False  # moe_site/admin.py shows what people need of it
AXES_VERBOSE = False

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

# --- limits --------------------------------------------------------------------------------------
# Empty: each process counts for itself. Set: all of them count together, and share the channel layer.
REDIS_URL = env.str("REDIS_URL", default="")
# While Redis does not answer, "local": each process counts for itself; "refuse": limited keys are not let in.
REDIS_DOWN = env.choice("REDIS_DOWN", ("local", "refuse"), default="local")
CHANNEL_LAYERS = {
    "default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}
    if REDIS_URL
    else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
}

# --- decisions -----------------------------------------------------------------------------------
DECISION_RETENTION_DAYS = env.int("DECISION_RETENTION_DAYS", default=30)
# Records of requests, their sums by hour, and the texts that are kept by a key's, a group's or a collection's setting.
USAGE_RETENTION_DAYS = env.int("USAGE_RETENTION_DAYS", default=90)
USAGE_SUMS_RETENTION_DAYS = env.int("USAGE_SUMS_RETENTION_DAYS", default=1100)
TEXT_RETENTION_DAYS = env.int("TEXT_RETENTION_DAYS", default=30)
# Ended ingestion jobs, but for the last one of each document; deleted by `manage.py prune` alone.
JOB_RETENTION_DAYS = env.int("JOB_RETENTION_DAYS", default=90)
# Corrections of one kind that it takes to propose a change; 0: nothing is proposed.
PROPOSAL_CORRECTIONS = env.int("PROPOSAL_CORRECTIONS", default=10)

# --- what is given again -------------------------------------------------------------------------
# exact: whoever asks the same with temperature 0 gets the same answer again; profiles may say otherwise.
RESPONSE_CACHE = env.choice("RESPONSE_CACHE", ("off", "exact"), default="off")
RESPONSE_CACHE_SECONDS = env.int("RESPONSE_CACHE_SECONDS", default=3600)
RESPONSE_CACHE_ENTRIES = env.int("RESPONSE_CACHE_ENTRIES", default=10_000)
# Vectors of texts that were embedded before; 0: none are kept, in the database or in memory.
EMBEDDING_CACHE_ENTRIES = env.int("EMBEDDING_CACHE_ENTRIES", default=100_000)

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
    env.database(DATABASE_URL) if DATABASE_URL else {"ENGINE": "moe_site.embedded.engine", "NAME": "moe"}
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
    "drf_spectacular",
    "drf_spectacular_sidecar",  # Swagger UI's files
    "channels",
    "simple_history",
    "moe_site.apps.AdminConfig",
    "moe_site.apps.AttemptsConfig",
    "django_otp",
    "moe_site.apps.AuthenticatorsConfig",
    "moe_site.apps.RecoveryConfig",
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
    "gateway.limits.rest.limits_middleware",
    "moe_site.headers.content_security_policy",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
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
    "DEFAULT_PERMISSION_CLASSES": ["gateway.rest.Permitted"],
    "DEFAULT_THROTTLE_CLASSES": ["gateway.limits.rest.EntryThrottle"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "EXCEPTION_HANDLER": "gateway.rest.exception_handler",
    "DEFAULT_SCHEMA_CLASS": "gateway.openapi.document.TableSchema",
    "UNAUTHENTICATED_USER": None,
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Mixture of experts",
    "DESCRIPTION": "An OpenAI-compatible endpoint over local models, with routing and a knowledge base.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "gateway.openapi.document.with_components",
    ],
}

# --- language, time, static files ----------------------------------------------------------------
LANGUAGE_CODE = "en-us"
TIME_ZONE = env.zone("TIME_ZONE", default="UTC")
USE_I18N = True
USE_TZ = True
STATIC_URL = "static/"
# The admin's files are served from where they are installed: no collectstatic on a bare machine.
WHITENOISE_USE_FINDERS = True

# --- logging -------------------------------------------------------------------------------------
LOG_LEVEL = env.choice("LOG_LEVEL", logs.LEVELS, default="INFO")
LOG_FORMAT = env.choice("LOG_FORMAT", logs.FORMATS, default="line")
LOGGING = logs.configuration(level=LOG_LEVEL, form=LOG_FORMAT)

# --- figures -------------------------------------------------------------------------------------
# prometheus_client reads it itself, when it is imported; `serve` sets it for its children.
PROMETHEUS_MULTIPROC_DIR = env.str("PROMETHEUS_MULTIPROC_DIR", default="")
if not PROMETHEUS_MULTIPROC_DIR:
    # To it an empty one, as in a copy of .env.example, is the folder it stands in, which it would fill with its files.
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)

# --- traces --------------------------------------------------------------------------------------
# OpenTelemetry's SDK reads this and every other OTEL_* variable itself.
OTEL_EXPORTER_OTLP_ENDPOINT = env.str("OTEL_EXPORTER_OTLP_ENDPOINT", default="")
