/*
 * nestorctl_host: can this host's CPU run ESX nested, and which generation of it?
 *
 * By the flags in /proc/cpuinfo and by the `nested` parameter of the kvm modules. What a host
 * without kvm needs (VMware's own monitor, say) are the same flags.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* What the kernel tells. */
struct host_facts {
    char model[128];
    unsigned flags;   /* a set of enum host_flag */
    const char *kvm;  /* the module that is loaded: "kvm_intel" or "kvm_amd"; NULL: none */
    bool lets_nested; /* its parameter `nested` is on */
};

/* The files' texts; NULL: there is no such file. */
void host_facts_parse(const char *cpuinfo, const char *kvm_intel_nested, const char *kvm_amd_nested,
                      struct host_facts *facts);

/* The result as show_host() takes it; NULL: no memory. */
json_t *host_facts_json(const struct host_facts *facts);

/* Reads the files. NULL: no memory. */
json_t *host_check(void);

void show_host(FILE *out, const json_t *result, const json_t *own);
