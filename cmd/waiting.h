/*
 * cmd/waiting - how long threads spin before they sleep
 *
 * OpenMP's threads wait for each other at the end of every product, and libgomp lets them spin for
 * milliseconds. When another program wants the processors the spinning thread keeps the one away from
 * the thread it waits for, and a training takes ten times as long. libgomp reads its settings before
 * main, so the program is started once more with GOMP_SPINCOUNT set.
 *
 * Measured, 8 steps of the demo base on two processors: idle 1.5 s either way; with as many other
 * threads running, 4 to 10 times as fast.
 */
#ifndef LX_CMD_WAITING_H
#define LX_CMD_WAITING_H

/* argv: all words of this process, its name first. Returns where nothing is to be done, or cannot be. */
void lx_wait_briefly(char **argv);

#endif
