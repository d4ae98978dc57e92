"""Initial data of a development installation: the example tools, an admin, and a developer with an API key.

Run `python -m dev.seed TOOLS_URL EMAIL` with the developer's password in SEED_PASSWORD. Idempotent: creates what is
missing. The key is written to DATA_DIR/api-key, a convenience for development only.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from common import boot, settings, subscriptions
from common.errors import NotFound, Unauthenticated
from common.identity import accounts, audit, email_addresses, keys
from common.models.accounts import User
from common.tools import editing
from dev.platform import KEY_FILE
from examples.tools import catalogue

PLAN = "pro"


def main(tools_url: str, email: str) -> None:
    config = settings.load()
    boot.connect(config, process="seed", pool_size=1)
    editing.load(audit.PLATFORM, catalogue.entries(tools_url))
    if config.admin_email and config.admin_password:
        accounts.ensure_admin(config.admin_email, config.admin_password)
    keep_key(developer(email), config.data_dir / KEY_FILE)
    boot.disconnect()


def developer(email: str) -> User:
    """The developer's account, created and subscribed if it does not exist."""
    try:
        return accounts.by_email(email)
    except NotFound:
        user = accounts.create(email_addresses.parse(email), os.environ["SEED_PASSWORD"], "Developer", verified=True)
        subscriptions.subscribe(user.id, PLAN)
        return user


def keep_key(user: User, file: Path) -> None:
    """Make sure that the file contains a valid key and is readable by its owner only."""
    try:
        keys.authenticate(file.read_text())
    except (FileNotFoundError, Unauthenticated):
        _, text = keys.create(user.id, "make run", actor=audit.PLATFORM)
        file.touch(mode=0o600)
        file.write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
