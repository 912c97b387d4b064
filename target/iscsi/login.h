/*
 * login: the login phase of one connection, RFC 7143 6.3 and 11.12 f: stages, keys, authentication,
 * and the session that comes out of it.
 *
 * Thread    the connection's worker.
 * Ends      with the session (success), a refusal, or the connection.
 */
#pragma once

#include "target/iscsi/conn.h"

struct login;

/* A whole Login Request, the first or a later one. */
void login_request(struct conn *conn, struct pdu_data *data);

/* Answers with the status, says why in the log, and closes when that has been sent. `why` is a
 * literal. */
void login_refuse(struct conn *conn, enum login_status status, const char *why);

void login_free(struct login *login);
