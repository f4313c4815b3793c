/*
 * format/pickle_machine - the stack machine, for the files of this folder that run its
 * opcodes
 *
 * pickle.c has the stack, the memo and the containers, pickle_value.c the plain values,
 * pickle_object.c the globals and what calling them would give. Functions that return a
 * pointer have told the error when they return NULL. Nobody else includes this.
 */
#ifndef LX_FORMAT_PICKLE_MACHINE_H
#define LX_FORMAT_PICKLE_MACHINE_H

#include "src/format/pickle.h"

/* Values, memo slots, items of a list, marks. */
enum { LX_PICKLE_MOST = 1000000 };

typedef struct lx_pickle_machine {
    const unsigned char *bytes;
    size_t n, at, op_at, base; /* op_at: of the opcode that runs */
    lx_arena *arena;
    lx_pickle_facts *facts;
    lx_error *err; /* never NULL */
    lx_pickle **stack, **memo;
    size_t height, stack_capacity, memo_count, memo_capacity;
    size_t *marks; /* heights of the stack where a MARK stands */
    size_t n_marks, marks_capacity;
    size_t n_values;
    bool is_stopped;
} lx_pickle_machine;

extern lx_pickle lx_pickle__none, lx_pickle__truth[2];

/* LX_EFORMAT: "pickle: WHAT at byte N". */
int lx_pickle__bad(lx_pickle_machine *m, const char *what);
/* The code of the failure just told, else `otherwise`. */
int lx_pickle__told(const lx_pickle_machine *m, int otherwise);

/* The next bytes; up to a newline, which is taken too; a little endian number. */
const unsigned char *lx_pickle__take(lx_pickle_machine *m, size_t n);
const char *lx_pickle__take_line(lx_pickle_machine *m, size_t *n);
int lx_pickle__take_number(lx_pickle_machine *m, uint64_t *out, int bytes);

/* Values below the last MARK cannot be popped. Pushing NULL passes on the failure that
 * made it. */
lx_pickle *lx_pickle__new(lx_pickle_machine *m, lx_pickle_kind kind);
int lx_pickle__push(lx_pickle_machine *m, lx_pickle *v);
int lx_pickle__push_int(lx_pickle_machine *m, int64_t x);
int lx_pickle__push_text(lx_pickle_machine *m, lx_pickle_kind kind, const char *bytes,
                         size_t n);
lx_pickle *lx_pickle__pop(lx_pickle_machine *m);
lx_pickle *lx_pickle__top(lx_pickle_machine *m);
int lx_pickle__append(lx_pickle_machine *m, lx_pickle *list, lx_pickle *const *items,
                      size_t n);

/* One opcode, already taken. Values: 1 when it is none of theirs; objects: an error then.
 */
int lx_pickle__run_value(lx_pickle_machine *m, unsigned char op);
int lx_pickle__run_object(lx_pickle_machine *m, unsigned char op);

#endif
