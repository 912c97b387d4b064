#include "tests/esx/path.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    BHS_BYTES = 48,
    SEGMENT_BYTES_MAX = 256 * 1024, /* what we say that we take, and the least that we need */
    TEXT_BYTES_MAX = 8192,

    NOP_OUT = 0x00,
    SCSI_COMMAND = 0x01,
    TASK_MANAGEMENT = 0x02,
    LOGIN_REQUEST = 0x03,
    NOP_IN = 0x20,
    SCSI_RESPONSE = 0x21,
    TASK_MANAGEMENT_RESPONSE = 0x22,
    LOGIN_RESPONSE = 0x23,
    DATA_IN = 0x25,

    IMMEDIATE = 0x40,
    FINAL = 0x80,
    READ_BIT = 0x40,
    WRITE_BIT = 0x20,
    SIMPLE = 0x01,

    LOGIN_WITHIN_MS = 5000, /* ESX's LoginTimeout */
    ABORT_WITHIN_MS = 10000,
    POLL_SLICE_MS = 1000,
    REST_WITHIN_MS = 10000,
};

static const uint32_t reserved_tag = 0xffffffff;
static const uint8_t esx_isid[6] = { 0x00, 0x02, 0x3d, 0x00, 0x00, 0x01 };

struct pdu {
    uint8_t bhs[BHS_BYTES];
    uint32_t data_bytes;
    uint8_t data[SEGMENT_BYTES_MAX + 4];
};

static void put_be32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static uint32_t be32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- bytes ---- */

static int send_all(const struct path *path, const uint8_t *bytes, size_t count)
{
    while (count) {
        ssize_t sent = send(path->socket, bytes, count, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return sent < 0 ? -errno : -EPIPE;
        bytes += sent;
        count -= (size_t)sent;
    }
    return 0;
}

static int await_bytes(const struct path *path, int64_t deadline_ms)
{
    for (;;) {
        int64_t left_ms = deadline_ms - now_ms();
        struct pollfd wait = { .fd = path->socket, .events = POLLIN };

        if (left_ms <= 0)
            return -ETIMEDOUT;
        if (poll(&wait, 1, left_ms > POLL_SLICE_MS ? POLL_SLICE_MS : (int)left_ms) > 0)
            return 0;
    }
}

/* The rest of a PDU: what does not come in time is a broken path, not a late answer. */
static int receive_all(const struct path *path, uint8_t *bytes, size_t count, int64_t deadline_ms)
{
    while (count) {
        int error = await_bytes(path, deadline_ms);
        ssize_t came;

        if (error)
            return -EPROTO;
        came = recv(path->socket, bytes, count, 0);
        if (came < 0 && errno == EINTR)
            continue;
        if (came <= 0)
            return came < 0 ? -errno : -ECONNRESET;
        bytes += came;
        count -= (size_t)came;
    }
    return 0;
}

/* ---- PDUs ---- */

static void begin_request(struct path *path, uint8_t *bhs, uint8_t opcode, uint8_t flags)
{
    memset(bhs, 0, BHS_BYTES);
    bhs[0] = opcode;
    bhs[1] = flags;
    bhs[9] = (uint8_t)path->lun;
    put_be32(bhs + 24, path->cmd_sn);
    put_be32(bhs + 28, path->exp_stat_sn);
}

static void set_data_bytes(uint8_t *bhs, size_t count)
{
    uint8_t high = bhs[4];

    put_be32(bhs + 4, (uint32_t)count);
    bhs[4] = high;
}

static int answer_ping(struct path *path, const struct pdu *ping)
{
    uint8_t bhs[BHS_BYTES];

    begin_request(path, bhs, NOP_OUT | IMMEDIATE, FINAL);
    memcpy(bhs + 8, ping->bhs + 8, 8);
    put_be32(bhs + 16, reserved_tag);
    memcpy(bhs + 20, ping->bhs + 20, 4);
    return send_all(path, bhs, sizeof(bhs));
}

/* One PDU. Once its first byte is there the rest must follow, or we are out of step. */
static int receive_any(struct path *path, struct pdu *pdu, int64_t deadline_ms)
{
    int error = await_bytes(path, deadline_ms);
    uint32_t padded;

    if (error)
        return error;
    error = receive_all(path, pdu->bhs, BHS_BYTES, now_ms() + REST_WITHIN_MS);
    if (error)
        return error;
    pdu->data_bytes = be32(pdu->bhs + 4) & 0xffffff;
    padded = (pdu->data_bytes + 3) & ~3u;
    if (pdu->bhs[4] || padded > sizeof(pdu->data))
        return -EPROTO;
    return receive_all(path, pdu->data, padded, now_ms() + REST_WITHIN_MS);
}

/* The next PDU that is no ping. */
static int receive_pdu(struct path *path, struct pdu *pdu, int64_t deadline_ms)
{
    for (;;) {
        int error = receive_any(path, pdu, deadline_ms);
        bool takes_stat_sn;

        if (error)
            return error;
        takes_stat_sn = (pdu->bhs[0] != DATA_IN || pdu->bhs[1] & 1) &&
                        !(pdu->bhs[0] == NOP_IN && be32(pdu->bhs + 16) == reserved_tag);
        if (takes_stat_sn)
            path->exp_stat_sn = be32(pdu->bhs + 24) + 1;
        if (pdu->bhs[0] != NOP_IN)
            return 0;
        if (be32(pdu->bhs + 20) != reserved_tag && (error = answer_ping(path, pdu)))
            return error;
    }
}

/* ---- login ---- */

static int connect_to(const char *address, const char *port)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                                    .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
    struct addrinfo *found = NULL;
    const int on = 1;
    int fd;

    if (getaddrinfo(address, port, &hints, &found))
        return -EINVAL;
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen)) {
        int error = -errno;

        if (fd >= 0)
            close(fd);
        freeaddrinfo(found);
        return error;
    }
    freeaddrinfo(found);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

