"""What other targets got wrong, and VMware's hosts paid for: one test a trap, as far as no other
file here has it (each of them names its trap). Block commands beyond ATS are in it too: WRITE SAME,
UNMAP and XCOPY as ESXi sends them."""

from generations import ESX4, ESXI5, ESXI8, GENERATIONS, REPORT_TARGET_PORT_GROUPS, Host, discover
from locking import ats
from nestor import IQN, Daemon, Failure, binary, expect, lun, run, target, wait_until
from task import ORDERED, RESERVE6, TEST_UNIT_READY, inquiry, pattern, read10, write10

MIB = 1 << 20
BLOCKS = 64 * MIB // 512
UNMAP_BIT = 0x08


def write_same16(lba, blocks, flags=0):
    return bytes([0x93, flags]) + lba.to_bytes(8, "big") + blocks.to_bytes(4, "big") + bytes(2)


def write_same10(lba, blocks, flags=0):
    return bytes([0x41, flags]) + lba.to_bytes(4, "big") + b"\0" + blocks.to_bytes(2, "big") + b"\0"


def unmap(*extents):
    """CDB and parameter list."""
    rows = b"".join(lba.to_bytes(8, "big") + n.to_bytes(4, "big") + bytes(4) for lba, n in extents)
    data = (len(rows) + 6).to_bytes(2, "big") + len(rows).to_bytes(2, "big") + bytes(4) + rows
    return b"\x42" + bytes(6) + len(data).to_bytes(2, "big") + b"\0", data


def allocated(daemon):
    return daemon.image().stat().st_blocks * 512


# Trap 4 and 5: WRITE SAME


def test_write_same_of_zeroes_ends_where_it_says():
    """Trap 5: a small count near the end ran past the device. And never 05/25/00 for it."""
    with Daemon() as daemon, Host(daemon, ESXI5).log_in().ready() as host:
        tail = pattern(16 * 512, 5)
        for make in (write_same16, write_same10):
            for blocks in (1, 2, 7, 8, 9, 15):
                host.command(write10(BLOCKS - 16, 16), write=tail).good()
                host.command(make(BLOCKS - blocks, blocks), write=bytes(512)).good()
                wanted = tail[:(16 - blocks) * 512] + bytes(blocks * 512)
                host.command(read10(BLOCKS - 16, 16), read=8192).good(wanted)
            for lba, blocks in ((BLOCKS - 1, 2), (BLOCKS, 1), (BLOCKS - 8, 4096)):
                host.command(make(lba, blocks), write=bytes(512)).refused(5, 0x21, 0)
        expect("bytes of the image", 64 * MIB, daemon.image().stat().st_size)


def test_write_same_of_a_pattern_is_written():
    with Daemon() as daemon, Host(daemon, ESXI8).log_in().ready() as host:
        block = pattern(512, 77)
        host.command(write_same16(3, 2048), write=block).good()
        host.command(read10(0, 2054), read=2054 * 512).good(bytes(3 * 512) + block * 2048
                                                             + bytes(3 * 512))


def test_write_same_has_a_limit_that_is_told():
    """Trap 4: a buffer as long as all that is written. WSNZ: 0 is not "to the end"."""
    with Daemon([target(lun(0, size="3T"))]) as daemon, \
            Host(daemon, ESXI8).log_in().ready() as host:
        limits = host.command(inquiry(255, page=0xB0), read=255).wait().data
        most = int.from_bytes(limits[36:44], "big")
        expect("WSNZ", 1, limits[4] & 1)
        if not 2048 <= most < 3 << 31:
            raise Failure(f"MAXIMUM WRITE SAME LENGTH: {most} blocks")
        host.command(write_same16(0, most), write=bytes(512)).good()
        host.command(write_same16(0, most + 1), write=bytes(512)).refused(5, 0x24, 0)
        host.command(write_same16(0, 0), write=bytes(512)).refused(5, 0x24, 0)


def test_write_same_with_unmap_frees():
    """Trap 4: GOOD without action."""
    with Daemon() as daemon, Host(daemon, ESXI8).log_in().ready() as host:
        host.command(write10(0, 8192), write=pattern(4 * MIB)).good()
        before = allocated(daemon)
        host.command(write_same16(0, 8192, UNMAP_BIT), write=bytes(512)).good()
        host.command(read10(0, 8192), read=4 * MIB).good(bytes(4 * MIB))
        if allocated(daemon) > before - 4 * MIB + 65536:
            raise Failure(f"{before} bytes before, {allocated(daemon)} after: nothing was freed")


# UNMAP


