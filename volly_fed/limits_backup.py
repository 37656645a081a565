"""Maxima and timers of backups, and of the copies of the store that upgrades keep.

Sizes are bytes and times are seconds unless the name says otherwise.
"""

from typing import Final

# --- copying a store that is in use --------------------------------------------------------------------------------
COPY_PAGES: Final = 32
"""Pages a step: 256 KiB, a third of a millisecond of the writer's time."""
COPY_PAUSE: Final = 0.001
"""At least, between two steps."""
COPY_SHARE: Final = 3.0
"""A pause is so many times as long as the step took, with its waiting for commits: traffic comes first."""
COPY_ABANDONED: Final = 30.0
"""A copy for which no command has asked for so long is given up."""
COPY_ANSWER: Final = 0.5
"""After this long a command that waits for the copy is told how far it is."""

# --- archives ------------------------------------------------------------------------------------------------------
MANIFEST_BYTES: Final = 64 << 10
MEMBERS: Final = 64
"""Files in one backup: keys, policy, store, and what the configuration names."""
MEMBER_BYTES: Final = 1 << 20
"""Of each but the store; as much as is read of a key or a configuration."""
STORE_BYTES: Final = 1 << 46
"""Of the store: more than a disk holds, and less than what a number in a manifest could ask for."""
ARCHIVE_CHUNK: Final = 1 << 20
BACKUP_LOOK: Final = 20.0
"""For asking the DNS which identity the domain publishes."""

# --- upgrades ------------------------------------------------------------------------------------------------------
OLD_SCHEMA_KEPT: Final = 14 * 86400.0
"""For how long the store as it was before an upgrade lies beside it: what is in it has expired after 7 days."""