/* Each key=value ends in a NUL (RFC 7143 6.1). */
static size_t login_text(char *text, const char *initiator, const char *target)
{
    static const char *const keys[] = {
        "SessionType=Normal",      "HeaderDigest=None",     "DataDigest=None",
        "InitialR2T=No",           "ImmediateData=Yes",     "MaxRecvDataSegmentLength=131072",
        "FirstBurstLength=262144", "MaxBurstLength=262144", "MaxOutstandingR2T=1",
        "MaxConnections=1",        "DefaultTime2Wait=2",    "DefaultTime2Retain=0",
        "ErrorRecoveryLevel=0",    "DataPDUInOrder=Yes",    "DataSequenceInOrder=Yes",
    };
    size_t used = 0;

    used += (size_t)snprintf(text + used, TEXT_BYTES_MAX - used, "InitiatorName=%s", initiator) + 1;
    used += (size_t)snprintf(text + used, TEXT_BYTES_MAX - used, "TargetName=%s", target) + 1;
    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
        used += (size_t)snprintf(text + used, TEXT_BYTES_MAX - used, "%s", keys[i]) + 1;
    return used;
}

static int log_in(struct path *path, const char *initiator, const char *target)
{
    uint8_t request[BHS_BYTES + TEXT_BYTES_MAX + 4] = { 0 };
    static __thread struct pdu answer;
    size_t text_bytes = login_text((char *)request + BHS_BYTES, initiator, target);
    int error;

    begin_request(path, request, LOGIN_REQUEST | IMMEDIATE,
                  0x80 | 1 << 2 | 3); /* T, CSG 1, NSG 3 */
    memcpy(request + 8, esx_isid, sizeof(esx_isid));
    memset(request + 14, 0, 2);
    set_data_bytes(request, text_bytes);
    error = send_all(path, request, BHS_BYTES + ((text_bytes + 3) & ~(size_t)3));
    if (!error)
        error = receive_pdu(path, &answer, now_ms() + LOGIN_WITHIN_MS);
    if (error)
        return error;
    if (answer.bhs[0] != LOGIN_RESPONSE || answer.bhs[36] != 0)
        return -EACCES;
    if ((answer.bhs[1] & 0x83) != 0x83)
        return -EPROTO;
    return 0;
}

