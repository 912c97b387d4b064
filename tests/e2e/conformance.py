"""libiscsi's conformance tests: a test of ours a family, each test of theirs in a process of its own.

What is expected stands here, once: scripts/conformance runs the same tests on the same LUNs and writes
docs/conformance.md. A test of theirs must pass on one of the LUNs that its family runs on and fail on
none. What doesn't is listed in EXCUSES with its reason; a skip that isn't would hide a lost feature.
"""

import re
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from initiator import session
from nestor import SLOWNESS, Daemon, Failure, expect, limit, lun, must_run, target, tool

TEST_SECONDS = 30
MIB, GIB = 1 << 20, 1 << 30
OVERWRITE_SECONDS = 20  # of the large LUN, at least

# What each LUN says in the config besides its number and path
LUNS = {
    "default": {},
    "512e": {"physical_block_size": 4096},
    "readonly": {"readonly": True},
    "removable": {"removable": True},
    "large": {},
}
# and what its daemon says for all
DAEMONS = {"large": {"nop_interval": 0}}  # the client sleeps for a minute, and answers no ping

# The families with tests that skip themselves on the default LUN, and the LUN on which they run
ALSO_ON = {
    "CompareAndWrite": "512e",  # several logical blocks in a physical one
    "Unmap": "512e",
    "WriteSame10": "512e",
    "WriteSame16": "512e",
    "ReadOnly": "readonly",
    "NoMedia": "removable",
    "PreventAllow": "removable",
    "StartStopUnit": "removable",
}

# Tests that run on no LUN but this, and seconds for them. They are long: by scripts/conformance only
ONLY_ON = {
    # three seconds after it has sent an overwrite, and again a second later, it asserts that this still
    # goes on; then it looks once a minute whether it is over. tests/e2e/sanitize.py says the same shortly
    "Sanitize.Reset": ("large", 180),
}


@dataclass
class Excuse:
    """Why a test of theirs may end otherwise than passed."""

    outcome: str  # "skipped" or "failed"
    reason: str
    assertion: str = ""  # a failed one is excused only where all that failed say this


ABORT = "iSCSITMF.AbortTaskSimpleAsync"
NO_CRYPTO_ERASE = "nothing is encrypted, so there is no key to forget; the rest of the test runs"
WRITE_SAME_NON_ZERO = "VPD page B0h tells WSNZ=1: zero blocks are refused, as ESX wants it"

EXCUSES = {
    "WriteSame10.ZeroBlocks": Excuse("skipped", WRITE_SAME_NON_ZERO),
    "WriteSame16.ZeroBlocks": Excuse("skipped", WRITE_SAME_NON_ZERO),
    "Sanitize.CryptoErase": Excuse("skipped", NO_CRYPTO_ERASE.partition(";")[0]),
    "Sanitize.Readonly": Excuse("skipped", NO_CRYPTO_ERASE),
    "Sanitize.Reservations": Excuse("skipped", NO_CRYPTO_ERASE),
    ABORT: Excuse(
        "failed", "it passes or fails by timing on a target that suits ESX, see below",
        assertion="CU_ASSERT_EQUAL(state.wr_good,0)"),
    "iSCSITMF.LUNResetSimpleAsync": Excuse(
        "failed", "it fails on any target, see below. What a LUN reset does is tested in Reserve6.LUNReset, "
        "PreventAllow.LUNReset and tests/wire",
        assertion="CU_ASSERT_EQUAL(reconnect_succeeded,1)"),
}


@dataclass
class Result:
    outcome: str  # "passed", "skipped" or "failed"
    why: str = ""
    assertions: int = 0
    failed: list = field(default_factory=list)  # the assertions that did, as text


def families():
    """{family: [its tests]} as iscsi-test-cu lists them, each once."""
    found = {}
    for name in must_run(tool("iscsi-test-cu"), "-l").split():
        if match := re.fullmatch(r"ALL\.([^.]+)\.([^.]+)", name):
            found.setdefault(match.group(1), []).append(match.group(2))
    return found


def luns_of(family, test):
    """The names of the LUNs that a test runs on, the default one first."""
    if f"{family}.{test}" in ONLY_ON:
        return [ONLY_ON[f"{family}.{test}"][0]]
    return ["default"] + ([ALSO_ON[family]] if family in ALSO_ON else [])


