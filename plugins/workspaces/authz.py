"""What may be done, for programs to ask, and why, for people."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from pydantic import Field

from api_shim.models import Model, Query
from api_shim.problems import Forbidden, NotFound
from api_shim.route import Call, Route
from api_shim.services import Permission, Resource
from plugins.workspaces.chain import asker
from plugins.workspaces.desk import Desk
from plugins.workspaces.rights import floor, holds, permissions
from plugins.workspaces.rule import Outcome, Via

__all__ = ["Authz"]


class Check(Model):
    """One question."""

    resource: UUID = Field(strict=False)
    permission: Permission
    account: UUID | None = Field(
        default=None, strict=False, description="Whose; without, yours. Of others: whoever may share the resource."
    )


class Checks(Model):
    """Questions, answered in their order."""

    checks: list[Check] = Field(min_length=1, max_length=100)


class Result(Model):
    """The answer to one. What does not exist, or may not be seen, is not allowed."""

    allowed: bool
    role: str | None = Field(description="The standard role that the permissions come to; null for no access.")


class Results(Model):
    """The answers."""

    results: list[Result]


class ExplainQuery(Query):
    """What to explain."""

    resource: UUID
    account: UUID | None = Field(default=None, description="Whose access; without, yours.")


class Step(Model):
    """Something that was considered, in order."""

    resource: UUID = Field(description="Where it was said.")
    kind: Resource
    via: Via
    subject: UUID = Field(description="To whom: the account, a group, a link.")
    role: str = Field(description="The standard role that it comes to, or `none`.")
    permissions: list[Permission]
    expires: datetime | None
    outcome: Outcome = Field(
        description="`decides`; `overruled` by what is nearer to the resource or more to the point; `out_of_reach` "
        "because inheritance ends before it, or the workspace is in the trash."
    )


class Explanation(Model):
    """Why somebody may do what they may do."""

    resource: UUID
    workspace: UUID
    account: UUID
    role: str | None
    permissions: list[Permission]
    considered: list[Step]


class Authz:
    """Handlers."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def check(self, call: Call) -> Results:
        found = []
        for one in call.body.checks:
            if one.account is None or str(one.account) == call.who.actor:
                rights = await self._desk.access.rights(call.who, one.resource)
            else:
                rights = await self._of_another(call, one.account, one.resource)
            found.append(Result(allowed=holds(rights, one.permission), role=floor(rights)))
        return Results(results=found)

    async def _of_another(self, call: Call, account: UUID, resource: UUID) -> int:
        mine = await self._desk.access.rights(call.who, resource)
        if not mine:
            return 0
        if not holds(mine, "share"):
            raise Forbidden("Of others only those are told who may share the resource.")
        decision = await self._desk.access.decide(account, resource)
        return decision.rights if decision is not None else 0

    async def explain(self, call: Call) -> Explanation:
        """Every grant that speaks of them, nearest first, and what became of it."""
        me = asker(call.who)
        account, resource = call.query.account or me, call.query.resource
        if account is None:
            raise NotFound
        await self._desk.require(call.who, "read" if account == me else "share", resource)
        decision = await self._desk.access.decide(account, resource)
        if decision is None:
            raise NotFound
        steps = [
            Step(
                resource=one.resource, kind=one.kind, via=one.given.via, subject=one.given.subject,
                role=floor(one.given.rights) or "none", permissions=permissions(one.given.rights),
                expires=one.given.expires, outcome=one.outcome,
            )
            for one in decision.considered
        ]  # fmt: skip
        return Explanation(
            resource=resource, workspace=decision.workspace, account=account, role=floor(decision.rights),
            permissions=permissions(decision.rights), considered=steps,
        )  # fmt: skip

    def routes(self) -> Sequence[Route]:
        """The operations."""
        return (
            Route(method="POST", path="/v1/authz/check", handler=self.check, summary="Ask what may be done",
                  body=Checks, answer=Results, scope="workspaces:read", tag="authz"),
            Route(method="GET", path="/v1/authz/explain", handler=self.explain, summary="Ask why",
                  query=ExplainQuery, answer=Explanation, scope="workspaces:read", tag="authz"),
        )  # fmt: skip