int path_open(struct path *path, const char *address, const char *port, const char *initiator,
              const char *target)
{
    int error;

    path->cmd_sn = 1;
    path->exp_stat_sn = path->itt = 0;
    path->socket = connect_to(address, port);
    if (path->socket < 0)
        return path->socket;
    error = log_in(path, initiator, target);
    if (error)
        path_close(path);
    return error;
}

void path_close(struct path *path)
{
    if (path->socket >= 0)
        close(path->socket);
    path->socket = -1;
}

void path_cut(struct path *path)
{
    const struct linger at_once = { .l_onoff = 1, .l_linger = 0 };

    if (path->socket >= 0)
        setsockopt(path->socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    path_close(path);
}

/* ---- commands ---- */

static int send_command(struct path *path, const struct path_command *command)
{
    static __thread uint8_t bytes[BHS_BYTES + PATH_DATA_BYTES + 4];
    size_t expected = command->out_bytes ? command->out_bytes : command->in_bytes;
    size_t count = BHS_BYTES + ((command->out_bytes + 3) & ~(size_t)3);
    uint8_t flags = FINAL | SIMPLE;

    flags |= command->out_bytes ? WRITE_BIT : command->in_bytes ? READ_BIT : 0;
    begin_request(path, bytes, SCSI_COMMAND, flags);
    put_be32(bytes + 16, ++path->itt);
    put_be32(bytes + 20, (uint32_t)expected);
    set_data_bytes(bytes, command->out_bytes);
    memcpy(bytes + 32, command->cdb, sizeof(command->cdb));
    if (command->out_bytes)
        memcpy(bytes + BHS_BYTES, command->out, command->out_bytes);
    path->cmd_sn++;
    if (command->crash == CRASH_INSIDE)
        count = command->out_bytes ? BHS_BYTES + command->out_bytes / 2 : BHS_BYTES / 2;
    return send_all(path, bytes, count);
}

static void take_sense(const struct pdu *pdu, struct path_answer *answer)
{
    const uint8_t *sense = pdu->data + 2; /* behind SenseLength, RFC 7143 11.4.7 */

    if (pdu->data_bytes < 2 + 18)
        return;
    answer->sense_key = sense[2] & 0x0f;
    answer->asc = sense[12];
    answer->ascq = sense[13];
    answer->has_information = sense[0] & 0x80;
    answer->information = be32(sense + 3);
}

/* Until the command is answered, or until the answer to `abort_itt` comes. */
static int await_answer(struct path *path, uint32_t itt, uint32_t abort_itt,
                        const struct path_command *command, struct path_answer *answer,
                        int64_t deadline_ms)
{
    static __thread struct pdu pdu;

    for (;;) {
        int error = receive_pdu(path, &pdu, deadline_ms);
        uint32_t tag = be32(pdu.bhs + 16);

        if (error)
            return error;
        if (pdu.bhs[0] == TASK_MANAGEMENT_RESPONSE && tag == abort_itt)
            return pdu.bhs[2] ? -EPROTO : 1;
        if (tag != itt)
            continue; /* of a command that was aborted before */
        if (pdu.bhs[0] == DATA_IN) {
            uint32_t offset = be32(pdu.bhs + 40);

            if ((uint64_t)offset + pdu.data_bytes > command->in_bytes)
                return -EPROTO;
            memcpy((uint8_t *)command->in + offset, pdu.data, pdu.data_bytes);
            answer->data_bytes += pdu.data_bytes;
            if (!(pdu.bhs[1] & 1))
                continue;
            answer->status = pdu.bhs[3];
            return 0;
        }
        if (pdu.bhs[0] != SCSI_RESPONSE)
            return -EPROTO;
        answer->status = pdu.bhs[3];
        take_sense(&pdu, answer);
        return 0;
    }
}

static void begin_task_management(struct path *path, uint8_t *bhs, uint8_t function)
{
    begin_request(path, bhs, TASK_MANAGEMENT | IMMEDIATE, FINAL | function);
    put_be32(bhs + 20, reserved_tag);
    put_be32(bhs + 16, ++path->itt);
}

/*
 * ESX gives a command some time and aborts it then. Another host's reset ends commands without an
 * answer (SAM-5 5.1, TAS 0), so this is part of every day.
 */
static enum path_result abort_task(struct path *path, uint32_t itt,
                                   const struct path_command *command, struct path_answer *answer)
{
    uint8_t bhs[BHS_BYTES];
    int error;

    begin_task_management(path, bhs, TMF_ABORT_TASK);
    put_be32(bhs + 20, itt);
    put_be32(bhs + 32, path->cmd_sn - 1);
    error = send_all(path, bhs, sizeof(bhs));
    if (!error)
        error = await_answer(path, itt, path->itt, command, answer, now_ms() + ABORT_WITHIN_MS);
    if (error == 0) /* it was answered before; what the abort says is of no interest then */
        return PATH_ANSWERED;
    if (error == 1)
        return PATH_ABORTED;
    path_cut(path);
    return PATH_LOST;
}

enum path_result path_run(struct path *path, const struct path_command *command,
                          struct path_answer *answer)
{
    uint32_t itt;
    int error;

    *answer = (struct path_answer){ 0 };
    error = send_command(path, command);
    itt = path->itt;
    if (!error && command->crash == CRASH_NEVER)
        error = await_answer(path, itt, reserved_tag, command, answer,
                             now_ms() + path->answer_within_ms);
    if (error == -ETIMEDOUT)
        return abort_task(path, itt, command, answer);
    if (!error && command->crash == CRASH_NEVER)
        return PATH_ANSWERED;
    path_cut(path);
    return PATH_LOST;
}

int path_reset(struct path *path, uint8_t function)
{
    static __thread struct pdu pdu;
    uint8_t bhs[BHS_BYTES];
    int64_t deadline_ms = now_ms() + ABORT_WITHIN_MS;
    int error;

    begin_task_management(path, bhs, function);
    error = send_all(path, bhs, sizeof(bhs));
    while (!error) {
        error = receive_pdu(path, &pdu, deadline_ms);
        if (!error && pdu.bhs[0] == TASK_MANAGEMENT_RESPONSE && be32(pdu.bhs + 16) == path->itt)
            return pdu.bhs[2];
    }
    path_cut(path);
    return error;
}

struct path_command path_read(uint32_t lba, uint16_t blocks, void *in)
{
    struct path_command command = { .cdb = { 0x28 }, .in = in };

    put_be32(command.cdb + 2, lba);
    command.cdb[7] = (uint8_t)(blocks >> 8);
    command.cdb[8] = (uint8_t)blocks;
    command.in_bytes = (size_t)blocks * PATH_BLOCK_BYTES;
    return command;
}

struct path_command path_write(uint32_t lba, uint16_t blocks, const void *out)
{
    struct path_command command = path_read(lba, blocks, NULL);

    command.cdb[0] = 0x2a;
    command.out = out;
    command.out_bytes = command.in_bytes;
    command.in_bytes = 0;
    return command;
}

struct path_command path_compare_and_write(uint32_t lba, uint8_t blocks, const void *both)
{
    struct path_command command = { .cdb = { 0x89 }, .out = both };

    put_be32(command.cdb + 6, lba);
    command.cdb[13] = blocks;
    command.out_bytes = 2 * (size_t)blocks * PATH_BLOCK_BYTES;
    return command;
}

struct path_command path_simple(uint8_t opcode)
{
    return (struct path_command){ .cdb = { opcode } };
}
