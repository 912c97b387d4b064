"""What a rescan asks, and what a host reads out of the answers."""

from generations import (ESX3, ESXI8, GENERATIONS, LOG_SENSE, READ_CAPACITY10, READ_CAPACITY16,
                         Host, mode_sense6)
from nestor import Daemon, Failure, expect, lun, target
from task import TEST_UNIT_READY, inquiry, read10, report_luns

MIB = 1 << 20
ALL_PAGES = (0x00, 0x80, 0x83, 0x86, 0xB0, 0xB1, 0xB2)
ATS, UNMAP, WRITE_SAME10, WRITE_SAME16, XCOPY = 0x89, 0x42, 0x41, 0x93, 0x83


def be(data, first, last):
    """The big-endian number in bytes first to last, as the standards' tables name them."""
    return int.from_bytes(data[first:last + 1], "big")


def page(host, number, lun=0):
    return bytes(host.command(inquiry(255, page=number), lun=lun, read=255).wait().data)


def test_every_generation_probes_its_lun():
    with Daemon() as daemon:
        for number, generation in enumerate(GENERATIONS, 1):
            with Host(daemon, generation, number).log_in().ready() as host:
                came = host.probe()
                expect("bytes of INQUIRY", 36, len(came["INQUIRY"]))
                expect("type of the device", 0, came["INQUIRY"][0])


def test_every_generation_probes_again_and_again_and_sees_the_same():
    """Discovery goes on every 300 s: an answer that changes is another disk."""
    with Daemon() as daemon:
        seen = []
        for number, generation in enumerate(GENERATIONS, 1):
            with Host(daemon, generation, number).log_in().ready() as host:
                for _ in range(3):
                    seen.append([page(host, n) for n in ALL_PAGES])
        for one in seen:
            expect("all pages", seen[0], one)


def test_a_probe_leaves_nothing_in_the_log():
    """smartd's LOG SENSE, ATA PASS-THROUGH and page 1Ch come every few minutes from every host."""
    with Daemon() as daemon, Host(daemon, ESXI8).log_in().ready() as host:
        before = daemon.log()
        for _ in range(20):
            host.probe()
        host.command(LOG_SENSE, read=512).wait()
        said = daemon.log()[len(before):]
        if any(word in said for word in ("LOG SENSE", "ATA PASS", "MODE SENSE", "0x85", "0x4d")):
            raise Failure(f"a probe was logged:\n{said}")


def test_inquiry_data_is_what_esx_expects():
    with Daemon() as daemon, Host(daemon, ESXI8).log_in().ready() as host:
        data = host.probe()["INQUIRY of all"]
        expect("version: SPC-3", 5, data[2])
        expect("HiSup and response data format", 0x12, data[3] & 0x1F)
        expect("additional length", len(data) - 5, data[4])
        expect("TPGS: no ALUA", 0, data[5] & 0x30)
        expect("CmdQue", 0x02, data[7] & 0x02)
        for first, last in ((8, 15), (16, 31), (32, 35)):
            text = data[first:last + 1]
            if not text.strip() or any(not 0x20 <= c < 0x7F for c in text):
                raise Failure(f"bytes {first} to {last} are no text: {text!r}")


def test_every_lun_has_one_vendor_and_product():
    """XCOPY between LUNs of different products is not even tried."""
    with Daemon([target(lun(0, size="64M"), lun(1, size="64M", vaai=False))]) as daemon, \
            Host(daemon, ESXI8).log_in().ready(0, 1) as host:
        first, second = (bytes(host.command(inquiry(36), lun=n, read=36).good()) for n in (0, 1))
        expect("vendor, product, revision", first[8:36], second[8:36])


