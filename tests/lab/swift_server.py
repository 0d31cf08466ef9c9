"""One of Swift's servers in the foreground, with a swift.conf that is not in /etc:  swift_server.py SWIFT.CONF SERVER CONF"""
import sys

from swift.common import utils

utils.SWIFT_CONF_FILE = sys.argv[1]  # before the modules that read it when they are imported

# pylint: disable=wrong-import-position
from swift.common import constraints, storage_policy
from swift.common.daemon import run_daemon
from swift.common.wsgi import run_wsgi


def main():
    _, conf_file, server, conf = sys.argv
    constraints.SWIFT_CONF_FILE = conf_file
    storage_policy.SWIFT_CONF_FILE = conf_file
    constraints.reload_constraints()
    storage_policy.reload_storage_policies()
    if server == "updater":
        from swift.obj.updater import ObjectUpdater
        run_daemon(ObjectUpdater, conf, section="object-updater")
        return 0
    return run_wsgi(conf, f"{server}-server")


sys.exit(main())
