/*
 * support/power - disks as they may look when the power failed
 *
 * What a process does to the files below one folder is traced, through the io table (src/base/io.h) and
 * SQLite's own files: what was made, written, cut, synced, renamed, removed, and when the caller marked a
 * moment. Then disks are made up as they may look when the power failed at any moment of the trace: what was
 * not synced is there, torn by sectors of 512 bytes, spoiled or lost, in any choice; new names too.
 *
 * Two models of folders: strict (a new, changed or removed name is durable when its folder was synced, as
 * btrfs has it) and ordered (any sync makes all earlier names durable, as ext4 has it).
 *
 * Order of use: power_trace_begin, work, power_trace_end, then power_make_image any number of times.
 */
#ifndef LX_TESTS_POWER_H
#define LX_TESTS_POWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Forgets what was traced before. Files below `folder` are traced; no sync is really made. */
void power_trace_begin(const char *folder);
/* Meanwhile nothing is traced, so that a test may look without being seen. */
void power_trace_pause(bool is_paused);
void power_mark(int moment); /* rising numbers */
void power_trace_end(void);
size_t power_events(void);
/* Is a cut before that event one among many that are alike: another folder is made? */
bool power_is_dull(size_t at);

typedef struct power_cut {
    size_t at;      /* events before it happened */
    bool is_strict; /* the model of folders */
    double lies;    /* the share of syncs that return and do nothing: 0, 0.1, 1 */
    uint64_t seed;  /* of all that is left to chance */
} power_cut;

/* The disk in `folder`, which is made new. The last moment that was marked before the cut. */
int power_make_image(const char *folder, const power_cut *cut);

/* 0 <= x < 1, by *seed. */
double power_draw(uint64_t *seed);

#endif
