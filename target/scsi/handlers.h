/*
 * handlers: what the rows of the opcode table point at; one file for each noun (spc_*.c, sbc_*.c).
 *
 * Each is called as opcodes.h says, after all checks that a row can express have passed: handlers
 * look only at what is special to them. Commands whose row does not need a unit may have none.
 */
#pragma once

struct command;
struct burst;

void spc_test_unit_ready(struct command *command);
void spc_request_sense(struct command *command);
void spc_inquiry(struct command *command);
void spc_report_luns(struct command *command);

void sbc_read_capacity_10(struct command *command);
void sbc_read_capacity_16(struct command *command);

void sbc_read(struct command *command);
void sbc_read_resume(struct command *command);
void sbc_read_let_go(struct command *command);

void sbc_write(struct command *command);
void sbc_write_out(struct command *command, struct burst *burst);
void sbc_write_let_go(struct command *command);
