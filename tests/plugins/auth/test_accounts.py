"""The service `Users`."""

from uuid import UUID, uuid4

import pytest
from auth_people import People

from api_shim.services import User, Users
from plugins.auth.accounts import Accounts

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_users(people: People) -> None:
    """Other plugins find accounts by id and by address, however it is written."""
    ada = await people.register()
    id = UUID(ada["user"]["id"])
    users = people.server.context("auth").service(Users)  # type: ignore[type-abstract]
    known = User(id, ada["email"], "Ada", "human", disabled=False)
    assert await users.find([id, uuid4()]) == {id: known}
    assert await users.by_email(ada["email"].upper()) == known
    owner = await users.by_email("owner@example.com")
    assert owner is not None
    assert (owner.verified, known.verified) == (True, False)
    for nobody in ("nobody@example.com", "junk", "%@example.com", ""):
        assert await users.by_email(nobody) is None


@pytest.mark.slow
async def test_plans(postgres_server, valkey) -> None:
    """Among 10,000 accounts whatever a request looks up is found by an index."""
    from auth_people import auth_server

    async with auth_server(postgres_server.create_database(), valkey.url) as people:
        database = people.server.context("auth").database
        await database.execute(
            """
            INSERT INTO auth.account (id, kind, email, email_key, name, created)
            SELECT gen_random_uuid(), 'human', n || '@x.org', n || '@x.org', 'N' || n, now()
            FROM generate_series(1, 10000) n;
            INSERT INTO auth.session (id, account, method, address, agent, refresh, refreshed, created, expires)
            SELECT gen_random_uuid(), id, 'x', '', '', '', now(), now(), now() + interval '1 day' FROM auth.account;
            INSERT INTO auth.api_key (id, account, name, prefix, hash, created)
            SELECT gen_random_uuid(), id, 'x', substr(id::text, 25) || substr(id::text, 1, 8), '', now()
            FROM auth.account;
            """
        )
        await database.execute("ANALYZE auth.account, auth.session, auth.api_key")
        id = uuid4()
        for query, arguments in (
            ("SELECT * FROM auth.account WHERE email_key = $1", ["5@x.org"]),
            ("SELECT * FROM auth.session WHERE id = $1", [id]),
            ("SELECT * FROM auth.session WHERE account = $1 AND ended IS NULL ORDER BY id LIMIT 51", [id]),
            ("SELECT * FROM auth.api_key WHERE prefix = $1", ["x"]),
            ("SELECT * FROM auth.api_key WHERE account = $1 AND ended IS NULL ORDER BY id LIMIT 51", [id]),
            ("SELECT * FROM auth.account a WHERE true ORDER BY a.created, a.id LIMIT 51", []),
            ("SELECT * FROM auth.account a WHERE true ORDER BY a.name DESC, a.id DESC LIMIT 51", []),
            ("SELECT * FROM auth.link WHERE purpose = 'setup' AND used IS NULL", []),
        ):
            plan = "\n".join(row[0] for row in await database.fetch(f"EXPLAIN {query}", *arguments))
            assert "Index" in plan, plan
            assert "Seq Scan" not in plan or "link" in plan, plan
        assert isinstance(people.server.context("auth").service(Users), Accounts)  # type: ignore[type-abstract]
