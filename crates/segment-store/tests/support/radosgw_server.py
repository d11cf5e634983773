"""A radosgw (Ceph's S3 server) on free ports of the loopback, with one user and one bucket, for tests.

One monitor, one OSD in memory, one gateway, all in a temporary directory. Debian: apt-get install --no-install-recommends ceph-mon
ceph-osd radosgw ceph-common. Prints "listening PORT" when it serves, and ends, with all it started, when its standard input is closed.
The user's access key is "key", the secret "secret".

On its standard input it takes "kill", which kills the gateway with SIGKILL (answer: "killed"), and "start", which starts it again on
the same port ("listening PORT"). Data stays, since the gateway keeps nothing: it is in the OSD. "list" is answered with "listed" and the
keys of all objects, with spaces between.
"""

import atexit
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid

from s3_client import client, keys

BUCKET = sys.argv[1]
HOME = tempfile.mkdtemp(prefix="radosgw-")
DAEMONS = []


def stop():
    for daemon in reversed(DAEMONS):
        daemon.kill()
        daemon.wait()
    shutil.rmtree(HOME, ignore_errors=True)


atexit.register(stop)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(*command):
    quiet = open(f"{HOME}/commands.log", "ab")
    subprocess.run(command, check=True, timeout=60, stdout=quiet, stderr=quiet)


def daemon(*command):
    quiet = open(f"{HOME}/daemons.log", "ab")
    DAEMONS.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=quiet, stderr=quiet))


mon_port, port = free_port(), free_port()
fsid, osd_uuid = str(uuid.uuid4()), str(uuid.uuid4())
conf = f"{HOME}/ceph.conf"
with open(conf, "w") as file:
    file.write(f"""
[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{mon_port}
ms bind msgr1 = false
public addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default pg num = 8
osd crush chooseleaf type = 0
mon allow pool size one = true
mon data = {HOME}/mon
mon data avail crit = 0
osd data = {HOME}/osd
rgw data = {HOME}/rgw
osd objectstore = memstore
memstore device bytes = 1073741824
run dir = {HOME}/run
admin socket = {HOME}/run/$name.$pid.asok
log file = {HOME}/$name.log
[client.admin]
ms mon client mode = crc
rgw frontends = beast endpoint=127.0.0.1:{port}
""")
for name in ("mon", "osd", "rgw", "run"):
    os.mkdir(f"{HOME}/{name}")
os.environ["CEPH_CONF"] = conf
run("monmaptool", "--create", "--addv", "a", f"[v2:127.0.0.1:{mon_port}]", "--fsid", fsid, f"{HOME}/monmap")
run("ceph-mon", "--mkfs", "-i", "a", "--monmap", f"{HOME}/monmap", "-c", conf)
daemon("ceph-mon", "-f", "-i", "a", "-c", conf)
run("ceph", "-c", conf, "osd", "new", osd_uuid)
run("ceph-osd", "-i", "0", "-c", conf, "--mkfs", "--osd-uuid", osd_uuid)
daemon("ceph-osd", "-f", "-i", "0", "-c", conf)
run("ceph", "-c", conf, "osd", "crush", "add", "osd.0", "1.0", "root=default", "host=here")


def start_gateway():
    daemon("radosgw", "-f", "-c", conf, "--name", "client.admin", "--ms_mon_client_mode", "crc")
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                sys.exit("radosgw does not serve")
            time.sleep(0.05)


def kill_gateway():
    gateway = DAEMONS.pop()
    gateway.kill()
    gateway.wait()


start_gateway()
user = ["--uid", "test", "--display-name", "test", "--access-key", "key", "--secret-key", "secret"]
run("radosgw-admin", "-c", conf, "--name", "client.admin", "user", "create", *user)
client(port).create_bucket(Bucket=BUCKET)
print("listening", port, flush=True)
for line in sys.stdin:
    if line.strip() == "kill":
        kill_gateway()
        print("killed", flush=True)
    elif line.strip() == "start":
        start_gateway()
        print("listening", port, flush=True)
    elif line.strip() == "list":
        print("listed", *keys(port, BUCKET), flush=True)
