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

void spc_mode_sense(struct command *command);
void spc_mode_select(struct command *command);
void spc_mode_select_out(struct command *command, struct burst *burst);

void spc_reserve(struct command *command);
void spc_reserve_let_go(struct command *command);
void spc_release(struct command *command);

void spc_persistent_reserve_in(struct command *command);
void spc_persistent_reserve_out(struct command *command);
void spc_persistent_reserve_out_list(struct command *command, struct burst *burst);
void spc_persistent_reserve_let_go(struct command *command);

void spc_extended_copy(struct command *command);
void spc_extended_copy_list(struct command *command, struct burst *burst);
void spc_extended_copy_let_go(struct command *command);
void spc_receive_copy_status(struct command *command);
void spc_receive_copy_operating_parameters(struct command *command);
void spc_receive_copy_failure_details(struct command *command);

void spc_report_port_groups(struct command *command);

void spc_report_opcodes(struct command *command);
void spc_report_task_management(struct command *command);

void sbc_read_capacity_10(struct command *command);
void sbc_read_capacity_16(struct command *command);

void sbc_read(struct command *command);
void sbc_read_resume(struct command *command);
void sbc_read_let_go(struct command *command);

void sbc_write(struct command *command);
void sbc_write_out(struct command *command, struct burst *burst);
void sbc_write_let_go(struct command *command);

void sbc_verify(struct command *command);
void sbc_verify_out(struct command *command, struct burst *burst);
void sbc_verify_let_go(struct command *command);

void sbc_compare_and_write(struct command *command);
void sbc_compare_and_write_out(struct command *command, struct burst *burst);
void sbc_compare_and_write_let_go(struct command *command);

void sbc_write_atomic(struct command *command);
void sbc_write_atomic_out(struct command *command, struct burst *burst);
void sbc_write_atomic_let_go(struct command *command);

void sbc_orwrite(struct command *command);
void sbc_write_and_verify(struct command *command);
void sbc_update_out(struct command *command, struct burst *burst);
void sbc_update_let_go(struct command *command);

void sbc_write_same(struct command *command);
void sbc_write_same_out(struct command *command, struct burst *burst);
void sbc_write_same_let_go(struct command *command);

void sbc_unmap(struct command *command);
void sbc_unmap_out(struct command *command, struct burst *burst);
void sbc_unmap_let_go(struct command *command);

void sbc_sanitize_block_erase(struct command *command);
void sbc_sanitize_overwrite(struct command *command);
void sbc_sanitize_overwrite_out(struct command *command, struct burst *burst);
void sbc_sanitize_let_go(struct command *command);
void sbc_sanitize_exit_failure_mode(struct command *command);

void spc_log_sense(struct command *command);
void spc_log_sense_let_go(struct command *command);

void sbc_get_lba_status(struct command *command);
void sbc_get_lba_status_let_go(struct command *command);

void sbc_prefetch(struct command *command);
void sbc_prefetch_let_go(struct command *command);

void sbc_read_defect_data_10(struct command *command);
void sbc_read_defect_data_12(struct command *command);

void sbc_synchronize_cache(struct command *command);
void sbc_synchronize_cache_let_go(struct command *command);
void sbc_start_stop(struct command *command);
void sbc_start_stop_let_go(struct command *command);
void sbc_prevent_allow(struct command *command);
