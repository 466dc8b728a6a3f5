"""What `manage.py serve` says when it is up."""

from pathlib import Path

from moe_site.first_start import ADMIN_NAME, Secrets, Servers

LINE = "─" * 78


def text(
    *,
    url: str,
    secrets: Secrets,
    servers: Servers,
    embedded_model: str | None,
    embedded_database: bool,
    data_dir: Path,
    seconds: float,
) -> str:
    lines = ["", LINE, f"  Ready in {seconds:.1f} s", f"  Endpoint   {url}/v1", f"  Admin      {url}/admin/"]
    if secrets.admin_password:
        lines.append(f"             user {ADMIN_NAME}, password {secrets.admin_password}   (shown only now)")
    else:
        lines.append("             forgot the password? manage.py changepassword NAME")
    if secrets.api_key:
        lines.append(f"  API key    {secrets.api_key}   (shown only now)")
    else:
        lines.append("  API key    make one: manage.py create_api_key NAME")
    lines.append(f"  Data       {data_dir}")
    lines.append(f"  Embedded   {_embedded(embedded_model, embedded_database)}")
    lines.extend(_servers(servers))
    lines.extend(_try(url, secrets.api_key))
    lines.append(LINE)
    return "\n".join(lines) + "\n"


def _embedded(model: str | None, database: bool) -> str:
    parts = (["PostgreSQL"] if database else []) + ([f"language model {model}"] if model else [])
    return ", ".join(parts) or "nothing"


def _servers(servers: Servers) -> list[str]:
    lines = []
    for name, count in servers.answered.items():
        if name != "embedded":
            lines.append(f"  Yours      model server {name}: {count} model{'' if count == 1 else 's'}")
    for name, reason in servers.failed.items():
        lines.append(f"  Warning    model server {name}: {reason}")
    if not servers.answered:
        lines.append("  Warning    no model server answers: set OLLAMA_BASE_URL, or EMBEDDED_MODELS=auto")
    return lines


def _try(url: str, key: str | None) -> list[str]:
    bearer = f"'Authorization: Bearer {key}'" if key else '"Authorization: Bearer $API_KEY"'  # which the shell fills in
    return [
        "  Try it     " + f"curl -N {url}/v1/chat/completions \\",
        f"               -H {bearer} -H 'Content-Type: application/json' \\",
        """               -d '{"model": "auto", "stream": true, "messages": [{"role": "user", "content": "Hi!"}]}'""",
    ]
