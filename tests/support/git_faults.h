/*
 * support/git_faults - the n-th call of libgit2 fails
 *
 * As FAULT_GIT of support/faults: git_faults_prepare once after faults_prepare, then faults_arm. What is put in the
 * place of libgit2 are the functions in store/git2_late that can fail, in this process and in what it forks.
 */
#ifndef LX_TESTS_GIT_FAULTS_H
#define LX_TESTS_GIT_FAULTS_H

/* Loads libgit2; the test fails without it. */
void git_faults_prepare(void);

/* Not codes of libgit2: GIT_ERROR, of which its last error says that there was no memory for itself or for zlib, or that
 * zlib found damage. */
enum {
    GIT_FAULTS_MEMORY = -1000,
    GIT_FAULTS_ZLIB_MEMORY = -1001,
    GIT_FAULTS_ZLIB = -1002
};

/* What a failing call returns from now on: one of libgit2's codes (GIT_ERROR until it is called), or one of these.
 * Functions that return a pointer return NULL. */
void git_faults_use(int code);

#endif
