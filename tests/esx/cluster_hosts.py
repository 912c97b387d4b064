"""cluster_hosts: runs a cluster of hosts against a daemon, troubles both, and checks the history.

run_cluster() starts one `cluster` process a host. While they work it kills the daemon and starts it
again, and drops sessions; the hosts crash by themselves (cluster.c). Afterwards history.py proves
what the hosts saw.
"""

import random
import subprocess
import time

from history import SHOWN, History
from nestor import SLOWNESS, Daemon, Failure, binary, lun, run, target, wait_until

READER = 15  # who reads all in the end


def host_command(daemon, number, log, *more):
    return [str(x) for x in (binary("cluster"), "--address", daemon.host, "--port", daemon.port,
                             "--target", daemon.name, "--host", number, "--log", log, *more)]


def kill_and_restart(daemon, troubles):
    daemon.kill()
    daemon.start()
    troubles["kills"] += 1


def drop_a_session(daemon, chance, troubles):
    sessions = daemon.json("session", "list")["sessions"]
    if not sessions:
        return
    number = str(chance.choice(sessions)["tsih"])
    # it may have gone by itself since
    troubles["drops"] += daemon.ctl("session", "drop", number, "--yes",
                                    check=False).returncode == 0


def trouble(daemon, hosts, seconds, chance, kill_every, drop_every):
    """Until the hosts end: kills and drops at random, about so often."""
    troubles = {"kills": 0, "drops": 0}
    begun = time.monotonic()
    due = {kill_and_restart: begun + kill_every, drop_a_session: begun + drop_every}
    limit = begun + seconds + 120 * SLOWNESS
    while any(h.poll() is None for h in hosts):
        now = time.monotonic()
        if now > limit:
            raise Failure(f"the hosts did not end within {limit - begun:.0f} s")
        is_late = now > begun + seconds - 1  # the last second is theirs
        if not is_late and now > due[kill_and_restart]:
            kill_and_restart(daemon, troubles)
            due[kill_and_restart] = time.monotonic() + kill_every * chance.uniform(0.5, 1.5)
        elif not is_late and now > due[drop_a_session]:
            drop_a_session(daemon, chance, troubles)
            due[drop_a_session] = time.monotonic() + drop_every * chance.uniform(0.5, 1.5)
        time.sleep(0.05)
    return troubles


def read_history(directory, hosts):
    history = History()
    for number in [*range(hosts), READER]:
        history.load(directory / f"host{number}.log", number)
    return history


def run_cluster(*, hosts, seconds, reserve=False, kill_every=4.0, drop_every=1.0, crash=5,
                stall=None, pause_us=300, seed=None, **lun_keys):
    """Gives the history, checked, and a summary; Failure with what is wrong otherwise."""
    seed = seed if seed is not None else random.SystemRandom().randrange(1 << 32)
    chance = random.Random(seed)
    # one that is suspended with the LUN reserved holds up all the others
    stall = stall if stall is not None else 3 if reserve else 10
    more = ["--seconds", seconds, "--lease-ms", 500 * (SLOWNESS + 1), "--crash", crash,
            "--stall", stall, "--pause-us", pause_us, *(["--reserve"] if reserve else [])]
    with Daemon([target(lun(0, size="64M", **lun_keys))]) as daemon:
        processes = [subprocess.Popen(host_command(daemon, n, daemon.dir / f"host{n}.log", *more))
                     for n in range(hosts)]
        try:
            troubles = trouble(daemon, processes, seconds, chance, kill_every, drop_every)
        finally:
            for process in processes:
                if process.poll() is None:
                    process.kill()
        ended = [p.wait() for p in processes]
        read = run(*host_command(daemon, READER, daemon.dir / f"host{READER}.log", "--read-all"))
        history = read_history(daemon.dir, hosts)
        if any(ended) or read.returncode:
            raise Failure(f"hosts ended with {ended}, the reader with {read.returncode}: "
                          f"{history.faults[:SHOWN]}")
    faults = history.check()
    if faults:
        raise Failure(f"seed {seed}: {len(faults)} faults:\n" + "\n".join(faults[:SHOWN]))
    counts = ", ".join(f"{count} {name}" for name, count in history.counts.items())
    return history, (f"{hosts} hosts, {seconds} s, {history.operations} operations, all blocks "
                     f"linearizable; {counts}; {troubles['kills']} kills of the daemon, "
                     f"{troubles['drops']} sessions dropped")