def test_unmap_frees_and_reads_zero():
    """VMFS 6 frees in whole MiB, VMFS 5 at any block."""
    with Daemon() as daemon, Host(daemon, ESXI8).log_in().ready() as host:
        data = pattern(4 * MIB)
        host.command(write10(0, 8192), write=data).good()
        before = allocated(daemon)
        cdb, extents = unmap((2048, 2048), (4096 + 3, 2))
        host.command(cdb, write=extents).good()
        wanted = bytearray(data)
        wanted[MIB:2 * MIB] = bytes(MIB)
        wanted[2 * MIB + 3 * 512:2 * MIB + 5 * 512] = bytes(1024)
        host.command(read10(0, 8192), read=4 * MIB).good(bytes(wanted))
        if allocated(daemon) > before - MIB + 65536:
            raise Failure(f"{before} bytes before, {allocated(daemon)} after: nothing was freed")


def test_unmap_that_lies_changes_nothing():
    with Daemon() as daemon, Host(daemon, ESXI8).log_in().ready() as host:
        data = pattern(8 * 512)
        host.command(write10(0, 8), write=data).good()
        cdb, extents = unmap((0, 8), (BLOCKS - 1, 2))
        host.command(cdb, write=extents).refused(5, 0x21, 0)
        host.command(read10(0, 8), read=4096).good(data)
        host.command(cdb[:7] + b"\0\0\0", read=0).good()


# XCOPY


def naa_of(host, number):
    data, at = bytes(host.command(inquiry(255, page=0x83), lun=number, read=255).wait().data), 4
    while data[at + 1] & 0x3F != 3:
        at += 4 + data[at + 3]
    return data[at + 4:at + 20]


def xcopy(source, destination, from_lba, to_lba, blocks):
    """CDB and parameter list as ESX has them: two E4h descriptors, one segment of type 02h."""
    def cscd(naa):
        return (b"\xe4\0\0\0\1\3\0\x10" + naa).ljust(28, b"\0") + (512).to_bytes(4, "big")

    segment = (b"\x02\0\0\x18\0\0\0\1\0\0" + blocks.to_bytes(2, "big")
               + from_lba.to_bytes(8, "big") + to_lba.to_bytes(8, "big"))
    header = (b"\1\0" + (64).to_bytes(2, "big") + bytes(4) + len(segment).to_bytes(4, "big")
              + bytes(4))
    data = header + cscd(source) + cscd(destination) + segment
    return b"\x83\0" + bytes(8) + len(data).to_bytes(4, "big") + bytes(2), data


def test_clone_within_and_between_luns():
    data = pattern(4 * MIB, 9)
    with Daemon([target(lun(0, size="64M"), lun(1, size="64M"))]) as daemon, \
            Host(daemon, ESXI5).log_in().ready(0, 1) as host:
        names = [naa_of(host, n) for n in (0, 1)]
        host.command(write10(2048, 8192), write=data).good()
        for to in (0, 1):
            cdb, said = xcopy(names[0], names[to], 2048, 32768, 8192)
            host.command(cdb, write=said).good()
            host.command(read10(32768, 8192), lun=to, read=len(data)).good(data)


def test_clone_reaches_no_lun_that_the_host_does_not_see():
    """Others looked the name up among all LUNs of the machine, and gave them to anybody."""
    rows = [lun(0, size="64M"), lun(1, size="64M", initiators=["iqn.2026-11.other:host"])]
    with Daemon([target(*rows)]) as daemon, Host(daemon, ESXI5).log_in().ready() as host, \
            Host(daemon, ESXI5, 2) as other:
        other.name = "iqn.2026-11.other:host"
        other.log_in().ready(0, 1)
        secret = pattern(4096, 8)
        other.command(write10(0, 8), lun=1, write=secret).good()
        mine, hidden = naa_of(host, 0), naa_of(other, 1)
        for source, destination in ((hidden, mine), (mine, hidden)):
            cdb, said = xcopy(source, destination, 0, 0, 8)
            task = host.command(cdb, write=said)
            expect("status", 2, task.status)
            if task.sense_code[0] not in (5, 0xA):
                raise Failure(f"refused with {task.sense_code}")
        host.command(read10(0, 8), read=4096).good(bytes(4096))
        other.command(read10(0, 8), lun=1, read=4096).good(secret)


# Trap 9, 12, 13, 14, 15


def test_cloned_hosts_are_named_in_the_log():
    """Trap 9: one IQN and every ESX's ISID, from two addresses."""
    with Daemon() as daemon:
        hosts = [Host(daemon, ESXI8, source=("127.0.0.%d" % (2 + n % 2), 0)).log_in()
                 for n in range(4)]
        wait_until(lambda: "two hosts have one name" in daemon.log(), "a word on cloned hosts")
        if hosts[0].name not in daemon.log().split("two hosts have one name")[0].splitlines()[-1]:
            raise Failure(f"the name is not in it:\n{daemon.log_tail()}")
        for host in hosts:
            host.close()


