"""Many initiators at once."""

from nestor import SLOWNESS, Daemon, Failure, alone, finish, limit, lun, must_run, target, tool
from nestor import verify_io


@alone
@limit(100)
def e2e_eight_initiators_at_once_read_back_what_they_wrote():
    """Under TSan too: eight sessions on all workers of one LUN, stamped blocks for 20 s."""
    with Daemon([target(lun(0, size="256M"))], workers=4) as daemon:
        said = finish(verify_io(daemon, seconds=20, sessions=8, megabytes=64), 80)
        print(f"note: {said.strip()}")


@limit(90)
def e2e_eight_initiators_share_two_luns_in_writethrough():
    luns = [lun(n, size="64M", cache="writethrough") for n in (0, 1)]
    with Daemon([target(*luns)], workers=2) as daemon:
        clients = [verify_io(daemon, n, seconds=5, sessions=4, megabytes=16) for n in (0, 1)]
        for client in clients:
            finish(client, 60)


@limit(60)
def e2e_eight_initiators_are_served_by_the_thread_engine():
    with Daemon([target(lun(0, size="64M"))], engine="threads") as daemon:
        finish(verify_io(daemon, seconds=5, sessions=8, megabytes=16), 45)


@limit(60)
def e2e_login_is_answered_at_once_while_others_write():
    """ESX gives up a login after 5 s."""
    with Daemon([target(lun(0, size="256M"))]) as daemon:
        client = verify_io(daemon, seconds=8, sessions=8, megabytes=64)
        for _ in range(5):
            must_run(tool("iscsi-inq"), daemon.url(0), seconds=5 / SLOWNESS)
            if client.poll() is not None:
                raise Failure("the load ended before the logins")
        finish(client, 45)