def test_designators_are_the_luns_and_of_types_that_esx_takes():
    """NAA and T10, association 0; ESX takes no vendor specific one."""
    with Daemon([target(lun(0, size="64M"), lun(1, size="64M"))]) as daemon, \
            Host(daemon, ESXI8).log_in().ready(0, 1) as host:
        seen = set()
        for number in (0, 1):
            data, at, kinds = page(host, 0x83, number), 4, {}
            expect("PAGE LENGTH", len(data) - 4, be(data, 2, 3))
            while at < len(data):
                length = data[at + 3]
                association, kind = data[at + 1] >> 4 & 3, data[at + 1] & 15
                kinds[association, kind] = data[at + 4:at + 4 + length]
                at += 4 + length
            expect("the end of the last designator", len(data), at)
            naa, t10 = kinds[0, 3], kinds[0, 1]
            expect("NAA 6, 16 bytes", (6, 16), (naa[0] >> 4, len(naa)))
            serial = page(host, 0x80, number)[4:]
            expect("the serial in the T10 name", True, t10.endswith(serial.strip()))
            seen |= {naa, t10[:8 + 8], serial[:8]}
        # the vendor is one, and a host looks at the first characters only
        expect("different NAAs, T10 names, serials", 6, len(seen))


def test_every_page_that_is_listed_is_served_and_no_other():
    """Trap 22."""
    with Daemon([target(lun(0, size="64M"), lun(1, size="64M", vaai=False))]) as daemon, \
            Host(daemon, ESXI8).log_in().ready(0, 1) as host:
        for number in (0, 1):
            listed = list(page(host, 0x00, number)[4:])
            expect("ascending", sorted(set(listed)), listed)
            # B2h is about thin provisioning, which comes with UNMAP
            for wanted in ALL_PAGES[:-1] if number else ALL_PAGES:
                expect(f"page {wanted:02x}h is listed", True, wanted in listed)
            for one in range(256):
                task = host.command(inquiry(255, page=one), lun=number, read=255)
                if one in listed:
                    expect("its own number", one, task.wait().data[1])
                else:
                    task.refused(5, 0x24, 0)


def test_limits_are_those_that_vmfs_works_with():
    with Daemon() as daemon, Host(daemon, ESXI8).log_in().ready() as host:
        limits, thin = page(host, 0xB0), page(host, 0xB2)
        expect("PAGE LENGTH of B0h", 0x3C, be(limits, 2, 3))
        if limits[5] < 1:
            raise Failure("MAXIMUM COMPARE AND WRITE LENGTH is 0: no ATS")
        if be(limits, 8, 11) and be(limits, 8, 11) < 1024:
            raise Failure("MAXIMUM TRANSFER LENGTH is less than the 512 KiB that hosts may ask for")
        if be(limits, 20, 23):  # UNMAP
            granularity = be(limits, 28, 31) * 512
            if not granularity or MIB % granularity:
                raise Failure(f"granularity {granularity} does not divide 1 MiB: no auto-UNMAP")
            if be(limits, 24, 27) < 1:
                raise Failure("no descriptors at all")
            expect("LBPU", 0x80, thin[5] & 0x80)
            expect("LBPRZ", 0x04, thin[5] & 0x1C)
            expect("thin provisioned", 2, thin[6] & 7)


def test_a_lun_without_vaai_is_the_same_disk_without_it():
    """Trap 4: the identity of a LUN must not hang on the switch. Only 3PC is by it."""
    with Daemon([target(lun(0, size="64M", vaai=False))]) as daemon, \
            Host(daemon, ESX3).log_in().ready() as host:
        limits, thin = page(host, 0xB0), page(host, 0xB2)
        expect("MAXIMUM COMPARE AND WRITE LENGTH", 0, limits[5])
        expect("MAXIMUM UNMAP LBA COUNT", 0, be(limits, 20, 23))
        expect("LBPU, LBPWS, LBPWS10", 0, thin[5] & 0xE0 if thin else 0)
        data = bytes(host.command(inquiry(96), read=96).wait().data)
        expect("version", 5, data[2])
        expect("3PC", 0, data[5] & 8)
        for opcode, length in ((ATS, 16), (UNMAP, 10), (WRITE_SAME10, 10), (WRITE_SAME16, 16),
                               (XCOPY, 16)):
            host.command(bytes([opcode]) + bytes(length - 1)).refused(5, 0x20, 0)
        host.probe()


def test_report_luns_is_whole_and_peripheral():
    """Trap 2 of users, "no devices": length 8n, one byte of number, exact residual."""
    numbers = [0, 1, 7, 255]
    with Daemon([target(*[lun(n, size="64M") for n in numbers])]) as daemon, \
            Host(daemon, ESXI8).log_in().ready(*numbers) as host:
        for room in (16, 24, 256, 4096):
            task = host.command(report_luns(room), read=room)
            task.good(residual=max(0, room - 8 - 8 * len(numbers)))
            expect("LUN LIST LENGTH", 8 * len(numbers), be(task.data, 0, 3))
            listed = [task.data[at:at + 8] for at in range(8, len(task.data), 8)]
            wanted = [bytes([0, n]) + bytes(6) for n in numbers]
            expect("LUNs", wanted[:len(listed)], [bytes(one) for one in listed])


