"""Documents: folders, contents, attachments, and who may open their rooms."""