def large_bytes():
    """So large that an overwrite lasts OVERWRITE_SECONDS on this disk, which a small LUN tells."""
    with Daemon([target(lun(0, size="256M"))]) as daemon, session(daemon) as host:
        overwrite = bytes([1, 0, 0, 1, 0])  # one pass of zeros
        cdb = bytes([0x48, 0x01, 0, 0, 0, 0, 0, 0, len(overwrite), 0])
        began = time.monotonic()
        host.command(cdb, write=overwrite, timeout=120).good()
        seconds = time.monotonic() - began
        free = shutil.disk_usage(daemon.dir).free
    size = (int(256 * MIB / seconds * OVERWRITE_SECONDS) // GIB + 1) * GIB
    if size > free // 2:
        raise Failure(f"no room here for the large LUN: {size // GIB} GiB, so that an overwrite of it lasts "
                      f"{OVERWRITE_SECONDS} s")
    return size


def lun_daemon(name):
    """A daemon, not started, with one LUN of this name in LUNS."""
    size = large_bytes() if name == "large" else GIB
    daemon = Daemon([target(lun(0, **LUNS[name]))], **DAEMONS.get(name, {}))
    with open(daemon.image(), "wb") as image:
        image.truncate(size)
    return daemon


def run_theirs(test, url, folder):
    """Runs "Family.Test" at a URL, by two paths; gives its Result."""
    seconds = ONLY_ON.get(test, (None, TEST_SECONDS))[1] * SLOWNESS
    command = ["timeout", "-k", "1", str(seconds), tool("iscsi-test-cu"), "-d", "-S", "-v",
               "-f", "-t", f"ALL.{test}", url, url]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=folder)
    said = done.stdout + done.stderr
    # the tests' own words; their first assertions tell more than the thousandth
    words = said[said.find("Suite:"):].split("Run Summary")[0]
    shown = "\n".join(words.splitlines()[:15])
    # a crash or a later message may stand in the same line
    failed = re.findall(r"^\s+\d+\. (\S+:\d+\s+- .*?)(?=\s+\[[A-Z]+\] |malloc\(\)|\s*$)", words, re.M)
    tests = re.search(r"^\s+tests\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)", said, re.M)
    asserts = re.search(r"^\s+asserts\s+(\d+)", said, re.M)
    count = int(asserts.group(1)) if asserts else 0
    if done.returncode == 124:
        return Result("failed", f"not done within {seconds} s\n{shown}", count)
    all_ran = tests and int(tests.group(1)) == int(tests.group(2)) > 0
    if done.returncode != 0 or failed or not all_ran:
        return Result("failed", f"exit status {done.returncode}\n{shown}", count, failed)
    # what comes after its result is said by the client's own cleaning up
    own = re.split(r"(?<!\[)\b(?:passed|FAILED)\b", words)[0]
    skipped = re.search(r"\[SKIPPED\] *(.*)", own)
    if skipped:
        return Result("skipped", skipped.group(1), count)
    return Result("passed", "", count)


def is_excused(name, result):
    excuse = EXCUSES.get(name)
    return bool(excuse and excuse.outcome == result.outcome and
                (result.outcome == "skipped" or not excuse.assertion or
                 (result.failed and all(excuse.assertion in text for text in result.failed))))


def faults_of(name, results):
    """What is wrong with the results of a test, {LUN: Result}: one line for each fault."""
    faults = [f"{name} on {where}: {result.why}" for where, result in results.items()
              if result.outcome == "failed" and not is_excused(name, result)]
    if not faults and all(result.outcome == "skipped" for result in results.values()):
        faults = [f"{name}: skipped everywhere: {result.why}" for result in results.values()
                  if not is_excused(name, result)]
    elif EXCUSES.get(name, Excuse("failed", "")).outcome == "skipped":
        faults.append(f"{name}: excused from running, and it runs")
    return faults


def conforms(family):
    """Runs the family's tests, shows a row each, and fails when one is not as it should be."""
    tests = [test for test in families()[family] if f"{family}.{test}" not in ONLY_ON]
    results = {test: {} for test in tests}
    for where in luns_of(family, tests[0]):
        with lun_daemon(where) as daemon:
            for test in tests:
                result = run_theirs(f"{family}.{test}", daemon.url(0), daemon.dir)
                daemon.expect_serving()
                results[test][where] = result
                print(f"note: {test:28} {where:10} {result.outcome} "
                      f"{result.why if result.outcome == 'skipped' else ''}".rstrip())
    faults = [fault for test in tests for fault in faults_of(f"{family}.{test}", results[test])]
    if faults:
        raise Failure("\n".join(faults))


@limit(120)
def e2e_conforms_in_compare_and_write():
    conforms("CompareAndWrite")


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
    conforms("PreventAllow")


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
    conforms("ReadOnly")


@limit(120)
def e2e_conforms_in_receive_copy_results():
    conforms("ReceiveCopyResults")


@limit(120)
def e2e_conforms_in_report_supported_opcodes():
    conforms("ReportSupportedOpcodes")


@limit(240)
def e2e_conforms_in_reserve6():
    conforms("Reserve6")


@limit(120)
def e2e_conforms_in_start_stop_unit():
    conforms("StartStopUnit")


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
def e2e_conforms_in_write_same10():
    conforms("WriteSame10")


@limit(120)
def e2e_conforms_in_write_same16():
    conforms("WriteSame16")


@limit(120)
def e2e_conforms_in_write_verify10():
    conforms("WriteVerify10")


@limit(120)
def e2e_conforms_in_write_verify12():
    conforms("WriteVerify12")


@limit(120)
def e2e_conforms_in_write_verify16():
    conforms("WriteVerify16")


@limit(240)
def e2e_conforms_in_sanitize():
    conforms("Sanitize")


@limit(120)
def e2e_conforms_in_write_atomic16():
    conforms("WriteAtomic16")


@limit(120)
def e2e_conforms_in_multipath_io():
    conforms("MultipathIO")


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
    conforms("iSCSITMF")


def e2e_every_test_of_theirs_is_run_here():
    theirs = families()
    here = set(re.findall(r'^    conforms\("(\w+)"\)$', Path(__file__).read_text(), re.M))
    expect("families that no test here runs", [], sorted(set(theirs) - here))
    names = {f"{family}.{test}" for family, tests in theirs.items() for test in tests}
    expect("excuses for tests that are not there", [], sorted(set(EXCUSES) - names))
    expect("LUNs for tests that are not there", [], sorted(set(ONLY_ON) - names))
