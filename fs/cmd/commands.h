/* commands.h: the table that main.c looks commands up in; each is defined in the file of its name. */
#ifndef SNUGFS_COMMANDS_H
#define SNUGFS_COMMANDS_H

#include "options.h"

extern const struct command cmd_up;
extern const struct command cmd_init;
extern const struct command cmd_mount;
extern const struct command cmd_unmount;
extern const struct command cmd_status;
extern const struct command cmd_sync;
extern const struct command cmd_join;
extern const struct command cmd_recovery_key;
extern const struct command cmd_lock;
extern const struct command cmd_unlock_method;
/* of cmd_recovery_key */
extern const struct command cmd_recovery_new;
extern const struct command cmd_recovery_remove;
extern const struct command cmd_recovery_split;
extern const struct command cmd_verify;
extern const struct command cmd_gc;
extern const struct command cmd_rekey;
extern const struct command cmd_exposure;
extern const struct command cmd_device;
extern const struct command cmd_device_invite; /* a subcommand of it */
extern const struct command cmd_export;
extern const struct command cmd_export_pending;
extern const struct command cmd_remote;
extern const struct command cmd_remote_set; /* of cmd_remote */
extern const struct command cmd_pause;
extern const struct command cmd_offline;
extern const struct command cmd_resume;
extern const struct command cmd_limit;
extern const struct command cmd_versions;
extern const struct command cmd_restore;
extern const struct command cmd_device;
extern const struct command cmd_device_verify; /* of device */
extern const struct command cmd_policy;
extern const struct command cmd_pin;
extern const struct command cmd_unpin;
extern const struct command cmd_free;
extern const struct command cmd_cache;
extern const struct command cmd_witness;

#endif
