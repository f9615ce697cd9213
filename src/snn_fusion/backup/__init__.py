"""Backups of an installation, and their restore: workspace, artefacts, configuration and keys with restic, PostgreSQL
with pgBackRest. docs/backup.md says how to use it."""
