"""xcopy: EXTENDED COPY(LID1) and RECEIVE COPY, as the tests and benchmarks send them (SPC-4 6.5)."""

from task import inquiry

STATUS, OPERATING_PARAMETERS, FAILURE_DETAILS = 0, 3, 4
IN_PROGRESS, COMPLETED, FAILED = 0, 1, 2
HELD, DISCARDED, NONE = 0, 2, 3  # LIST ID USAGE


def naa_of(session, lun):
    """The unit's NAA designator, out of its Device Identification page."""
    page = session.command(inquiry(255, 0x83), lun=lun, read=255).wait().data
    at = 4
    while at < len(page):
        kind, length = page[at + 1], page[at + 3]
        if kind & 0x3F == 0x03:
            return bytes(page[at + 4:at + 4 + length])
        at += 4 + length
    raise AssertionError("no NAA designator in %s" % page.hex())


def cscd(naa, block_bytes=512):
    head = bytes([0xE4, 0, 0, 0, 0x01, 0x03, 0, len(naa)])
    return head + naa + bytes(20 - len(naa)) + bytes([0]) + block_bytes.to_bytes(3, "big")


def segment(source, source_lba, destination, destination_lba, blocks):
    return (bytes([0x02, 0, 0, 0x18]) + source.to_bytes(2, "big") + destination.to_bytes(2, "big")
            + bytes(2) + blocks.to_bytes(2, "big") + source_lba.to_bytes(8, "big")
            + destination_lba.to_bytes(8, "big"))


def parameter_list(cscds, segments, list_id=1, usage=DISCARDED):
    cscds, segments = b"".join(cscds), b"".join(segments)
    return (bytes([list_id, usage << 3]) + len(cscds).to_bytes(2, "big") + bytes(4)
            + len(segments).to_bytes(4, "big") + bytes(4) + cscds + segments)


def extended_copy(parameters):
    return b"\x83" + bytes(9) + len(parameters).to_bytes(4, "big") + bytes(2)


def receive_copy(action, list_id=0, length=512):
    return bytes([0x84, action, list_id]) + bytes(7) + length.to_bytes(4, "big") + bytes(2)


def copy(session, cscds, segments, lun=0, list_id=1, usage=DISCARDED):
    """Sends the copy to that LUN; gives the task."""
    parameters = parameter_list(cscds, segments, list_id, usage)
    return session.submit(extended_copy(parameters), lun=lun, write=parameters)


def copy_status(session, list_id, lun=0):
    """(what became of it, segments processed, bytes written), or None when it is not known."""
    task = session.command(receive_copy(STATUS, list_id, 12), lun=lun, read=12).wait()
    if task.status != 0:
        return None
    data = bytes(task.data)
    written = int.from_bytes(data[8:12], "big") << (10 if data[7] else 0)
    return data[4] & 0x7F, int.from_bytes(data[5:7], "big"), written
