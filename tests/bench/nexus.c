#include "tests/bench/nexus.h"
#include "proto/crc32c.h"
#include "proto/pdu.h"
#include "tests/bench/bench.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    TEXT_BYTES_MAX = 4096,
    ANSWER_BYTES_MAX = 256 * 1024,
    LOGIN_ROUNDS = 8,
    ATTENTIONS_MAX = 16,

    IMMEDIATE = 0x40,
    FINAL = 0x80,
    READ_BIT = 0x40,
    HAS_STATUS = 0x01,
    OPERATIONAL_TO_FULL = 0x87, /* T, CSG 1, NSG 3 */

    READ_CAPACITY_16_BYTES = 32,
};

static const uint32_t blocking_tag = 0x7ffffff0; /* no task of task.c has it */

/* ---- bytes ---- */

static int send_all(int socket, const uint8_t *bytes, size_t count)
{
    while (count) {
        struct pollfd wait = { .fd = socket, .events = POLLOUT };
        ssize_t sent = send(socket, bytes, count, MSG_NOSIGNAL);

        if (sent < 0 && errno == EAGAIN && poll(&wait, 1, NEXUS_WITHIN_MS) == 1)
            continue;
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return sent < 0 ? -errno : -EPIPE;
        bytes += sent;
        count -= (size_t)sent;
    }
    return 0;
}

