"""libiscsi's conformance tests: a test of ours a family, each test of theirs in its own process.

A test of theirs passes, fails or is skipped because the LUN says that it has no such thing. A skip that
isn't listed here with its reason is a failure: it would hide that a feature was lost.
"""

import re
import subprocess

from nestor import SLOWNESS, Daemon, Failure, limit, lun, must_run, target, tool

TEST_SECONDS = 30


def tests_of(family):
    """The family's tests, SCSI.Read10.Simple and so on, as iscsi-test-cu lists them."""
    listed = must_run(tool("iscsi-test-cu"), "-l").split()
    suites = ("iSCSI",) if family.startswith("iSCSI") else ("SCSI", "ALL")
    for suite in suites:
        found = [t for t in listed if re.fullmatch(rf"{suite}\.{family}\.[^.]+", t)]
        if found:
            return found
    raise Failure(f"iscsi-test-cu has no family {family}")


def run_test(daemon, test, urls, but=None):
    """(how it ended, why): "passed", "skipped" or "FAILED", and the lines that tell.

    `but` is the text of an assertion that may fail: a test in which only that one did has passed.
    """
    command = ["timeout", "-k", "1", str(TEST_SECONDS * SLOWNESS), tool("iscsi-test-cu"), "-d", "-v",
               "-f", "-t", test, *urls]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=daemon.dir)
    said = done.stdout + done.stderr
    # the test's own words; its first assertions tell more than the thousandth
    words = "\n".join(said[said.find("Suite:"):].split("Run Summary")[0].splitlines()[:15])
    if done.returncode == 124:
        return "FAILED", f"not done within {TEST_SECONDS * SLOWNESS} s\n{words}"
    tests = re.search(r"^\s+tests\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)", said, re.M)
    if not tests or tests.group(2) == "0" or tests.group(1) != tests.group(2):
        return "FAILED", f"exit status {done.returncode}, not all ran\n{words}"
    failed = re.findall(r"^\s+\d+\. \S+:\d+\s+- (.*)$", said, re.M)
    if any(but is None or but not in assertion for assertion in failed) or (
            done.returncode != 0 and not failed):
        return "FAILED", f"exit status {done.returncode}\n{words}"
    skipped = re.search(r"\[SKIPPED\] *(.*)", said)
    if skipped:
        return "skipped", skipped.group(1)
    return "passed", ""


def conforms(family, may_skip=(), but=None, whole=False, multipath=False, **keys):
    """Runs the family's tests, shows a row each, and fails when one did or was skipped unlisted.

    whole    the family in one process: its tests need each other
    keys     of the LUN, such as readonly=True
    """
    faults = []
    daemon = Daemon([target(lun(0, **keys))])
    with open(daemon.image(), "wb") as image:
        image.truncate(1 << 30)
    with daemon:
        urls = [daemon.url(0)] * (2 if multipath else 1)
        tests = tests_of(family)
        for test in [tests[0].rpartition(".")[0]] if whole else tests:
            name = test.split(".")[-1]
            result, why = run_test(daemon, test, urls, but)
            daemon.expect_serving()
            print(f"note: {name:28} {result} {why if result == 'skipped' else ''}".rstrip())
            if result == "FAILED" or (result == "skipped" and name not in may_skip):
                faults.append(f"{test}: {result}: {why}")
    if faults:
        raise Failure("\n".join(faults))


@limit(120)
def e2e_conforms_in_compare_and_write():
    # one of theirs wants several logical blocks in a physical one
    conforms("CompareAndWrite", physical_block_size=4096)


@limit(120)
def e2e_conforms_in_extended_copy():
    conforms("ExtendedCopy")


@limit(120)
def e2e_conforms_in_get_lba_status():
    conforms("GetLBAStatus")


@limit(120)
def e2e_conforms_in_inquiry():
    conforms("Inquiry")


@limit(120)
def e2e_conforms_in_mandatory():
    conforms("Mandatory")


@limit(120)
def e2e_conforms_in_mode_sense6():
    conforms("ModeSense6")


@limit(120)
def e2e_conforms_in_no_media():
    conforms("NoMedia")


@limit(120)
def e2e_conforms_in_or_write():
    conforms("OrWrite")


@limit(120)
def e2e_conforms_in_prefetch10():
    conforms("Prefetch10")


@limit(120)
def e2e_conforms_in_prefetch16():
    conforms("Prefetch16")


@limit(120)
def e2e_conforms_in_prevent_allow():
    # they prevent the removal of media, and a LUN has none that can be removed
    conforms("PreventAllow", may_skip=("Simple", "Eject", "ITNexusLoss", "Logout", "WarmReset",
                                       "ColdReset", "LUNReset", "2ITNexuses"))


