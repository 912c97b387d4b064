"""chap: the initiator's side of RFC 1994 over RFC 7143 12.1.3, from Python's own hashes."""

import base64
import hashlib
import os

HASHES = {5: hashlib.md5, 6: hashlib.sha1, 7: hashlib.sha256, 8: hashlib.sha3_256}


def response(algorithm, identifier, secret, challenge):
    return HASHES[algorithm](bytes([identifier]) + secret.encode() + challenge).digest()


def to_hex(value):
    return "0x" + value.hex()


def to_base64(value):
    return "0b" + base64.b64encode(value).decode()


def decode(text):
    if text[:2] in ("0x", "0X"):
        digits = text[2:]
        return bytes.fromhex(digits if len(digits) % 2 == 0 else "0" + digits)
    assert text[:2] in ("0b", "0B"), "expected a binary value, 0x or 0b, came %r" % text
    return base64.b64decode(text[2:])


class Chap:
    """What an initiator brings to it; mutual = (user, secret) asks the target to answer too."""

    def __init__(self, user, secret, algorithms="5", mutual=None, encode=to_hex,
                 challenge=None, reflect=False):
        self.user, self.secret, self.algorithms = user, secret, algorithms
        self.mutual, self.encode, self.reflect = mutual, encode, reflect
        self.challenge = challenge or os.urandom(16)
        self.identifier = os.urandom(1)[0]
        self.algorithm = None

    def answer(self, keys):
        """Our pairs to the target's CHAP_A, CHAP_I and CHAP_C."""
        for wanted in ("CHAP_A", "CHAP_I", "CHAP_C"):
            assert wanted in keys, "expected %s from the target, came %r" % (wanted, keys)
        self.algorithm = int(keys["CHAP_A"])
        assert keys["CHAP_A"] in self.algorithms.split(","), \
            "expected CHAP_A out of our list %s, came %s" % (self.algorithms, keys["CHAP_A"])
        identifier, challenge = int(keys["CHAP_I"], 0), decode(keys["CHAP_C"])
        assert 1 <= len(challenge) <= 1024, \
            "a challenge has 1 to 1024 bytes, came %d" % len(challenge)
        self.their_challenge = challenge
        digest = response(self.algorithm, identifier, self.secret, challenge)
        pairs = [("CHAP_N", self.user), ("CHAP_R", self.encode(digest))]
        if self.mutual:
            if self.reflect:
                self.challenge = challenge
            pairs += [("CHAP_I", str(self.identifier)), ("CHAP_C", self.encode(self.challenge))]
        return pairs

    def check(self, keys):
        """The target's CHAP_N and CHAP_R, when we asked for them."""
        if not self.mutual:
            assert "CHAP_R" not in keys, "nobody asked for CHAP_R, came %r" % keys
            return
        user, secret = self.mutual
        assert keys.get("CHAP_N") == user, "expected CHAP_N=%s, came %r" % (user, keys)
        expected = response(self.algorithm, self.identifier, secret, self.challenge)
        came = decode(keys.get("CHAP_R", "0x"))
        assert came == expected, \
            "the target's response: expected %s, came %s" % (expected.hex(), came.hex())
