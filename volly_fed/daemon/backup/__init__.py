"""Backups: what makes one, the archive, its manifest, and putting it back."""
