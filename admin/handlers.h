/* handlers: what each row of the method table runs; one file a noun. */
#pragma once

struct call;

/* daemon_methods.c */
void handle_status(struct call *call);
void handle_stats(struct call *call);
void handle_help(struct call *call);

/* metrics_methods.c */
void handle_metrics(struct call *call);

/* target_methods.c */
void handle_target_list(struct call *call);
void handle_target_show(struct call *call);
void handle_target_add(struct call *call);
void handle_target_remove(struct call *call);

/* lun_methods.c */
void handle_lun_list(struct call *call);
void handle_lun_show(struct call *call);
void handle_lun_add(struct call *call);
void handle_lun_remove(struct call *call);
void handle_lun_resize(struct call *call);

/* reservation_methods.c */
void handle_reservation_show(struct call *call);
void handle_reservation_clear(struct call *call);

/* initiator_methods.c */
void handle_initiator_list(struct call *call);
void handle_initiator_accept(struct call *call);

/* session_methods.c */
void handle_session_list(struct call *call);
void handle_session_show(struct call *call);
void handle_session_drop(struct call *call);

/* config_methods.c */
void handle_config_check(struct call *call);
void handle_config_plan(struct call *call);
void handle_config_reload(struct call *call);
