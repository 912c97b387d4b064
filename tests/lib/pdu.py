"""pdu: iSCSI PDUs of RFC 7143 section 11 as Python objects, and CRC32C, for tests/lib/initiator.py.

Nothing is checked here that a test may want to get wrong: every field of every PDU can be set to
every value, and what was parsed is kept byte by byte.
"""

import struct

NOP_OUT, SCSI_COMMAND, TMF_REQUEST, LOGIN_REQUEST = 0x00, 0x01, 0x02, 0x03
TEXT_REQUEST, DATA_OUT, LOGOUT_REQUEST, SNACK = 0x04, 0x05, 0x06, 0x10
NOP_IN, SCSI_RESPONSE, TMF_RESPONSE, LOGIN_RESPONSE = 0x20, 0x21, 0x22, 0x23
TEXT_RESPONSE, DATA_IN, LOGOUT_RESPONSE, R2T = 0x24, 0x25, 0x26, 0x31
ASYNC, REJECT = 0x32, 0x3F

NAMES = {
    NOP_OUT: "NOP-Out", SCSI_COMMAND: "SCSI Command", TMF_REQUEST: "Task Management Request",
    LOGIN_REQUEST: "Login Request", TEXT_REQUEST: "Text Request", DATA_OUT: "Data-Out",
    LOGOUT_REQUEST: "Logout Request", SNACK: "SNACK Request", NOP_IN: "NOP-In",
    SCSI_RESPONSE: "SCSI Response", TMF_RESPONSE: "Task Management Response",
    LOGIN_RESPONSE: "Login Response", TEXT_RESPONSE: "Text Response", DATA_IN: "Data-In",
    LOGOUT_RESPONSE: "Logout Response", R2T: "R2T", ASYNC: "Async Message", REJECT: "Reject",
}

RESERVED_TAG = 0xFFFFFFFF
FINAL = 0x80

_COMMON = {"lun": (8, 8), "itt": (16, 4)}
_REQUEST = {**_COMMON, "cmd_sn": (24, 4), "exp_stat_sn": (28, 4)}
_ANSWER = {**_COMMON, "stat_sn": (24, 4), "exp_cmd_sn": (28, 4), "max_cmd_sn": (32, 4)}

# opcode -> field -> (offset, bytes); RFC 7143 11.3 to 11.19
LAYOUT = {
    NOP_OUT: {**_REQUEST, "ttt": (20, 4)},
    SCSI_COMMAND: {**_REQUEST, "edtl": (20, 4)},
    TMF_REQUEST: {**_REQUEST, "rtt": (20, 4), "ref_cmd_sn": (32, 4), "exp_data_sn": (36, 4)},
    LOGIN_REQUEST: {**_REQUEST, "version_max": (2, 1), "version_min": (3, 1), "isid": (8, 6),
                    "tsih": (14, 2), "cid": (20, 2)},
    TEXT_REQUEST: {**_REQUEST, "ttt": (20, 4)},
    DATA_OUT: {**_COMMON, "ttt": (20, 4), "exp_stat_sn": (28, 4), "data_sn": (36, 4),
               "offset": (40, 4)},
    LOGOUT_REQUEST: {**_REQUEST, "cid": (20, 2)},
    SNACK: {**_COMMON, "ttt": (20, 4), "exp_stat_sn": (28, 4), "beg_run": (40, 4),
            "run_length": (44, 4)},
    NOP_IN: {**_ANSWER, "ttt": (20, 4)},
    SCSI_RESPONSE: {**_ANSWER, "response": (2, 1), "status": (3, 1), "snack_tag": (20, 4),
                    "exp_data_sn": (36, 4), "bidi_residual": (40, 4), "residual": (44, 4)},
    TMF_RESPONSE: {**_ANSWER, "response": (2, 1)},
    LOGIN_RESPONSE: {**_ANSWER, "version_max": (2, 1), "version_active": (3, 1), "isid": (8, 6),
                     "tsih": (14, 2), "status": (36, 2)},
    TEXT_RESPONSE: {**_ANSWER, "ttt": (20, 4)},
    DATA_IN: {**_ANSWER, "status": (3, 1), "ttt": (20, 4), "data_sn": (36, 4),
              "offset": (40, 4), "residual": (44, 4)},
    LOGOUT_RESPONSE: {**_ANSWER, "response": (2, 1), "time2wait": (40, 2), "time2retain": (42, 2)},
    R2T: {**_ANSWER, "ttt": (20, 4), "r2t_sn": (36, 4), "offset": (40, 4), "desired": (44, 4)},
    ASYNC: {**_ANSWER, "event": (36, 1), "vendor_code": (37, 1), "parameter1": (38, 2),
            "parameter2": (40, 2), "parameter3": (42, 2)},
    REJECT: {**_ANSWER, "reason": (2, 1), "data_sn": (36, 4)},
}


