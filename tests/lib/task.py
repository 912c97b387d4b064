"""task: one SCSI command of tests/lib/initiator.py, and the CDBs that tests need most.

A task sends its data as agreed, answers R2Ts, puts Data-In together, and checks DataSN, R2TSN,
offsets, F and S bits, burst and segment lengths, and residual flags on the way.
"""

import pdu as p
from nestor import Failure, expect
from pdu import FINAL, RESERVED_TAG, Pdu, lun_field

READ, WRITE = 0x40, 0x20
SIMPLE, ORDERED = 1, 2
GOOD, CHECK_CONDITION, RESERVATION_CONFLICT = 0x00, 0x02, 0x18


class Task:
    """One SCSI command.

    read   bytes expected in; write  the bytes to send; edtl  says another expected length than that
    auto   False: R2Ts are kept in .r2ts and not answered
    immediate_bytes, unsolicited_bytes   how much to send without being asked; by default as much as
           was agreed
    """

    def __init__(self, session, cdb, lun=0, read=0, write=None, edtl=None, attribute=SIMPLE,
                 immediate=False, auto=True, immediate_bytes=None, unsolicited_bytes=None,
                 cmd_sn=None, itt=None, flags=None, ahs=b"", segment=None):
        self.session, self.cdb, self.lun = session, bytes(cdb), lun
        self.out = write
        self.edtl = edtl if edtl is not None else (read or len(write or b""))
        self.is_read = read > 0
        self.auto = auto
        self.itt = session.itt() if itt is None else itt
        self.cmd_sn = session.take_cmd_sn(immediate) if cmd_sn is None else cmd_sn
        self.attribute, self.immediate, self.flags, self.ahs = attribute, immediate, flags, ahs
        self.segment = segment or session.number("MaxRecvDataSegmentLength")

        first_burst = min(session.number("FirstBurstLength"), session.number("MaxBurstLength"))
        total = len(write or b"")
        if immediate_bytes is None:
            immediate_bytes = 0
            if session.agreed["ImmediateData"] == "Yes":
                immediate_bytes = min(total, first_burst, self.segment)
        if unsolicited_bytes is None:
            unsolicited_bytes = 0
            if session.agreed["InitialR2T"] == "No":
                unsolicited_bytes = min(total, first_burst) - immediate_bytes
        self.immediate_bytes, self.unsolicited_bytes = immediate_bytes, unsolicited_bytes

        self.data = bytearray()
        self.data_pdus = self.sequence_bytes = 0
        self.last_was_final = True
        self.r2ts, self.r2t_count, self.max_outstanding = [], 0, 0
        self.next_r2t_offset = immediate_bytes + unsolicited_bytes
        self.is_done = False
        self.response = self.status = None
        self.sense = b""
        self.residual = 0        # positive: underflow, negative: overflow
        self.answer = None       # the PDU with the status

    def __repr__(self):
        return "<task itt=0x%x cdb=%s in=%d r2ts=%d status=%s>" % (
            self.itt, self.cdb.hex(), len(self.data), self.r2t_count, self.status)

    def pdus(self):
        """The command and its unsolicited data."""
        flags = self.flags
        if flags is None:
            flags = self.attribute | (0 if self.unsolicited_bytes else FINAL)
            flags |= (READ if self.is_read else 0) | (WRITE if self.out is not None else 0)
        out = self.out or b""
        command = Pdu(p.SCSI_COMMAND, immediate=self.immediate, flags=flags, itt=self.itt,
                      lun=lun_field(self.lun), edtl=self.edtl, cmd_sn=self.cmd_sn,
                      exp_stat_sn=self.session.exp_stat_sn, cdb=self.cdb.ljust(16, b"\0"),
                      ahs=self.ahs, data=out[:self.immediate_bytes])
        return [command] + self.data_out(RESERVED_TAG, self.immediate_bytes, self.unsolicited_bytes)

    def data_out(self, ttt, offset, length, first_data_sn=0, final=True):
        """The Data-Out PDUs of one sequence."""
        pdus, end, data_sn = [], offset + length, first_data_sn
        while offset < end:
            size = min(self.segment, end - offset)
            pdus.append(Pdu(p.DATA_OUT, itt=self.itt, ttt=ttt,
                            lun=0 if ttt == RESERVED_TAG else lun_field(self.lun),
                            flags=FINAL if final and offset + size == end else 0,
                            exp_stat_sn=self.session.exp_stat_sn, data_sn=data_sn, offset=offset,
                            data=self.out[offset:offset + size]))
            offset, data_sn = offset + size, data_sn + 1
        return pdus

    def start(self):
        self.session.send(*self.pdus())

    def answer_r2t(self, r2t=None):
        """Sends what one R2T (the oldest) asks for."""
        r2t = r2t or self.r2ts[0]
        self.r2ts.remove(r2t)
        self.session.send(*self.data_out(r2t.ttt, r2t.offset, r2t.desired))

    def take(self, pdu):
        if self.is_done:
            raise Failure("expected nothing more for %r, came %r" % (self, pdu))
        {p.DATA_IN: self._take_data, p.R2T: self._take_r2t,
         p.SCSI_RESPONSE: self._take_response}[pdu.opcode](pdu)

    def _take_data(self, pdu):
        session = self.session
        if not self.is_read:
            raise Failure("expected no Data-In for a command without R bit, came %r" % pdu)
        expect("DataSN", self.data_pdus, pdu.data_sn)
        expect("buffer offset", len(self.data), pdu.offset)
        expect("A bit at error recovery level 0", 0, pdu.flags & 0x40)
        self.data += pdu.data
        self.data_pdus += 1
        if len(self.data) > self.edtl:
            raise Failure("expected at most %d bytes, came %d" % (self.edtl, len(self.data)))
        self.sequence_bytes += len(pdu.data)
        if self.sequence_bytes > session.number("MaxBurstLength"):
            raise Failure("expected F after at most %s bytes (MaxBurstLength), came %d without"
                          % (session.agreed["MaxBurstLength"], self.sequence_bytes))
        self.last_was_final = bool(pdu.flags & FINAL)
        if self.last_was_final:
            self.sequence_bytes = 0
        if pdu.flags & 0x01:
            expect("F bit of a Data-In with status", True, self.last_was_final)
            # RFC 7143 11.7.3: only without sense
            if pdu.status not in (GOOD,):
                raise Failure("expected sense-less status in a Data-In, came 0x%02x" % pdu.status)
            self.response, self.status = 0, pdu.status
            self._finish(pdu)
        else:
            expect("residual flags of a Data-In without status", 0, pdu.flags & 0x06)

    def _take_r2t(self, pdu):
        session = self.session
        if self.out is None:
            raise Failure("expected no R2T for a command without W bit, came %r" % pdu)
        expect("R2TSN", self.r2t_count, pdu.r2t_sn)
        expect("LUN of an R2T", lun_field(self.lun), pdu.lun)
        expect("F bit of an R2T", FINAL, pdu.flags)
        if pdu.ttt == RESERVED_TAG:
            raise Failure("an R2T must have a TTT, came %r" % pdu)
        expect("offset of the R2T", self.next_r2t_offset, pdu.offset)
        if not 0 < pdu.desired <= session.number("MaxBurstLength"):
            raise Failure("expected an R2T for 1 to %s bytes (MaxBurstLength), came %d"
                          % (session.agreed["MaxBurstLength"], pdu.desired))
        if pdu.offset + pdu.desired > self.edtl:
            raise Failure("expected an R2T within %d bytes, came %d at %d"
                          % (self.edtl, pdu.desired, pdu.offset))
        self.next_r2t_offset += pdu.desired
        self.r2t_count += 1
        self.r2ts.append(pdu)
        self.max_outstanding = max(self.max_outstanding, len(self.r2ts))
        if len(self.r2ts) > session.number("MaxOutstandingR2T"):
            raise Failure("expected at most %s R2Ts outstanding, came %d"
                          % (session.agreed["MaxOutstandingR2T"], len(self.r2ts)))
        if self.auto:
            self.answer_r2t()

    def _take_response(self, pdu):
        self.response, self.status = pdu.response, pdu.status
        if pdu.response == 0 and self.out is None:
            expect("ExpDataSN", self.data_pdus, pdu.exp_data_sn)
        if pdu.data:
            length = int.from_bytes(pdu.data[:2], "big")
            if length + 2 > len(pdu.data):
                raise Failure("SenseLength is %d, but %d bytes follow"
                              % (length, len(pdu.data) - 2))
            self.sense = pdu.data[2:2 + length]
        if self.status == CHECK_CONDITION and not self.sense:
            raise Failure("CHECK CONDITION must bring sense data (RFC 7143 11.4.7), came %r" % pdu)
        self._finish(pdu)

    def _finish(self, pdu):
        if self.data_pdus and not self.last_was_final:
            raise Failure("the last Data-In of %r must have the F bit" % self)
        under, over = pdu.flags & 0x02, pdu.flags & 0x04
        if under and over:
            raise Failure("underflow and overflow both in %r" % pdu)
        if not under and not over:
            expect("residual count without a flag", 0, pdu.residual)
        self.residual = pdu.residual if under else -pdu.residual if over else 0
        self.answer = pdu
        self.is_done = True

    # what a test says

    def wait(self, timeout=None):
        self.session.pump(lambda: self.is_done, "the end of %r" % self, timeout)
        return self

    @property
    def sense_code(self):
        """(key, asc, ascq) of fixed or descriptor sense; None when there is none."""
        if not self.sense:
            return None
        if self.sense[0] & 0x7F >= 0x72:
            return (self.sense[1] & 0x0F, self.sense[2], self.sense[3])
        return (self.sense[2] & 0x0F, self.sense[12], self.sense[13])

    def good(self, data=None, residual=0):
        """GOOD, with this data and residual (positive: underflow); gives the data."""
        self.wait()
        if (self.response, self.status) != (0, GOOD):
            raise Failure("%s: expected GOOD, came response %s status %s sense %s"
                          % (self.cdb.hex(), self.response, self.status,
                             self.sense_code and "%x/%02x/%02x" % self.sense_code))
        expect("residual of %s" % self.cdb.hex(), residual, self.residual)
        if data is not None and bytes(self.data) != data:
            raise Failure("data of %s: %s" % (self.cdb.hex(), difference(data, bytes(self.data))))
        return bytes(self.data)

    def refused(self, key, asc=None, ascq=None):
        """CHECK CONDITION with this sense."""
        self.wait()
        expect("status of %s" % self.cdb.hex(), CHECK_CONDITION, self.status)
        came = self.sense_code
        wanted = (key,) if asc is None else (key, asc) if ascq is None else (key, asc, ascq)
        expect("sense of %s" % self.cdb.hex(), "/".join("%02x" % x for x in wanted),
               "/".join("%02x" % x for x in came[:len(wanted)]))
        return self

    def conflicts(self):
        self.wait()
        expect("status of %s" % self.cdb.hex(), RESERVATION_CONFLICT, self.status)
        return self