static int receive_all(int socket, uint8_t *bytes, size_t count)
{
    while (count) {
        struct pollfd wait = { .fd = socket, .events = POLLIN };
        ssize_t came;

        if (poll(&wait, 1, NEXUS_WITHIN_MS) <= 0)
            return -ETIMEDOUT;
        came = recv(socket, bytes, count, 0);
        if (came < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (came <= 0)
            return came < 0 ? -errno : -ECONNRESET;
        bytes += came;
        count -= (size_t)came;
    }
    return 0;
}

/* One PDU; its data, without padding and digest, is in `data`. */
static int receive_pdu(struct nexus *nexus, uint8_t *bhs, uint8_t *data, size_t *data_bytes)
{
    size_t padded;
    uint8_t digest[DIGEST_BYTES];
    int error = receive_all(nexus->socket, bhs, BHS_BYTES);

    if (!error && nexus->has_header_digest) {
        error = receive_all(nexus->socket, digest, sizeof(digest));
        if (!error && !crc32c_matches(digest, crc32c_update(CRC32C_INIT, bhs, BHS_BYTES)))
            return -EBADMSG;
    }
    if (error)
        return error;
    *data_bytes = get_be24(bhs + 5);
    padded = (*data_bytes + 3) & ~(size_t)3;
    if (bhs[4] || padded > ANSWER_BYTES_MAX)
        return -EPROTO;
    error = receive_all(nexus->socket, data, padded);
    if (!error && padded && nexus->has_data_digest) {
        error = receive_all(nexus->socket, digest, sizeof(digest));
        if (!error && !crc32c_matches(digest, crc32c_update(CRC32C_INIT, data, padded)))
            return -EBADMSG;
    }
    return error;
}

int nexus_connect(const char *address, const char *port)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                                    .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
    struct addrinfo *found = NULL;
    const int on = 1;
    int fd, error = 0;

    if (getaddrinfo(address, port, &hints, &found))
        return -EINVAL;
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen))
        error = -errno;
    freeaddrinfo(found);
    if (error) {
        if (fd >= 0)
            close(fd);
        return error;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

/* ---- login ---- */

/* Each key=value ends in a NUL (RFC 7143 6.1). */
static void add_key(struct builder *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void add_key(struct builder *text, const char *format, ...)
{
    char pair[320];
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(pair, sizeof(pair), format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof(pair))
        fail("a login key is too long");
    builder_bytes(text, pair, (size_t)length + 1);
}

static void add_keys(struct builder *text, const struct nexus_wishes *wishes)
{
    static const char *const fixed[] = {
        "SessionType=Normal", "InitialR2T=No",        "MaxOutstandingR2T=1",
        "MaxConnections=1",   "DataPDUInOrder=Yes",   "DataSequenceInOrder=Yes",
        "DefaultTime2Wait=2", "DefaultTime2Retain=0", "ErrorRecoveryLevel=0",
    };

    add_key(text, "InitiatorName=%s%u", wishes->initiator, wishes->number);
    add_key(text, "TargetName=%s", wishes->target);
    for (size_t i = 0; i < sizeof(fixed) / sizeof(*fixed); i++)
        add_key(text, "%s", fixed[i]);
    add_key(text, "HeaderDigest=%s", wishes->wants_header_digest ? "CRC32C" : "None");
    add_key(text, "DataDigest=%s", wishes->wants_data_digest ? "CRC32C" : "None");
    add_key(text, "ImmediateData=%s", wishes->wants_immediate ? "Yes" : "No");
    add_key(text, "MaxRecvDataSegmentLength=%u", wishes->max_segment_bytes);
    add_key(text, "MaxBurstLength=%u", wishes->max_burst_bytes);
    add_key(text, "FirstBurstLength=%u", wishes->first_burst_bytes);
}

/* The value of a key in the answer's text, or NULL; the text is terminated behind its end. */
static const char *value_of(const char *text, size_t text_bytes, const char *key)
{
    size_t key_bytes = strlen(key);

    for (size_t at = 0; at < text_bytes; at += strlen(text + at) + 1)
        if (!strncmp(text + at, key, key_bytes) && text[at + key_bytes] == '=')
            return text + at + key_bytes + 1;
    return NULL;
}

static void take_number(const char *text, size_t bytes, const char *key, uint32_t *number)
{
    const char *value = value_of(text, bytes, key);

    if (value)
        *number = (uint32_t)strtoul(value, NULL, 0);
}

static void take_flag(const char *text, size_t bytes, const char *key, const char *yes, bool *flag)
{
    const char *value = value_of(text, bytes, key);

    if (value)
        *flag = !strcmp(value, yes);
}

struct digests {
    bool header, data; /* in force only after login */
};

static void take_keys(struct nexus *nexus, struct digests *digests, const char *text, size_t bytes)
{
    take_number(text, bytes, "MaxRecvDataSegmentLength", &nexus->max_segment_bytes);
    take_number(text, bytes, "FirstBurstLength", &nexus->first_burst_bytes);
    take_number(text, bytes, "MaxBurstLength", &nexus->max_burst_bytes);
    take_flag(text, bytes, "ImmediateData", "Yes", &nexus->has_immediate);
    take_flag(text, bytes, "InitialR2T", "Yes", &nexus->has_initial_r2t);
    take_flag(text, bytes, "HeaderDigest", "CRC32C", &digests->header);
    take_flag(text, bytes, "DataDigest", "CRC32C", &digests->data);
}

static void login_header(uint8_t *bhs, const struct nexus *nexus, unsigned number,
                         size_t text_bytes)
{
    memset(bhs, 0, BHS_BYTES);
    bhs[0] = PDU_LOGIN_REQUEST | IMMEDIATE;
    bhs[1] = OPERATIONAL_TO_FULL;
    put_be24(bhs + 5, (uint32_t)text_bytes);
    bhs[8] = 0x80; /* a random ISID, RFC 7143 11.12.5 */
    put_be32(bhs + 10, number);
    put_be32(bhs + 24, nexus->cmd_sn);
    put_be32(bhs + 28, nexus->exp_stat_sn);
}

/* Straight to the operational stage, no authentication. */
static int log_in(struct nexus *nexus, const struct nexus_wishes *wishes)
{
    static __thread char answer[ANSWER_BYTES_MAX + 1];
    uint8_t request[BHS_BYTES + TEXT_BYTES_MAX], bhs[BHS_BYTES] = { 0 };
    struct builder text = builder_over(request + BHS_BYTES, TEXT_BYTES_MAX - 4);
    struct digests digests = { 0 };
    uint16_t tsih = 0;

    add_keys(&text, wishes);
    if (text.overflow)
        fail("the login text is too long");
    for (int round = 0; round < LOGIN_ROUNDS; round++) {
        size_t padded = (text.len + 3) & ~(size_t)3, answer_bytes;
        int error;

        memset(request + BHS_BYTES + text.len, 0, padded - text.len);
        login_header(request, nexus, wishes->number, text.len);
        put_be16(request + 14, tsih);
        error = send_all(nexus->socket, request, BHS_BYTES + padded);
        if (!error)
            error = receive_pdu(nexus, bhs, (uint8_t *)answer, &answer_bytes);
        if (error)
            return error;
        if ((bhs[0] & 0x3f) != PDU_LOGIN_RESPONSE)
            return -EPROTO;
        if (bhs[36])
            return -EACCES;
        answer[answer_bytes] = '\0';
        take_keys(nexus, &digests, answer, answer_bytes);
        nexus->exp_stat_sn = get_be32(bhs + 24) + 1;
        nexus->max_cmd_sn = get_be32(bhs + 32);
        tsih = get_be16(bhs + 14);
        text.len = 0;
        if ((bhs[1] & OPERATIONAL_TO_FULL & 0x83) == 0x83) {
            nexus->has_header_digest = digests.header;
            nexus->has_data_digest = digests.data;
            return 0;
        }
    }
    return -EPROTO;
}

int nexus_open(struct nexus *nexus, const struct nexus_wishes *wishes)
{
    int error;

    *nexus = (struct nexus){
        .max_segment_bytes = 8192, /* the default of RFC 7143 13.12 */
        .first_burst_bytes = wishes->first_burst_bytes,
        .max_burst_bytes = wishes->max_burst_bytes,
        .has_immediate = wishes->wants_immediate,
    };
    nexus->socket = nexus_connect(wishes->address, wishes->port);
    if (nexus->socket < 0)
        return nexus->socket;
    error = log_in(nexus, wishes);
    if (!error && (nexus->has_header_digest != wishes->wants_header_digest ||
                   nexus->has_data_digest != wishes->wants_data_digest))
        error = -EPROTONOSUPPORT;
    if (error)
        nexus_close(nexus);
    return error;
}

void nexus_close(struct nexus *nexus)
{
    if (nexus->socket >= 0)
        close(nexus->socket);
    nexus->socket = -1;
}

/* ---- commands ---- */

void lun_put(uint8_t lun[LUN_BYTES], unsigned number)
{
    memset(lun, 0, LUN_BYTES);
    put_be16(lun, (uint16_t)(number < 256 ? number : 0x4000 | number));
}

static int send_command(struct nexus *nexus, unsigned lun, const uint8_t cdb[CDB_BYTES], size_t cap)
{
    uint8_t request[BHS_BYTES + DIGEST_BYTES] = { PDU_SCSI_COMMAND, FINAL | TASK_SIMPLE };

    request[1] |= cap ? READ_BIT : 0;
    lun_put(request + 8, lun);
    put_be32(request + 16, blocking_tag);
    put_be32(request + 20, (uint32_t)cap);
    put_be32(request + 24, nexus->cmd_sn++);
    put_be32(request + 28, nexus->exp_stat_sn);
    memcpy(request + 32, cdb, CDB_BYTES);
    crc32c_put(request + BHS_BYTES, crc32c_update(CRC32C_INIT, request, BHS_BYTES));
    return send_all(nexus->socket, request, nexus->has_header_digest ? sizeof(request) : BHS_BYTES);
}

int nexus_read(struct nexus *nexus, unsigned lun, const uint8_t cdb[CDB_BYTES], void *in,
               size_t cap, size_t *got)
{
    static __thread uint8_t data[ANSWER_BYTES_MAX];
    const uint64_t deadline_ns = now_ns() + NEXUS_WITHIN_MS * 1000000ull;
    int error = send_command(nexus, lun, cdb, cap);

    *got = 0;
    while (!error && now_ns() < deadline_ns) {
        uint8_t bhs[BHS_BYTES], opcode;
        size_t data_bytes;
        bool has_status;

        error = receive_pdu(nexus, bhs, data, &data_bytes);
        if (error)
            return error;
        opcode = bhs[0] & 0x3f;
        if (opcode == PDU_NOP_IN)
            continue; /* answered in its time by whoever measures */
        if ((opcode != PDU_DATA_IN && opcode != PDU_SCSI_RESPONSE) ||
            get_be32(bhs + 16) != blocking_tag)
            return -EPROTO;
        nexus->max_cmd_sn = get_be32(bhs + 32);
        has_status = opcode == PDU_SCSI_RESPONSE || bhs[1] & HAS_STATUS;
        if (has_status)
            nexus->exp_stat_sn = get_be32(bhs + 24) + 1;
        if (opcode == PDU_DATA_IN) {
            uint32_t offset = get_be32(bhs + 40);

            if ((uint64_t)offset + data_bytes > cap)
                return -EPROTO;
            memcpy((uint8_t *)in + offset, data, data_bytes);
            *got = offset + data_bytes;
        } else if (bhs[2]) {
            return -EPROTO;
        }
        if (has_status)
            return bhs[3];
    }
    return error ? error : -ETIMEDOUT;
}

uint64_t nexus_capacity(struct nexus *nexus, unsigned lun, uint32_t *block_bytes)
{
    const uint8_t test_unit_ready[CDB_BYTES] = { 0 };
    const uint8_t read_capacity[CDB_BYTES] = { 0x9e, 0x10, [13] = READ_CAPACITY_16_BYTES };
    uint8_t answer[READ_CAPACITY_16_BYTES];
    size_t got;
    int status = STATUS_CHECK_CONDITION;

    for (int i = 0; i < ATTENTIONS_MAX && status == STATUS_CHECK_CONDITION; i++)
        status = nexus_read(nexus, lun, test_unit_ready, NULL, 0, &got);
    if (status == STATUS_GOOD)
        status = nexus_read(nexus, lun, read_capacity, answer, sizeof(answer), &got);
    if (status != STATUS_GOOD || got < 12) {
        fprintf(stderr, "LUN %u is not ready: %s %d\n", lun, status < 0 ? "errno" : "status",
                status < 0 ? -status : status);
        return 0;
    }
    *block_bytes = get_be32(answer + 8);
    return (get_be64(answer) + 1) * *block_bytes;
}
