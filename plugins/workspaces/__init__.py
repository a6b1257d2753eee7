"""Who may do what: workspaces, members, groups, roles, grants on resources, share links, invitations, requests."""
