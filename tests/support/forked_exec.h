/*
 * support/forked_exec - a program that starts itself anew, without loading it anew
 *
 * What stands for /proc/self/exe is forked from a process that has loaded everything and done nothing yet: for the
 * program as if it were new, for a test with thousands of rounds in half the time. Words that begin with "__" are
 * started as ever.
 */
#ifndef LX_TESTS_FORKED_EXEC_H
#define LX_TESTS_FORKED_EXEC_H

/* From here on, in this process and those forked from it. To be called before there are threads; the environment is as it
 * is now. */
void forked_exec_start(int (*program)(int argc, char **argv));

#endif
