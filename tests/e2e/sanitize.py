"""SANITIZE: that resets do not end an operation that has begun, and whom it makes wait."""

from initiator import ABORT_TASK_SET, LUN_RESET, TARGET_WARM_RESET, Initiator
from nestor import Daemon, Failure, alone, limit, lun, target, wait_until
from task import CHECK_CONDITION, TEST_UNIT_READY, inquiry, pattern, read10, write10

MIB = 1 << 20
BLOCK = 512
IMMED_ERASE = bytes([0x48, 0x82]) + bytes(8)
IN_PROGRESS = (0x02, 0x04, 0x1B)
UNIT_ATTENTION = 0x06


def overwrite(passes):
    """An immediate one with a byte pattern: its CDB and its list."""
    out = bytes([passes, 0, 0, 1, 0xA5])
    return bytes([0x48, 0x81]) + bytes(5) + len(out).to_bytes(2, "big") + bytes(1), out


def is_in_progress(session):
    """What TEST UNIT READY says, past the unit attentions that resets leave."""
    for _ in range(16):
        task = session.command(TEST_UNIT_READY)
        if task.status != CHECK_CONDITION:
            return False
        if task.sense_code == IN_PROGRESS:
            return True
        if task.sense_code[0] != UNIT_ATTENTION:
            break
    raise Failure(f"TEST UNIT READY answered {task.sense_code}")


@alone
@limit(180)
def e2e_a_sanitize_operation_outlives_aborts_resets_and_its_session():
    with Daemon([target(lun(0, size="64M"))]) as daemon:
        with Initiator(daemon).login() as session:
            session.clear_unit_attention()
            cdb, out = overwrite(31)  # two gigabytes to write: no disk is done with it at once
            session.command(cdb, write=out).good()
            session.command(read10(0, 1), read=BLOCK).refused(*IN_PROGRESS)
            session.command(inquiry(), read=255)
            for function in (ABORT_TASK_SET, LUN_RESET, TARGET_WARM_RESET):
                session.tmf(function)
            still = is_in_progress(session)
        with Initiator(daemon).login() as session:
            if not still and not is_in_progress(session):
                raise Failure("the operation was over, or was ended by a reset")
            wait_until(lambda: not is_in_progress(session), "the end of the operation", 120)
            session.command(read10(0, 8), read=8 * BLOCK).good(b"\xA5" * 8 * BLOCK)


@alone
def e2e_another_lun_goes_on_while_one_is_sanitized():
    with Daemon([target(lun(0, size="64M"), lun(1, size="64M"))]) as daemon:
        with Initiator(daemon).login() as session:
            for unit in (0, 1):
                session.clear_unit_attention(unit)
            cdb, out = overwrite(31)
            session.command(cdb, write=out).good()
            data = pattern(MIB)
            for turn in range(16):
                session.command(write10(turn * MIB // BLOCK, MIB // BLOCK), lun=1, write=data).good()
            session.command(read10(0, MIB // BLOCK), lun=1, read=MIB).good(data)


@alone
def e2e_a_daemon_that_stops_does_not_wait_for_a_sanitize_operation():
    daemon = Daemon([target(lun(0, size="1G"))])
    with daemon:
        with Initiator(daemon).login() as session:
            session.clear_unit_attention()
            cdb, out = overwrite(31)
            session.command(cdb, write=out).good()
    if "ends with the daemon" not in daemon.log():
        raise Failure(f"the operator was not told:\n{daemon.log_tail()}")


def e2e_an_erased_lun_is_a_hole():
    with Daemon([target(lun(0, size="64M"))]) as daemon:
        with Initiator(daemon).login() as session:
            session.clear_unit_attention()
            session.command(write10(0, MIB // BLOCK), write=pattern(MIB)).good()
            session.command(IMMED_ERASE).good()
            wait_until(lambda: not is_in_progress(session), "the end of the erasure")
            session.command(read10(0, MIB // BLOCK), read=MIB).good(bytes(MIB))
