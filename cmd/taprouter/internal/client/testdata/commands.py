"""Runs commands of the openstack client in one process: a JSON list of arguments a line in, a JSON object a line out."""
import contextlib
import io
import json
import sys

from openstackclient import shell

for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    status = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = shell.main(json.loads(line))
        except SystemExit as e:
            status = e.code
    print(json.dumps({"out": out.getvalue(), "err": err.getvalue(), "status": status}), flush=True)