class Pdu:
    """One PDU: a 48-byte header whose fields are attributes, AHS bytes, and a data segment."""

    def __init__(self, opcode, data=b"", ahs=b"", immediate=False, flags=FINAL, **fields):
        self.__dict__["bhs"] = bytearray(48)
        self.__dict__["data"] = bytes(data)
        self.__dict__["ahs"] = bytes(ahs)
        self.bhs[0] = opcode | (0x40 if immediate else 0)
        self.bhs[1] = flags
        self.bhs[4] = len(ahs) // 4
        self.bhs[5:8] = struct.pack(">I", len(data))[1:]
        for name, value in fields.items():
            if name == "cdb":
                self.bhs[32:32 + min(16, len(value))] = value[:16]
            else:
                setattr(self, name, value)

    @classmethod
    def parse(cls, bhs, ahs=b"", data=b""):
        pdu = cls(bhs[0] & 0x3F)
        pdu.__dict__.update(bhs=bytearray(bhs), ahs=bytes(ahs), data=bytes(data))
        return pdu

    @property
    def opcode(self):
        return self.bhs[0] & 0x3F

    @property
    def flags(self):
        return self.bhs[1]

    @property
    def name(self):
        return NAMES.get(self.opcode, "opcode 0x%02x" % self.opcode)

    @property
    def data_segment_length(self):
        return int.from_bytes(self.bhs[5:8], "big")

    def __getattr__(self, name):
        layout = LAYOUT.get(self.opcode, _REQUEST)
        if name not in layout:
            raise AttributeError("a %s has no field %s" % (self.name, name))
        offset, size = layout[name]
        return int.from_bytes(self.bhs[offset:offset + size], "big")

    def __setattr__(self, name, value):
        offset, size = LAYOUT.get(self.opcode, _REQUEST)[name]
        self.bhs[offset:offset + size] = value.to_bytes(size, "big")

    def __repr__(self):
        fields = " ".join("%s=0x%x" % (name, getattr(self, name))
                          for name in LAYOUT.get(self.opcode, {}))
        return "<%s flags=0x%02x %s data=%d>" % (self.name, self.flags, fields, len(self.data))

    def to_bytes(self, header_digest=False, data_digest=False):
        head = bytes(self.bhs) + self.ahs
        out = head
        if header_digest:
            out += digest(head)
        if self.data:
            padded = self.data + bytes(-len(self.data) % 4)
            out += padded
            if data_digest:
                out += digest(padded)
        return out


def lun_field(lun):
    """The 8-byte LUN: peripheral addressing below 256, flat space above (SAM-5 4.7.7)."""
    return (lun << 48) if lun < 256 else ((0x4000 | lun) << 48)


def encode_text(pairs):
    return b"".join(("%s=%s" % pair).encode() + b"\0" for pair in pairs)


def decode_text(data):
    """The pairs in order; a text without NUL at its end, or a pair without '=', is an error."""
    if not data:
        return []
    assert data.endswith(b"\0"), "the text must end in NUL (RFC 7143 6.1), came %r" % data[-40:]
    pairs = []
    for item in data[:-1].split(b"\0"):
        key, equals, value = item.partition(b"=")
        assert equals, "expected KEY=VALUE, came %r in %r" % (item, data)
        pairs.append((key.decode(), value.decode()))
    return pairs


def _crc32c_table():
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


_CRC_TABLE = _crc32c_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    table = _CRC_TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def digest(data):
    """As it stands on the wire: the CRC's least significant byte first (RFC 7143 13.1, B.4)."""
    return struct.pack("<I", crc32c(data))


# RFC 7143 appendix A.4: 32 bytes of zeroes
assert digest(bytes(32)) == bytes.fromhex("aa36918a")
assert digest(b"\xff" * 32) == bytes.fromhex("43aba862")