def test_port_groups_are_the_same_seen_from_every_port():
    """Trap 12: ESX takes one port's answer for all. TPGS is 0, so refusing is as good."""
    with Daemon() as daemon:
        seen = []
        for isid in (0x00023D000001, 0x00023D000002):
            with Host(daemon, ESXI8, isid=isid).log_in().ready() as host:
                task = host.command(REPORT_TARGET_PORT_GROUPS, read=512)
                if task.status:
                    task.refused(5)
                seen.append((task.status, bytes(task.data)))
        expect("both answers", seen[0], seen[1])


def test_ordered_writes_are_done_in_order():
    """Trap 13: the full task model is told, so ORDERED is a promise."""
    with Daemon() as daemon:
        for generation in GENERATIONS:
            with Host(daemon, generation).log_in().ready() as host:
                for _ in range(10):
                    for n in range(16):
                        last = host.submit(write10(0, 8), write=pattern(4096, n),
                                           attribute=ORDERED)
                    last.good()
                    host.command(read10(0, 8), read=4096, attribute=ORDERED).good(pattern(4096, 15))


def test_a_host_that_may_log_in_discovers_what_it_may_use():
    """Trap 14: the filter by name hid the target from discovery."""
    rows = [target(lun(0, size="64M"), initiators=["iqn.1998-01.com.vmware:*"]),
            target(lun(0, "b.img", size="64M"), name=IQN + "-b",
                   initiators=["iqn.2026-11.other:*"])]
    with Daemon(rows) as daemon:
        for generation in GENERATIONS:
            names = [name for name, _ in discover(daemon, generation)]
            expect(f"what {generation} sees", [IQN], names)
            with Host(daemon, generation).log_in().ready() as host:
                host.command(TEST_UNIT_READY).good()


def test_names_that_no_standard_allows_are_refused_in_the_config():
    """Trap 15."""
    for name in ("iqn.2026-11.lab.nestor:a_b", "iqn.2026-11.lab.nestor:a b", "nestor"):
        daemon = Daemon([target(lun(0, size="64M"), name=name)])
        daemon.write_config()
        done = run(binary("nestord"), "-c", daemon.config_path, "-t")
        if done.returncode == 0:
            raise Failure(f"{name!r} was taken")


# Trap 7, 16, 18


def test_residuals_are_exact_without_data_too():
    """Trap 7: EDTL, the CDB's length and what was produced are three numbers."""
    with Daemon() as daemon, Host(daemon, ESX4).log_in().ready() as host:
        host.command(inquiry(36), read=1, edtl=0).good(residual=-36)
        host.command(inquiry(255), read=64).wait()
        host.command(read10(0, 8), read=512).good(residual=-(4096 - 512))
        host.command(read10(0, 0), read=512).good(residual=512)
        host.command(write10(0, 1), write=bytes(1024)).good(residual=512)


def test_a_ping_to_a_host_that_is_gone_does_no_harm():
    """Trap 16: crashed one target twice."""
    with Daemon(nop_interval=1, nop_timeout=1) as daemon:
        for n in range(1, 9):
            host = Host(daemon, ESXI8, n).log_in().ready()
            if n % 2:
                host.reset()
            else:
                host.answer_pings = False
        wait_until(lambda: not daemon.json("session", "list")["sessions"], "them to be gone", 15)
        with Host(daemon, ESXI8).log_in().ready() as host:
            host.command(TEST_UNIT_READY).good()


def test_refusals_bring_their_sense_along():
    """Trap 18: in the SCSI Response, never in a Data-In with status; the initiator checks which."""
    with Daemon() as daemon:
        for generation in GENERATIONS:
            with Host(daemon, generation).log_in().ready() as host:
                host.command(read10(BLOCKS, 1), read=512).refused(5, 0x21, 0)
                host.command(b"\xff" + bytes(15), read=512).refused(5, 0x20, 0)
                host.command(inquiry(255, page=0xEE), read=255).refused(5, 0x24, 0)


def test_a_login_storm_of_two_clones_leaves_no_reservation_behind():
    """Traps 8 and 9: two "same" nexuses; what the old one held and sent ends before the new."""
    with Daemon() as daemon, Host(daemon, ESXI8, 9).log_in().ready() as other:
        for n in range(10):
            clone = Host(daemon, ESXI8).log_in().ready()
            clone.command(RESERVE6).good()
            clone.submit(write10(0, 8), write=pattern(4096, n))
            again = Host(daemon, ESXI8).log_in().ready()
            other.command(TEST_UNIT_READY).good()
            there = bytes(again.command(read10(0, 1), read=512).good())
            ats(again, 0, there, pattern(512, 100 + n)).good()
            other.command(read10(0, 1), read=512).good(pattern(512, 100 + n))
            clone.close()
            again.close()
