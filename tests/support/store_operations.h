/*
 * support/store_operations - what can be done with a store, each as one call in the world of store_world
 *
 * Making a store, opening it in each way, recording, remarks, objects, every query, SQL, fsck, rebuild, gc, repair,
 * salvage, bundles and git repositories out and in, migration, MLflow's databases, the C interface: a program that
 * uses them links store/api/lx_store.c.
 */
#ifndef LX_TESTS_STORE_OPERATIONS_H
#define LX_TESTS_STORE_OPERATIONS_H

#include <stdbool.h>

#include "src/base/error.h"

typedef struct store_operation {
    const char *name;
    int (*work)(lx_error *err); /* an lx_status; in a copy of the world */
    void (*prepare)(void);      /* what is done to the copy before; NULL = nothing */
    bool only_looks;            /* the copy is as good afterwards */
    const char *makes;          /* a file, always of the same bytes; NULL = none */
    bool uses_git;              /* libgit2, which may end the process without memory */
} store_operation;

enum { N_STORE_OPERATIONS = 27 };
extern const store_operation store_operations[N_STORE_OPERATIONS];

/* Where rows were changed behind lx' back: then an operation that finds less than the world has does not fail the
 * test. */
extern bool store_operations_on_damaged;

/* Fails the test where there is none. */
const store_operation *store_operation_named(const char *name);
/* The working folder is a fresh copy of the world, prepared for it; the schema is that of lx. */
void store_operation_renew(const store_operation *o);

/* What is being tried, in words. When it takes more than a minute the process ends with them. */
extern char store_round[128];
void store_round_name(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void store_round_begin(void);
void store_round_end(void);

#endif
