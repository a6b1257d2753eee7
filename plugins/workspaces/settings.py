"""What an operator chooses about workspaces: `[plugins.workspaces]`, `RELAY_PLUGINS_WORKSPACES_…` in the environment.

Durations are seconds or `30s`, `10m`, `90d`.
"""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from relay.quantities import SECONDS, SIZE

__all__ = ["WorkspacesSettings"]

Seconds = Annotated[float, BeforeValidator(SECONDS.read)]
Bytes = Annotated[int, BeforeValidator(SIZE.read)]


class WorkspacesSettings(BaseModel):
    """Settings of the plugin."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trash_retention: Seconds = Field(
        default=30 * 86400.0, ge=0, description="A workspace in the trash is deleted for good after this."
    )
    invitation_lifetime: Seconds = Field(default=14 * 86400.0, ge=60, description="Invitations expire after this.")
    guest_lifetime: Seconds = Field(
        default=12 * 3600.0, ge=60, description="A guest opens the link again after this; a use of it is counted then."
    )
    guest_links: bool = Field(default=True, description="Share links may be made and used.")
    most_workspaces: int = Field(default=100, ge=1, description="Workspaces that one account may own.")
    argon2_time: int = Field(default=2, ge=1, le=20, description="Passwords of links, argon2id: passes.")
    argon2_memory: Bytes = Field(default=19 << 20, ge=8 << 10, description="argon2id: memory of one hash.")
    lease: Seconds = Field(
        default=0.9, ge=0.1, le=60,
        description="A remembered decision is used for this long without word from PostgreSQL that nothing changed.",
    )  # fmt: skip
    sweep: Seconds = Field(default=0.25, ge=0.05, le=10, description="How often expired grants are looked for.")
    purge_every: Seconds = Field(default=600.0, ge=0.1, description="How often the trash is emptied of what is due.")
