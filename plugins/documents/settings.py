"""What an operator chooses about documents: `[plugins.documents]` in relay.toml, `RELAY_PLUGINS_DOCUMENTS_…`.

Durations are seconds or `30s`, `10m`, `90d`; sizes are bytes or `25MB`.
"""

import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from relay.quantities import SECONDS, SIZE

__all__ = ["DocumentsSettings"]

Seconds = Annotated[float, BeforeValidator(SECONDS.read)]
Bytes = Annotated[int, BeforeValidator(SIZE.read)]


def _json(raw: object) -> object:
    return json.loads(raw) if isinstance(raw, str) else raw


class DocumentsSettings(BaseModel):
    """Settings of the plugin."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    retention: Seconds = Field(default=30 * 86400.0, ge=0, description="What is in the trash is deleted after this.")
    purge_every: Seconds = Field(default=300.0, ge=0.05, description="How often is looked for what is to be deleted.")
    edited_every: Seconds = Field(
        default=2.0, ge=0.05, description="How often the time of the last edit is written, and `document.edited` told."
    )
    max_content: Bytes = Field(default=8 << 20, ge=1024, description="A content or update that is written, at most.")
    base_window: Seconds = Field(
        default=86400.0, ge=0, description="A content that was read can be changed and sent back for this long."
    )
    bases: int = Field(default=50, ge=1, description="So many contents of a document are kept for that, the latest.")
    base_bytes: Bytes = Field(default=32 << 20, ge=1024, description="And of no more than this together, compressed.")
    attachment_size: Bytes = Field(default=25 << 20, ge=0, description="An attachment at most.")
    attachment_quota: Bytes = Field(default=10 << 30, ge=0, description="All attachments of a workspace at most.")
    attachment_types: Annotated[tuple[str, ...], BeforeValidator(_json)] = Field(
        default=(
            "image/*", "audio/*", "video/*", "font/*", "text/plain", "text/csv", "text/markdown", "application/pdf",
            "application/json", "application/zip", "application/gzip", "application/rtf", "application/msword",
            "application/vnd.*", "application/octet-stream",
        ),
        description="Media types that may be attached; `*` stands for anything.",
    )  # fmt: skip
    attachment_path: Path | None = Field(
        default=None, description="A directory for attachments that all API processes share; unset: PostgreSQL."
    )
