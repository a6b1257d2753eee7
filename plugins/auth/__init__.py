"""Accounts, logins, tokens and keys: who somebody is. Decisions: contrib/decisions/0012-auth.md."""
