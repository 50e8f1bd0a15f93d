"""A user's own data to records: what a folder or table holds, and what it means."""