def test_lun_0_without_a_disk_answers():
    """A host asks LUN 0 what there is, whether it is a disk or not."""
    with Daemon([target(lun(3, size="64M"))]) as daemon:
        for generation in GENERATIONS:
            with Host(daemon, generation).log_in() as host:
                task = host.command(inquiry(36), read=36)
                task.good()
                expect("no device here", True, task.data[0] in (0x7F, 0x3F))
                task = host.command(report_luns(4096), read=4096)
                task.good(residual=4096 - 16)
                expect("LUNs", bytes([0, 3]) + bytes(6), bytes(task.data[8:16]))
                host.ready(3).probe(3)


def test_read_capacity_10_tells_of_more_only_when_there_is_more():
    """Trap 17: 2 TB - 512 B is the last size that ESX 3 and 4 see whole."""
    tib2 = 2 << 40
    sizes = {0: 64 * MIB, 1: tib2 - 512, 2: tib2, 3: tib2 + 4096, 4: 8 << 40}
    with Daemon([target(*[lun(n, size=str(s)) for n, s in sizes.items()])]) as daemon, \
            Host(daemon, ESXI8).log_in().ready(*sizes) as host:
        for number, size in sizes.items():
            small = host.command(READ_CAPACITY10, lun=number, read=8).good()
            large = host.command(READ_CAPACITY16, lun=number, read=32).good()
            last = size // 512 - 1
            expect(f"10 of {size}", min(last, 0xFFFFFFFF), be(small, 0, 3))
            expect(f"16 of {size}", last, be(large, 0, 7))
            expect("block length", (512, 512), (be(small, 4, 7), be(large, 8, 11)))


def test_blocks_are_512n_or_512e():
    """Exponents above 3 confuse hosts; 4Kn is for local disks only."""
    rows = [lun(0, size="64M"), lun(1, size="64M", physical_block_size=4096)]
    with Daemon([target(*rows)]) as daemon, Host(daemon, ESXI8).log_in().ready(0, 1) as host:
        for number, exponent in ((0, 0), (1, 3)):
            data = host.command(READ_CAPACITY16, lun=number, read=32).good()
            expect("logical blocks per physical block exponent", exponent, data[13] & 15)


def test_unit_ready_may_be_said_to_read():
    """ESX sets the R bit on TEST UNIT READY now and then; there is no data."""
    with Daemon() as daemon, Host(daemon, ESXI8).log_in().ready() as host:
        task = host.command(TEST_UNIT_READY, read=1, edtl=0)
        task.good()
        task = host.command(TEST_UNIT_READY, read=512)
        task.good(residual=512)


def test_wce_tells_the_truth():
    """Trap 24."""
    rows = [lun(0, size="64M"), lun(1, size="64M", cache="writethrough")]
    with Daemon([target(*rows)]) as daemon, Host(daemon, ESXI8).log_in().ready(0, 1) as host:
        for number, wce in ((0, 4), (1, 0)):
            data = host.command(mode_sense6(0x08), lun=number, read=192).wait().data
            at = 4 + data[3]
            expect("page", 8, data[at] & 0x3F)
            expect("WCE", wce, data[at + 2] & 4)


def test_a_lun_in_the_cdb_of_esx3_is_no_error():
    """SCSI-2 has the LUN in byte 1 of the CDB, and ESX 3 puts it there."""
    rows = [lun(n, size="64M") for n in range(3)]
    with Daemon([target(*rows)]) as daemon, Host(daemon, ESX3).log_in().ready(0, 1, 2) as host:
        for number in range(3):
            byte1 = number << 5
            host.command(bytes([0, byte1, 0, 0, 0, 0]), lun=number).good()
            host.command(bytes([0x12, byte1, 0, 0, 36, 0]), lun=number, read=36).good()
            host.command(bytes([0x08, byte1, 0, 0, 8, 0]), lun=number, read=4096).good()
        host.command(read10(0, 8), read=4096).good()