@limit(120)
def e2e_conforms_in_prin_read_keys():
    conforms("PrinReadKeys")


@limit(120)
def e2e_conforms_in_prin_serviceaction_range():
    conforms("PrinServiceactionRange")


@limit(120)
def e2e_conforms_in_prin_report_capabilities():
    conforms("PrinReportCapabilities")


@limit(120)
def e2e_conforms_in_prout_register():
    conforms("ProutRegister")


@limit(120)
def e2e_conforms_in_prout_reserve():
    conforms("ProutReserve")


@limit(120)
def e2e_conforms_in_prout_clear():
    conforms("ProutClear")


@limit(120)
def e2e_conforms_in_prout_preempt():
    conforms("ProutPreempt")


@limit(120)
def e2e_conforms_in_read6():
    conforms("Read6")


@limit(120)
def e2e_conforms_in_read10():
    conforms("Read10")


@limit(120)
def e2e_conforms_in_read12():
    conforms("Read12")


@limit(120)
def e2e_conforms_in_read16():
    conforms("Read16")


@limit(120)
def e2e_conforms_in_read_capacity10():
    conforms("ReadCapacity10")


@limit(120)
def e2e_conforms_in_read_capacity16():
    conforms("ReadCapacity16")


@limit(120)
def e2e_conforms_in_read_defect_data10():
    conforms("ReadDefectData10")


@limit(120)
def e2e_conforms_in_read_defect_data12():
    conforms("ReadDefectData12")


@limit(120)
def e2e_conforms_in_read_only():
    conforms("ReadOnly", readonly=True)


@limit(120)
def e2e_conforms_in_receive_copy_results():
    conforms("ReceiveCopyResults")


@limit(120)
def e2e_conforms_in_report_supported_opcodes():
    conforms("ReportSupportedOpcodes")


@limit(120)
def e2e_conforms_in_reserve6():
    conforms("Reserve6")


@limit(120)
def e2e_conforms_in_start_stop_unit():
    # Simple ejects the medium of a removable disk
    conforms("StartStopUnit", may_skip=("Simple",))


@limit(120)
def e2e_conforms_in_test_unit_ready():
    conforms("TestUnitReady")


@limit(120)
def e2e_conforms_in_unmap():
    conforms("Unmap")


@limit(120)
def e2e_conforms_in_verify10():
    conforms("Verify10")


@limit(120)
def e2e_conforms_in_verify12():
    conforms("Verify12")


@limit(120)
def e2e_conforms_in_verify16():
    conforms("Verify16")


@limit(120)
def e2e_conforms_in_write10():
    conforms("Write10")


@limit(120)
def e2e_conforms_in_write12():
    conforms("Write12")


@limit(120)
def e2e_conforms_in_write16():
    conforms("Write16")


@limit(120)
def e2e_conforms_in_write_atomic16():
    conforms("WriteAtomic16")


@limit(120)
def e2e_conforms_in_write_same10():
    # WSNZ is told. The tests of unaligned ranges want several blocks in a physical one.
    conforms("WriteSame10", may_skip=("ZeroBlocks",), physical_block_size=4096)


@limit(120)
def e2e_conforms_in_write_same16():
    # WSNZ is told. The tests of unaligned ranges want several blocks in a physical one.
    conforms("WriteSame16", may_skip=("ZeroBlocks",), physical_block_size=4096)


@limit(120)
def e2e_conforms_in_write_verify10():
    conforms("WriteVerify10")


@limit(120)
def e2e_conforms_in_write_verify12():
    conforms("WriteVerify12")


@limit(120)
def e2e_conforms_in_write_verify16():
    conforms("WriteVerify16")


@limit(120)
def e2e_conforms_in_iscsi_cmdsn():
    conforms("iSCSIcmdsn")


@limit(120)
def e2e_conforms_in_iscsi_datasn():
    conforms("iSCSIdatasn")


@limit(120)
def e2e_conforms_in_iscsi_residuals():
    conforms("iSCSIResiduals")


@limit(120)
def e2e_conforms_in_iscsi_tmf():
    # Two things of theirs: the second test reads a variable that the first one's answer sets, so that
    # alone it fails on any target; and the first takes Function Complete for a write that was already
    # answered as wrong. ESX closes the connection when it gets "task does not exist" there.
    conforms("iSCSITMF", whole=True, but="CU_ASSERT_EQUAL(state.wr_good,0)")


@limit(120)
def e2e_conforms_in_multipath_io():
    conforms("MultipathIO", multipath=True)