def difference(expected, came):
    if len(expected) != len(came):
        return "expected %d bytes, came %d" % (len(expected), len(came))
    at = next(i for i, (a, b) in enumerate(zip(expected, came)) if a != b)
    return "expected %s at byte %d, came %s" % (
        expected[at:at + 16].hex(), at, came[at:at + 16].hex())


# CDBs


def read10(lba, blocks):
    return b"\x28\0" + lba.to_bytes(4, "big") + b"\0" + blocks.to_bytes(2, "big") + b"\0"


def write10(lba, blocks):
    return b"\x2a\0" + lba.to_bytes(4, "big") + b"\0" + blocks.to_bytes(2, "big") + b"\0"


def inquiry(length=255, page=None):
    return bytes([0x12, page is not None, page or 0]) + length.to_bytes(2, "big") + b"\0"


def report_luns(length=4096):
    return b"\xa0" + bytes(5) + length.to_bytes(4, "big") + bytes(2)


TEST_UNIT_READY = bytes(6)
RESERVE6 = b"\x16" + bytes(5)
RELEASE6 = b"\x17" + bytes(5)


def pattern(size, seed=1):
    """Bytes in which no block is like another."""
    words = bytearray()
    for block in range(-(-size // 512)):
        words += (seed << 32 | block).to_bytes(8, "big") * 64
    return bytes(words[:size])
